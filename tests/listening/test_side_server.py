"""Servers for few clients."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from errklein.listening.side_server import SideServer
from errklein.testing._surroundings import InlinePool


class Shown(Resource):
    """Responds with the size of the body and what is kept of it; to GET, only when the test does."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Request] = []

    def render_GET(self, request: Request) -> int:
        """Keep the request."""
        self.waiting.append(request)
        return NOT_DONE_YET

    def render_POST(self, request: Any) -> bytes:
        """Respond with the size of the body, and with what is kept of it."""
        return b"%d bytes, kept: %b" % (request.received, request.content.read())


class SideServerTests(SynchronousTestCase):
    """The limits of a server with three connections and bodies of ten bytes."""

    def setUp(self) -> None:
        """Make the site."""
        self.shown = Shown()
        reactor = MemoryReactorClock()
        server = SideServer(reactor, "tcp:1", self.shown, InlinePool(reactor, "side", 1), 3, 10)
        self.successResultOf(server.open())
        self.factory = reactor.tcpServers[0][1]

    def connect(self, sent: bytes = b"") -> StringTransport:
        """Return the transport of a new connection that has sent something."""
        protocol: Any = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        transport = StringTransport()
        protocol.makeConnection(transport)
        if sent:
            protocol.dataReceived(sent)
        return transport

    def test_longest_idle_is_closed(self) -> None:
        """A further connection closes the one that has been idle for longest, and only that."""
        connections = [self.connect() for _ in range(5)]
        self.assertEqual([one.disconnected for one in connections], [True, True, False, False, False])

    def test_sending_is_no_idleness(self) -> None:
        """A connection on which a response goes on isn't idle."""
        followed = self.connect(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        idle = self.connect()
        self.connect()
        self.shown.waiting[0].write(b"news")
        self.connect()
        self.assertIn(b"news", followed.value())
        self.assertEqual((followed.disconnected, idle.disconnected), (False, True))

    def test_bodies(self) -> None:
        """A body within the limit is kept, and of a larger one nothing that is over it; its size is known."""
        for body, expected in ((b"x" * 10, b"10 bytes, kept: xxxxxxxxxx"), (b"x" * 11, b"11 bytes, kept: ")):
            head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            self.assertTrue(self.connect(head + body).value().endswith(expected), body)
