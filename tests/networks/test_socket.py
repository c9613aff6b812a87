"""Tests of WebSockets to networks."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet import reactor as the_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.websocket import WebSocketResource

from errklein.config import Config
from errklein.http_client import PooledAgent
from errklein.networks._socket import LARGEST_MESSAGE, Socket, open_websocket
from errklein.networks.context import NetworkContext
from errklein.networks.outbox import NotConfirmed
from tests import needs_network
from tests.authority import issue


class Server:
    """The server's side: the factory and the protocol of one connection. It echoes messages."""

    def __init__(self) -> None:
        self.transports: list[Any] = []
        self.lost: Deferred[None] = Deferred()

    def buildProtocol(self, request: Any) -> Server:
        return self

    def negotiationStarted(self, transport: Any) -> None:
        self.transports.append(transport)

    def negotiationFinished(self) -> None:
        """Do nothing."""

    def pongReceived(self, payload: bytes) -> None:
        """Do nothing."""

    def textMessageReceived(self, message: str) -> None:
        self.transports[-1].sendTextMessage(message)

    def bytesMessageReceived(self, data: bytes) -> None:
        self.transports[-1].sendBytesMessage(bytes(data))

    def connectionLost(self, reason: object) -> None:
        if not self.lost.called:
            self.lost.callback(None)


class TimedReactor:
    """The reactor, but for the time, which a test advances."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.callLater = self.clock.callLater
        self.seconds = self.clock.seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(the_reactor, name)


class SocketTests(TestCase):
    """WebSockets over sockets of the loopback interface, with a clock of the test."""

    timeout = 10

    def setUp(self) -> None:
        """Start a server."""
        needs_network()
        super().setUp()
        self.reactor: Any = TimedReactor()
        self.endpoints = PooledAgent(self.reactor)
        self.server = Server()
        root = Resource()
        root.putChild(b"chat", WebSocketResource(self.server))
        self.port = self.listen(Site(root))
        self.messages: list[str | bytes] = []
        self.received: Deferred[None] = Deferred()

    def listen(self, factory: Any) -> int:
        """Serve on a port, which is returned."""
        port: Any = the_reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def receive(self, message: str | bytes) -> None:
        """Note a message; the second one ends the wait of the test."""
        self.messages.append(message)
        if len(self.messages) == 2 and not self.received.called:
            self.received.callback(None)

    def open(self, path: str = "chat?token=S3CRET", port: int = 0) -> Deferred[Socket]:
        """Open a WebSocket."""
        url = f"ws://127.0.0.1:{port or self.port}/{path}"
        return Deferred.fromCoroutine(open_websocket(self.reactor, self.endpoints, url, self.receive))

    async def refused(self, opened: Deferred[Socket]) -> str:
        """Return why a WebSocket wasn't opened; the text has no secret."""
        error = str(await self.assertFailure(opened, NotConfirmed))
        self.assertNotIn("S3CRET", error)
        self.assertIn("127.0.0.1", error)
        self.assertEqual(self.reactor.clock.getDelayedCalls(), [])
        return error

    async def test_messages(self) -> None:
        """Messages are exchanged as text and bytes until the socket is closed."""
        socket = await self.open()
        socket.send("grüße")
        socket.send(b"\0\1")
        await self.received
        self.assertEqual(self.messages, ["grüße", b"\0\1"])
        socket.close()
        self.assertEqual(await socket.closed, "the bot has closed the WebSocket")
        self.assertRaises(NotConfirmed, socket.send, "late")
        await self.server.lost
        self.assertEqual(self.reactor.clock.getDelayedCalls(), [])

    async def test_closed_by_the_server(self) -> None:
        """The end of the connection is told, whoever ends it."""
        socket = await self.open()
        self.server.transports[-1].loseConnection(1000)
        self.assertIn("closed", await socket.closed)
        self.assertEqual(self.reactor.clock.getDelayedCalls(), [])

    async def test_cancelled(self) -> None:
        """Who waits for the end and is cancelled has closed the socket."""
        socket = await self.open()
        socket.closed.cancel()
        await self.assertFailure(socket.closed, CancelledError)
        await self.server.lost

    async def test_several(self) -> None:
        """Several sockets may be open at once."""
        first, second = await self.open(), await self.open()
        first.send("one")
        second.send("two")
        await self.received
        for socket in (first, second):
            socket.close()
            await socket.closed

    async def test_dead_connection(self) -> None:
        """A server that doesn't answer a ping within 20 s is gone."""
        socket = await self.open()
        pongs: list[Deferred[None]] = [Deferred()]
        pong_received = socket.pongReceived
        wire = self.server.transports[-1]

        def note(payload: bytes) -> None:
            pong_received(payload)
            pongs[0].callback(None)

        socket.pongReceived = note  # type: ignore[method-assign]
        self.reactor.clock.advance(20)
        await pongs[0]
        # From now on the server is silent.
        wire.dataReceived = wire.transport.dataReceived = lambda data: None
        self.reactor.clock.advance(20)
        self.assertFalse(socket.closed.called)
        self.reactor.clock.advance(20)
        self.assertEqual(await socket.closed, "no answer to a ping within 20 s")
        await self.server.lost

    async def test_silent_server(self) -> None:
        """A server that accepts the connection and says nothing is given up after 20 s."""
        connected: Deferred[None] = Deferred()

        class Silent(Protocol):
            def connectionMade(self) -> None:
                connected.callback(None)

        opened = self.open(port=self.listen(Factory.forProtocol(Silent)))
        await connected
        self.reactor.clock.advance(20)
        self.assertIn("no WebSocket within 20 s", await self.refused(opened))

    async def test_cancelled_while_opening(self) -> None:
        """A cancelled attempt leaves no connection."""
        connected: Deferred[None] = Deferred()
        gone: Deferred[None] = Deferred()

        class Silent(Protocol):
            def connectionMade(self) -> None:
                connected.callback(None)

            def connectionLost(self, reason: object = None) -> None:
                gone.callback(None)

        opened = self.open(port=self.listen(Factory.forProtocol(Silent)))
        await connected
        opened.cancel()
        await self.assertFailure(opened, CancelledError)
        await gone
        self.assertEqual(self.reactor.clock.getDelayedCalls(), [])

    async def test_refused(self) -> None:
        """Another status, something else than HTTP, a closed connection and a free port are described."""
        self.assertIn("status 404", await self.refused(self.open("missing?token=S3CRET")))

        def responding(answer: bytes) -> int:
            class Responding(Protocol):
                def dataReceived(self, data: bytes) -> None:
                    assert self.transport is not None
                    self.transport.write(answer)
                    self.transport.loseConnection()

            return self.listen(Factory.forProtocol(Responding))

        self.assertIn("no WebSocket", await self.refused(self.open(port=responding(b"SSH-2.0-OpenSSH\r\n\r\n"))))
        self.assertIn("closed", await self.refused(self.open(port=responding(b""))))
        # Twisted gives up an address only after some time.
        self.reactor.callLater = the_reactor.callLater  # type: ignore[attr-defined]
        self.assertIn("refused", await self.refused(self.open(port=1)))

    async def test_message_beyond_the_limit(self) -> None:
        """A message that is too large ends the connection."""
        socket = await self.open()
        with mock.patch("errklein.networks._socket.LARGEST_MESSAGE", 1000):
            # The server splits it, since a message of one frame is complete at once.
            connection = self.server.transports[-1]
            connection.transport.write(b"\x01\x7e\x07\xd0" + b"x" * 2000)
            self.assertIn("more than 1,000 bytes", await socket.closed)
        self.assertGreater(LARGEST_MESSAGE, 1_000_000)

    async def test_defect_of_the_receiver(self) -> None:
        """An exception of the receiver is logged, and later messages arrive."""

        def receive(message: str | bytes) -> None:
            self.receive(message)
            raise ZeroDivisionError

        socket = await open_websocket(self.reactor, self.endpoints, f"ws://127.0.0.1:{self.port}/chat", receive)
        socket.send("one")
        socket.send("two")
        await self.received
        socket.close()
        await socket.closed
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    async def test_tls(self) -> None:
        """A certificate must be trusted, by the system or by the policy of the agent."""
        issued = issue("localhost")
        certificate = PrivateCertificate.loadPEM(issued.key_pem + issued.pem)
        root = Resource()
        root.putChild(b"", WebSocketResource(self.server))
        tls: Any = the_reactor.listenSSL(  # type: ignore[attr-defined]
            0, Site(root), certificate.options(), interface="127.0.0.1"
        )
        self.addCleanup(tls.stopListening)
        url = f"wss://localhost:{tls.getHost().port}/"
        context = NetworkContext(self.reactor, Config({"BACKEND": "Null"}))
        error = await self.assertFailure(context.websocket(url, self.receive), NotConfirmed)
        self.assertIn("certificate is not trusted", str(error))
        trusted = BrowserLikePolicyForHTTPS(trustRootFromCertificates([Certificate.loadPEM(issued.pem)]))
        socket = await open_websocket(self.reactor, PooledAgent(self.reactor, trusted), url, self.receive)
        socket.close()
        await socket.closed
