"""Tests for connections that begin with a PROXY header."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from errklein.listening._connections import ProxiedFactory
from errklein.webhooks import webhook
from tests.web.kit import WebCase, request
from tests.webhooks.test_proxy_header import INVALID, VALID


class Recorded(Protocol):
    """The connection within a proxied one."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Record the bytes."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Record the end."""
        self.lost = reason


class ConnectionTests(SynchronousTestCase):
    """Connections in memory."""

    def setUp(self) -> None:
        """Connect a proxy."""
        self.clock = Clock()
        self.begun: list[Recorded] = []

        def build() -> Recorded:
            self.begun.append(Recorded())
            return self.begun[-1]

        self.factory = ProxiedFactory(self.clock, Factory.forProtocol(build))
        self.transport = StringTransport()
        self.connection = self.factory.buildProtocol(None)
        self.connection.makeConnection(self.transport)

    def test_byte_by_byte(self) -> None:
        """A header that arrives in any number of segments is accepted, and the bytes after it arrive."""
        for raw, source, destination in VALID:
            self.setUp()
            for byte in raw:
                self.assertEqual(self.begun, [])
                self.connection.dataReceived(bytes([byte]))
            [inner] = self.begun
            self.connection.dataReceived(b"GET ")
            self.connection.dataReceived(b"/")
            self.assertEqual(inner.received, b"GET /")
            assert inner.transport is not None
            for reported, own, found in (
                (source, self.transport.getPeer(), inner.transport.getPeer()),
                (destination, self.transport.getHost(), inner.transport.getHost()),
            ):
                self.assertEqual(
                    (getattr(found, "host", "unix"), getattr(found, "port", 0)), reported or (own.host, own.port)
                )
            self.assertEqual(self.connection.proxy, self.transport.getPeer().host if source else None)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertFalse(self.transport.disconnected)

    def test_one_segment(self) -> None:
        """Bytes in the segment of the header arrive, and the inner connection can write and is told of the end."""
        self.connection.dataReceived(VALID[0][0] + b"GET /")
        [inner] = self.begun
        self.assertEqual(inner.received, b"GET /")
        assert inner.transport is not None
        inner.transport.write(b"200")
        self.assertEqual(self.transport.value(), b"200")
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.assertIsNotNone(inner.lost)
        self.assertEqual(self.factory.protocols, {})

    def test_an_end_at_the_beginning(self) -> None:
        """Bytes after the header are discarded if the inner connection ends at once, as one too many does."""
        ended = Recorded()
        ended.connectionMade = lambda: self.connection.connectionLost(Failure(ConnectionDone()))  # type: ignore[method-assign]
        self.factory.wrappedFactory = Factory.forProtocol(lambda: ended)
        self.connection.dataReceived(VALID[0][0] + b"GET /")
        self.assertEqual(ended.received, b"")

    def test_invalid_headers(self) -> None:
        """An invalid header closes the connection without a response, and is logged with the peer's address."""
        for raw in INVALID:
            self.setUp()
            with capturedLogs() as events:
                self.connection.dataReceived(raw)
                self.connection.dataReceived(VALID[0][0])
            self.assertTrue(self.transport.disconnected)
            self.assertEqual((self.begun, self.transport.value()), ([], b""))
            [line] = [formatEvent(event) or "" for event in events]
            self.assertRegex(line, '^192.168.1.1 "-" the .*PROXY header')
            self.connection.connectionLost()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_slow_header(self) -> None:
        """A connection without a complete header is closed after ten seconds, however often bytes arrive."""
        for byte in VALID[0][0][:9]:
            self.connection.dataReceived(bytes([byte]))
            self.clock.advance(1)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnected)
        self.connection.connectionLost()

    def test_a_check_without_header(self) -> None:
        """A proxy that only opens a connection and closes it leaves nothing behind, and nothing in the log."""
        with capturedLogs() as events:
            self.connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.clock.getDelayedCalls(), self.factory.protocols, list(events)), ([], {}, []))


class Where:
    """A plugin."""

    @webhook(raw=True)
    async def where(self, request: Any) -> str:
        return f"{request.remote_addr} {request.scheme} {request.headers.get('X-Forwarded-For')}"


class SiteTests(WebCase):
    """The web server behind a proxy."""

    def test_the_access_log(self) -> None:
        """The handler gets the client's address, and so does the access log."""
        self.serve(Where())
        transport = StringTransport()
        connection = ProxiedFactory(self.clock, self.web.site).buildProtocol(None)
        connection.makeConnection(transport)
        with capturedLogs() as events:
            connection.dataReceived(VALID[0][0])
            connection.dataReceived(request("GET", "/where", b"", "X-Forwarded-For: 192.0.2.66"))
        self.assertTrue(transport.value().endswith(b"203.0.113.9 http 192.0.2.66"))
        lines = [formatEvent(event) or "" for event in events]
        self.assertTrue(any(line.startswith('203.0.113.9 "GET /where"') for line in lines), lines)
        connection.connectionLost()
