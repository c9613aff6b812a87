"""Conformance tests for HTTP/1.1: the table of `tests.web.http1_cases`, sent to a server in memory and over sockets.

A proxy in front of errklein reads the same bytes. If the two disagree about the end of a request, an attacker can hide a second
request in the first. So each row is followed by a canary: a request that must get a response if the connection is kept, and none
if it is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
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
    """A plugin with the routes of the table, and with the canary."""

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
    """Return the statuses of all responses on the connection, and the canaries."""
    return [*[200] * before, case.status, *([200] if case.kept else [])], int(case.kept)


def singly(sent: bytes) -> list[bytes]:
    """Return the bytes one by one; those of a request that is too large in pieces."""
    size = 1 if len(sent) < SHORT else 1_000
    return [sent[at : at + size] for at in range(0, len(sent), size)]


def statuses(raw: bytes) -> Iterator[int]:
    """Return the statuses of the responses in `raw`; raise ValueError if the framing is invalid."""
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
        """Names of rows are unique."""
        names = [case.name for case in CASES]
        self.assertEqual(sorted(names), sorted(set(names)))
        self.assertGreater(len(names), 200)

    def test_what_is_closed_and_what_is_kept(self) -> None:
        """The table has both kinds of rows, and ambiguous framing never keeps its connection."""
        self.assertEqual({case.kept for case in CASES}, {True, False})
        self.assertEqual(
            [case.name for case in CASES if case.kept and case.status in (413, 414, 417, 431, 501, 505)], []
        )


class InMemoryTests(WebCase):
    """Each row, sent in all ways to a server in memory."""

    def setUp(self) -> None:
        """A server with the routes of the table."""
        super().setUp()
        self.target = Target()
        self.serve(self.target)

    def check(self, pieces: Callable[[bytes], list[bytes]], before: bytes = b"") -> None:
        """Send each row in these pieces. Fail with the rows whose responses are wrong."""
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
        """The request and the canary arrive in one segment."""
        self.check(lambda sent: [sent])

    def test_byte_by_byte(self) -> None:
        """Each byte arrives in a segment."""
        self.check(singly)

    def test_behind_valid_requests(self) -> None:
        """The request arrives in one segment with two valid requests before it."""
        self.check(lambda sent: [sent], before=VALID * 2)

    def test_behind_a_valid_request_byte_by_byte(self) -> None:
        """The request arrives byte by byte after a valid one."""
        self.check(singly, before=VALID)

    @given(st.lists(st.sampled_from(["chunked", "Chunked", "gzip", "x", ""]), min_size=1, max_size=4), st.data())
    def test_any_list_of_transfer_codings(self, codings: list[str], data: st.DataObject) -> None:
        """The status of a list of transfer codings doesn't depend on its spelling."""
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
    """Each row, sent to a server on a real socket."""

    async def setUp(self) -> None:
        """Listen on loopback, with the routes of the table."""
        needs_network()
        from twisted.internet import reactor

        self.reactor: Any = reactor
        pool = WorkerPool(self.reactor, "webhook", 2)
        self.addCleanup(pool.stop)
        web = WebServer(self.reactor, Runner(self.reactor, pool))
        self.addCleanup(web.close)
        self.target = Target()
        web.routes.replace("Target", hooks_of(self.target))
        description = "tcp:0:interface=127.0.0.1"
        await web.listeners.open(description)
        port = port_of(web.listeners, description)
        self.endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)

    async def test_in_one_piece(self) -> None:
        """The request and the canary are sent at once; the responses are those of the table, and the connection is closed."""
        wrong = []
        for case in CASES:
            self.target.canaries = 0
            client: SocketClient = await connectProtocol(self.endpoint, SocketClient())
            client.closed.addTimeout(10, self.reactor)
            client.transport.write(case.sent + CANARY)
            await client.closed
            seen = (list(statuses(client.received)), self.target.canaries)
            if seen != expected(case, 0):
                wrong.append(f"{case.name}: {seen}")
        if wrong:
            self.fail("\n".join(["(statuses, canaries) differ from the table:", *wrong]))
