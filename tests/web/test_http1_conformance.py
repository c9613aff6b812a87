"""HTTP/1.1 on the wire: the table of `tests.web.http1_cases`, sent to a server in memory and over sockets.

A proxy in front of errklein reads the same bytes. Where the two could disagree about where a request ends, an attacker hides
a second request in the first. So each row is followed by a canary: a request that must be answered if the connection is
kept, and must not be if it is closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from errklein.running import Runner, WorkerPool
from errklein.web import WebServer
from errklein.webhooks import webhook
from tests import needs_network
from tests.web.http1_cases import CASES, Case
from tests.web.kit import SocketClient, WebCase, hooks_of, port_of

VALID = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
CANARY = b"GET /canary HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SHORT = 2_000
"""The size of the largest request that is sent byte by byte."""


class Target:
    """The plugin with the routes that the table speaks of, and the canary."""

    def __init__(self) -> None:
        self.canaries = 0

    @webhook("/hello")
    async def hello(self, payload: Any) -> str:
        return "hello"

    @webhook("/canary")
    async def canary(self, payload: Any) -> str:
        self.canaries += 1
        return "canary"


def expected(case: Case, before: int = 0) -> tuple[list[int], int]:
    """The statuses of all answers on the connection, `before` for requests before the row, and the canaries seen."""
    return [*[200] * before, case.status, *([200] if case.kept else [])], int(case.kept)


def singly(sent: bytes) -> list[bytes]:
    """The bytes one by one; those of a request that is too large in itself in pieces."""
    size = 1 if len(sent) < SHORT else 1_000
    return [sent[at : at + size] for at in range(0, len(sent), size)]


def statuses(raw: bytes) -> Iterator[int]:
    """The statuses of the answers in `raw`, 100 Continue left out. Raises ValueError if the framing is wrong."""
    while raw:
        head, separator, raw = raw.partition(b"\r\n\r\n")
        version, status, _ = head.split(b"\r\n")[0].split(b" ", 2)
        if not separator or version != b"HTTP/1.1":
            raise ValueError(f"not an answer: {head!r}")
        if status != b"100":
            [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            raw = raw[int(length.partition(b":")[2]) :]
            yield int(status)


class TableTests(SynchronousTestCase):
    """The table itself."""

    def test_each_row_has_a_name_of_its_own(self) -> None:
        """A failure names one row."""
        names = [case.name for case in CASES]
        self.assertEqual(sorted(names), sorted(set(names)))
        self.assertGreater(len(names), 200)

    def test_what_is_closed_and_what_is_kept(self) -> None:
        """Both are in the table; a framing that is in doubt never keeps its connection."""
        self.assertEqual({case.kept for case in CASES}, {True, False})
        self.assertEqual(
            [case.name for case in CASES if case.kept and case.status in (413, 414, 417, 431, 501, 505)], []
        )


class InMemoryTests(WebCase):
    """The server on a transport in memory: every row, in every way that its bytes can arrive."""

    def setUp(self) -> None:
        """A server with the routes of the table."""
        super().setUp()
        self.target = Target()
        self.serve(self.target)

    def check(self, pieces: Callable[[bytes], list[bytes]], before: bytes = b"") -> None:
        """Send each row in the given pieces; fail with the rows whose answers are wrong."""
        wrong = []
        for case in CASES:
            self.target.canaries = 0
            connection = self.connect()
            for piece in pieces(before + case.sent + CANARY):
                connection.channel.dataReceived(piece)
            seen = (list(statuses(connection.value())), self.target.canaries)
            if seen != expected(case, before.count(VALID)) or not connection.closed:
                wrong.append(f"{case.name}: {seen}, {'closed' if connection.closed else 'open'}")
            connection.channel.connectionLost()
        if wrong:
            self.fail("\n".join(["(statuses, canaries) differ from the table:", *wrong]))

    def test_in_one_piece(self) -> None:
        """The whole request in one segment, the canary behind it."""
        self.check(lambda sent: [sent])

    def test_byte_by_byte(self) -> None:
        """Each byte in a segment of its own."""
        self.check(singly)

    def test_behind_valid_requests(self) -> None:
        """Pipelined after two requests in the same segment, which are answered first."""
        self.check(lambda sent: [sent], before=VALID * 2)

    def test_behind_a_valid_request_byte_by_byte(self) -> None:
        """Pipelined after a request, each byte in a segment of its own."""
        self.check(singly, before=VALID)

    @given(st.lists(st.sampled_from(["chunked", "Chunked", "gzip", "x", ""]), min_size=1, max_size=4), st.data())
    def test_any_list_of_transfer_codings(self, codings: list[str], data: st.DataObject) -> None:
        """The status follows from the list, however it is spread over fields and whatever white space is in it."""
        *before, last = [coding.lower() for coding in codings]
        if "" in codings or last != "chunked" or "chunked" in before:
            status = 400
        else:
            status = 501 if before else 200
        field = "Transfer-Encoding:"
        separators = st.sampled_from([",", ", ", " ,\t", f"\r\n{field} "])
        value = "".join(coding + data.draw(separators) for coding in codings[:-1]) + codings[-1]
        connection = self.connect()
        head = f"POST /hello HTTP/1.1\r\nHost: localhost\r\n{field}{value}\r\n\r\n".encode()
        answered = list(statuses(connection.send(head + b"0\r\n\r\n")))
        self.assertEqual((answered, connection.closed), ([status], status != 200), value)
        connection.channel.connectionLost()


class SocketTests(TestCase):
    """The server on a real socket."""

    async def setUp(self) -> None:
        """Listen on loopback, with the routes of the table."""
        needs_network()
        from twisted.internet import reactor

        self.reactor: Any = reactor
        pool = WorkerPool(self.reactor, "webhook", 2)
        self.addCleanup(pool.stop)
        web = WebServer(self.reactor, Runner(self.reactor), pool)
        self.addCleanup(web.close)
        self.target = Target()
        web.routes.replace("Target", hooks_of(self.target))
        description = "tcp:0:interface=127.0.0.1"
        await web.listeners.open(description)
        port = port_of(web.listeners, description)
        self.endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)

    async def check(self, send: Callable[[Any, bytes], Awaitable[None]], before: bytes = b"") -> None:
        """Send each row; fail with those whose answers are wrong. The server has to close every connection."""
        wrong = []
        for case in CASES:
            self.target.canaries = 0
            client: SocketClient = await connectProtocol(self.endpoint, SocketClient())
            client.closed.addTimeout(10, self.reactor)
            await send(client.transport, before + case.sent + CANARY)
            await client.closed
            seen = (list(statuses(client.received)), self.target.canaries)
            if seen != expected(case, before.count(VALID)):
                wrong.append(f"{case.name}: {seen}")
        if wrong:
            self.fail("\n".join(["(statuses, canaries) differ from the table:", *wrong]))

    async def test_in_one_piece(self) -> None:
        """The whole request at once, the canary behind it."""
        await self.check(self.send_whole)

    async def test_behind_valid_requests(self) -> None:
        """Pipelined after two requests, which are answered first."""
        await self.check(self.send_whole, before=VALID * 2)

    async def test_byte_by_byte(self) -> None:
        """Each byte in a turn of the reactor of its own."""
        await self.check(self.send_bytes)

    async def send_whole(self, transport: Any, data: bytes) -> None:
        """Send all of it."""
        transport.write(data)

    async def send_bytes(self, transport: Any, data: bytes) -> None:
        """Send it byte by byte."""
        transport.setTcpNoDelay(True)
        for piece in singly(data):
            transport.write(piece)
            turned: Deferred[None] = Deferred()
            self.reactor.callLater(0, turned.callback, None)
            await turned
