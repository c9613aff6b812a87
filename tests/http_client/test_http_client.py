"""Tests for the HTTP client of plugins, with servers on the loopback interface."""

from __future__ import annotations

import os
from collections.abc import Callable
from gzip import compress
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.python.threadable import registerAsIOThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from errklein._version import __version__
from errklein.http_client import BodyTooLarge, HTTPClients
from errklein.running import register_reactor_thread
from tests import needs_network
from tests.authority import Authority, issue

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "REQUEST_METHOD")
"""Environment variables that concern proxies."""


def ok(body: bytes = b"hello", *headers: bytes) -> bytes:
    """Return a response with the body and additional headers."""
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body])


class Server(Factory):
    """A server that keeps the heads of its requests, and sends what `respond` returns for the path of each."""

    noisy = False

    def __init__(self, respond: Callable[[bytes], bytes]) -> None:
        self.respond = respond
        self.heads: list[bytes] = []
        self.connections: list[ServerConnection] = []
        self.closed = 0
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def buildProtocol(self, addr: object) -> ServerConnection:
        """Return the protocol of a new connection."""
        self.connections.append(ServerConnection(self))
        return self.connections[-1]

    def when_closed(self, count: int) -> Deferred[None]:
        """Return a Deferred that fires when so many connections have ended."""
        done: Deferred[None] = Deferred()
        self._waiting.append((count, done))
        self.check()
        return done

    def check(self) -> None:
        """Fire the Deferreds whose connections have ended."""
        due = [done for count, done in self._waiting if count <= self.closed]
        self._waiting = [(count, done) for count, done in self._waiting if count > self.closed]
        for done in due:
            done.callback(None)


class ServerConnection(Protocol):
    """A connection of a Server. Requests have no body."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        """Respond to each complete head."""
        assert self.transport is not None
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            self.server.heads.append(head)
            self.transport.write(self.server.respond(head.split(b" ")[1]))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count the connection."""
        self.server.closed += 1
        self.server.check()


class ClientCase(TestCase):
    """Has clients of a bot."""

    def setUp(self) -> None:
        needs_network()
        # trial starts the reactor after the beginning of the first test.
        registerAsIOThread()
        set_environment(self, **dict.fromkeys(PROXIES))
        self.reactor: Any = the_reactor
        self.clients = HTTPClients(self.reactor)
        self.addCleanup(self.clients.close)

    def serve(
        self, respond: Callable[[bytes], bytes], certificate: PrivateCertificate | None = None
    ) -> tuple[Server, str]:
        """Start a server. Return it, and its URL."""
        server = Server(respond)
        if certificate is None:
            port = self.reactor.listenTCP(0, server, interface="127.0.0.1")
        else:
            port = self.reactor.listenSSL(0, server, certificate.options(), interface="127.0.0.1")
        self.addCleanup(self.closed, server)
        self.addCleanup(port.stopListening)
        self.addCleanup(self.clients.close)
        return server, f"{'http' if certificate is None else 'https'}://127.0.0.1:{port.getHost().port}"

    async def closed(self, server: Server) -> None:
        """Wait until all connections of the server have ended."""
        await server.when_closed(len(server.connections))


class RequestTests(ClientCase):
    """Requests to a server."""

    async def test_treq(self) -> None:
        """The client is treq's, and gets complete responses."""
        server, url = self.serve(lambda path: ok(b'{"path": "%s"}' % path))
        client = self.clients.client()
        self.assertIsInstance(client, HTTPClient)
        response = await client.get(url + "/x", params={"a": "1"}, headers={"X-Token": "t"})
        self.assertEqual(response.code, 200)
        self.assertEqual(await response.json(), {"path": "/x?a=1"})
        self.assertIn(b"X-Token: t", server.heads[0])

    async def test_user_agent(self) -> None:
        """Requests have a User-Agent unless the plugin gives one."""
        server, url = self.serve(lambda path: ok())
        client = self.clients.client()
        await client.get(url)
        await client.get(url, headers={"User-Agent": "mine"})
        self.assertIn(f"User-Agent: errklein/{__version__}".encode(), server.heads[0].split(b"\r\n"))
        self.assertEqual(server.heads[1].count(b"User-Agent"), 1)
        self.assertIn(b"User-Agent: mine", server.heads[1])

    async def test_one_pool(self) -> None:
        """Requests of all plugins share connections, even if nobody reads the bodies."""
        server, url = self.serve(lambda path: ok())
        one, other = self.clients.client(), self.clients.client()
        for client in (one, other, one):
            await client.get(url)
        self.assertEqual((len(server.heads), len(server.connections)), (3, 1))

    async def test_separate_cookies(self) -> None:
        """A plugin's cookies are sent with its own requests only."""
        server, url = self.serve(lambda path: ok(b"", b"Set-Cookie: session=secret; Path=/"))
        one, other = self.clients.client(), self.clients.client()
        for client in (one, other, one):
            await client.get(url)
        self.assertEqual([b"session=secret" in head for head in server.heads], [False, False, True])

    async def test_redirects(self) -> None:
        """A redirect with a body is followed, and its connection is used again."""
        moved = b"HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 4\r\n\r\nmove"
        server, url = self.serve(lambda path: ok() if path == b"/new" else moved)
        client = self.clients.client()
        for _ in range(4):
            self.assertEqual(await (await client.get(url)).text(), "hello")
            await (await client.get(url, unbuffered=True)).content()
        self.assertEqual(len(server.heads), 16)
        self.assertLessEqual(len(server.connections), 2)

    async def test_a_stream(self) -> None:
        """With unbuffered=True, the response is there before its body, which is then passed on in parts."""
        server, url = self.serve(lambda path: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        response = await self.clients.client().get(url, unbuffered=True, timeout=5)
        parts: list[bytes] = []
        first: Deferred[None] = Deferred()

        def collect(part: bytes) -> None:
            parts.append(part)
            if not first.called:
                first.callback(None)

        complete = response.collect(collect)
        await first
        self.assertEqual(parts, [b"hello"])
        server.connections[0].transport.write(b"world")  # type: ignore[union-attr]
        await complete
        self.assertEqual(parts, [b"hello", b"world"])

    async def test_a_body_until_the_end(self) -> None:
        """A body without a length, as of HTTP/1.0, ends with its connection."""
        server, url = self.serve(lambda path: b"HTTP/1.0 200 OK\r\n\r\nhello")
        asked = self.clients.client().get(url)
        while not server.heads:
            await turn(self.reactor)
        server.connections[0].transport.loseConnection()  # type: ignore[union-attr]
        self.assertEqual(await (await asked).text(), "hello")

    async def test_a_broken_body(self) -> None:
        """A request fails if its connection is lost before the end of the body."""
        server, url = self.serve(lambda path: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        asked = self.clients.client().get(url)
        while not server.heads:
            await turn(self.reactor)
        server.connections[0].transport.loseConnection()  # type: ignore[union-attr]
        with self.assertRaises(ResponseFailed):
            await asked

    async def test_largest_body(self) -> None:
        """A larger body than the request allows is an error, and its connection is closed; the limit is for its content."""
        packed = compress(b"x" * 200_000)
        server, url = self.serve(lambda path: ok(packed, b"Content-Encoding: gzip"))
        client = self.clients.client()
        response = await client.get(url + "/large", max_body=200_000)
        self.assertEqual(len(await response.content()), 200_000)
        with self.assertRaises(BodyTooLarge) as raised:
            await client.get(url + "/large?token=secret", max_body=199_999)
        self.assertEqual(str(raised.exception), f"GET {url}/large: the response is larger than 0.199999 MB")
        await server.when_closed(1)

    async def test_no_log(self) -> None:
        """A request logs nothing."""
        events: list[LogEvent] = []
        _, url = self.serve(lambda path: ok(b"hello", b"Connection: close"))
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        await self.clients.client().get(url)
        await turn(self.reactor)
        self.assertEqual([formatEvent(event) for event in events], [])

    async def test_thread(self) -> None:
        """In a thread, a request raises an error that names the remedies."""
        client = self.clients.client()
        with self.assertRaises(RuntimeError) as raised:
            await deferToThread(client.get, "http://127.0.0.1:1/")
        for remedy in ("async def", "@on_reactor", "requests"):
            self.assertIn(remedy, str(raised.exception))


class TimedBy:
    """A reactor whose timers run on a clock."""

    def __init__(self, clock: Clock, reactor: Any) -> None:
        self._reactor = reactor
        self.callLater = clock.callLater

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the reactor."""
        return getattr(self._reactor, name)


class TimeoutTests(ClientCase):
    """Servers that don't respond in time."""

    async def check_timeout(self, response: bytes) -> None:
        """Fail unless a request raises TimeoutError, and its connection is closed."""
        server, url = self.serve(lambda path: response)
        clock = Clock()
        self.clients = HTTPClients(TimedBy(clock, self.reactor))
        self.addCleanup(self.clients.close)
        asked = self.clients.client().get(url + "/slow?token=secret", timeout=5)
        while not server.heads:
            await turn(self.reactor)
        for _ in range(10):
            # The client reads what the server has written.
            await turn(self.reactor)
        clock.advance(5)
        with self.assertRaises(TimeoutError) as raised:
            await asked
        self.assertEqual(str(raised.exception), f"GET {url}/slow: no complete response within 5 s")
        await server.when_closed(1)

    async def test_silent(self) -> None:
        """A server that doesn't respond."""
        await self.check_timeout(b"")

    async def test_half_a_body(self) -> None:
        """A server that sends only a part of the body."""
        await self.check_timeout(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")


class DefaultTimeoutTests(SynchronousTestCase):
    """The default timeout, on a virtual clock."""

    def setUp(self) -> None:
        set_environment(self, **dict.fromkeys(PROXIES))
        self.reactor: Any = MemoryReactorClock()
        register_reactor_thread(self.reactor)
        self.client = HTTPClients(self.reactor).client()

    def test_default(self) -> None:
        """A request without a timeout of its own fails after 30 s."""
        asked = self.client.get("http://127.0.0.1:1/")
        self.reactor.advance(29)
        self.assertNoResult(asked)
        self.reactor.advance(1.1)
        self.assertIn("within 30 s", str(self.failureResultOf(asked, TimeoutError).value))

    def test_none(self) -> None:
        """With timeout=None, only the connection has to be made within 30 s."""
        self.client.get("http://127.0.0.1:1/", timeout=None).addErrback(lambda _: None)
        self.reactor.advance(0)
        host, port, _factory, timeout, _bind = self.reactor.tcpClients[0]
        self.assertEqual((host, port, timeout), ("127.0.0.1", 1, 30))
        self.assertEqual([call for call in self.reactor.getDelayedCalls() if call.getTime() == 30], [])


class StopTests(ClientCase):
    """The end of a bot."""

    async def test_close(self) -> None:
        """Requests in flight are cancelled, and idle connections are closed."""
        server, url = self.serve(lambda path: b"" if path == b"/silent" else ok())
        client = self.clients.client()
        await client.get(url)
        asked = client.get(url + "/silent", timeout=None)
        while len(server.heads) < 2:
            await turn(self.reactor)
        idle = client.get(url)
        await idle
        await self.clients.close()
        with self.assertRaises(ResponseNeverReceived):
            await asked
        await server.when_closed(2)

    async def test_later_requests(self) -> None:
        """A request after the end keeps no connection open."""
        server, url = self.serve(lambda path: ok())
        client = self.clients.client()
        await self.clients.close()
        await client.get(url)
        await server.when_closed(1)

    async def test_unused(self) -> None:
        """Clients that were never used have nothing to close."""
        self.assertIsNone(await self.clients.close())


class CertificateTests(ClientCase):
    """Servers with certificates."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority()
        trust(self, self.authority)

    async def fetch(self, authority: Authority, name: str, issuer: Any = None) -> str:
        """Return the response of a server with a certificate for the name."""
        certificate = issue(name, issuer=issuer or authority.root)
        served = PrivateCertificate.loadPEM(certificate.key_pem + certificate.pem)
        _, url = self.serve(lambda path: ok(), served)
        return str(await (await self.clients.client().get(url)).text())

    async def test_trusted(self) -> None:
        """A certificate of an authority in SSL_CERT_FILE is accepted for its own name."""
        self.assertEqual(await self.fetch(self.authority, "127.0.0.1"), "hello")

    async def test_wrong_name(self) -> None:
        """A certificate for another name is rejected."""
        with self.assertRaises(ResponseNeverReceived) as raised:
            await self.fetch(self.authority, "192.0.2.1")
        self.assertIn("VerificationError", repr(raised.exception.reasons))

    async def test_unknown_authority(self) -> None:
        """A certificate of an unknown authority is rejected, although its name is right."""
        with self.assertRaises(ResponseNeverReceived) as raised:
            await self.fetch(Authority(), "127.0.0.1")
        (reason,) = raised.exception.reasons
        self.assertIsInstance(reason.value, SSL.Error)
        self.assertIn("certificate verify failed", str(reason.value))


def trust(case: SynchronousTestCase, authority: Authority) -> None:
    """Let OpenSSL trust an authority and no other, as an operator does with environment variables."""
    file = Path(case.mktemp()).absolute()
    file.write_bytes(authority.root.pem)
    set_environment(case, SSL_CERT_FILE=str(file), SSL_CERT_DIR=str(file.parent / "none"))


def set_environment(case: SynchronousTestCase, **variables: str | None) -> None:
    """Set environment variables, or remove those that are None, until the end of the test."""
    for name, value in variables.items():
        case.addCleanup(_set_variable, name, os.environ.get(name))
        _set_variable(name, value)


def _set_variable(name: str, value: str | None) -> None:
    os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value


def turn(reactor: Any) -> Deferred[None]:
    """Return a Deferred that fires in the reactor's next turn."""
    turned: Deferred[None] = Deferred()
    reactor.callLater(0, turned.callback, None)
    return turned
