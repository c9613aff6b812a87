"""Connections on the asyncio reactor behave like Twisted's own."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import blockingCallFromThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from errklein.listening._connections import TCPConnection, UNIXConnection, use_event_loop
from tests import needs_network

LARGE = bytes(range(256)) * 40_000


class Recorder(Protocol):
    """Records what happens on a connection, and calls `on_data` with received bytes."""

    def __init__(self, case: TwistedConnectionTests) -> None:
        self.case = case
        self.received = b""
        self.paused = 0

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.case.on_data(self, data)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.case.lost.append(reason)
        self.case.ended.set()

    def pauseProducing(self) -> None:
        self.paused += 1

    def resumeProducing(self) -> None:
        self.case.resumed.set()

    def stopProducing(self) -> None:
        """Do nothing."""


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    """Answers after the client has closed its side."""

    def readConnectionLost(self) -> None:
        self.transport.write(b"after the end")
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Do nothing."""


class TwistedConnectionTests(SynchronousTestCase):
    """Twisted's own connections. The reactor runs in a thread, and the test is the client."""

    protocol: type[Recorder] = Recorder

    def setUp(self) -> None:
        """Start a reactor that echoes, on TCP."""
        needs_network()
        self.on_data: Callable[[Recorder, bytes], object] = lambda protocol, data: protocol.transport.write(data)
        self.lost: list[Failure] = []
        self.ended = threading.Event()
        self.resumed = threading.Event()
        self.connections: list[Any] = []
        self.reactor = AsyncioSelectorReactor(asyncio.new_event_loop())
        thread = threading.Thread(target=self.reactor.run, kwargs={"installSignalHandlers": False})
        thread.start()
        self.addCleanup(thread.join, 10)
        self.addCleanup(self.reactor.callFromThread, self.reactor.stop)
        self.port: Any = None

    def prepare(self, port: Any) -> None:
        """Change the port before it accepts connections."""

    def listen(self, description: str = "tcp:0:interface=127.0.0.1") -> None:
        """Listen on an endpoint."""

        class ServerFactory(Factory):
            def buildProtocol(_, addr: object) -> Protocol:  # noqa: N805
                self.connections.append(self.protocol(self))
                return self.connections[-1]

        def listen() -> Any:
            return serverFromString(self.reactor, description).listen(ServerFactory()).addCallback(self.opened)

        blockingCallFromThread(self.reactor, listen)

    def opened(self, port: Any) -> None:
        """Keep the port."""
        self.prepare(port)
        self.port = port

    def connect(self) -> socket.socket:
        """Connect a client."""
        if self.port is None:
            self.listen()
        client = socket.create_connection(("127.0.0.1", self.port.getHost().port), 10)
        self.addCleanup(client.close)
        return client

    def answered(self) -> bytes:
        """Return what a new client receives until the connection is closed."""
        client = self.connect()
        client.sendall(b"go")
        received = b""
        while data := client.recv(1_000_000):
            received += data
        return received

    def wait(self) -> Failure:
        """Wait until the connection is lost. Return the only reason."""
        self.assertTrue(self.ended.wait(10))
        [reason] = self.lost
        return reason

    def test_bytes_are_sent_in_order(self) -> None:
        """A client that reads slowly gets everything in order, and the producer pauses meanwhile."""

        def produce(protocol: Recorder, data: bytes) -> None:
            protocol.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 100_000)
            protocol.transport.registerProducer(protocol, True)
            for begin in range(0, len(LARGE), 100_000):
                protocol.transport.write(LARGE[begin : begin + 100_000])
            protocol.transport.writeSequence([b"the ", b"end"])

        self.on_data = produce
        client = self.connect()
        client.sendall(b"go")
        received = b""
        while not received.endswith(b"the end"):
            received += client.recv(50_000)
        self.assertEqual(received, LARGE + b"the end")
        self.assertTrue(self.resumed.wait(10))
        self.assertTrue(self.connections[0].paused)

    def test_close_after_all_bytes(self) -> None:
        """loseConnection sends waiting bytes first; later ones aren't sent before them."""

        def answer(protocol: Recorder, data: bytes) -> None:
            protocol.transport.write(LARGE)
            protocol.transport.loseConnection()

        self.on_data = answer
        self.assertEqual(self.answered(), LARGE)
        self.assertIs(self.wait().type, ConnectionDone)

    def test_writing_after_the_close(self) -> None:
        """Bytes that are written after loseConnection, in the same turn, are sent."""

        def answer(protocol: Recorder, data: bytes) -> None:
            protocol.transport.write(b"head ")
            protocol.transport.loseConnection()
            protocol.transport.write(b"end")

        self.on_data = answer
        self.assertEqual(self.answered(), b"head end")
        self.assertIs(self.wait().type, ConnectionDone)

    def test_abort_beside_a_close(self) -> None:
        """With abortConnection before or after loseConnection, the client gets a reset."""
        for first, second in (("abortConnection", "loseConnection"), ("loseConnection", "abortConnection")):

            def end(protocol: Recorder, data: bytes, first: str = first, second: str = second) -> None:
                getattr(protocol.transport, first)()
                getattr(protocol.transport, second)()

            self.on_data = end
            client = self.connect()
            client.sendall(b"go")
            self.assertRaises(ConnectionResetError, client.recv, 100)

    def test_abort(self) -> None:
        """After abortConnection, nothing more is sent, and the client gets a reset."""

        def abort(protocol: Recorder, data: bytes) -> None:
            protocol.transport.abortConnection()
            protocol.transport.write(b"too late")

        self.on_data = abort
        client = self.connect()
        client.sendall(b"go")
        self.assertRaises(ConnectionResetError, client.recv, 100)
        self.wait()

    def test_half_close(self) -> None:
        """loseWriteConnection ends what the client reads; what it sends still arrives."""

        def close_writing(protocol: Recorder, data: bytes) -> None:
            if data == b"go":
                protocol.transport.write(b"bye")
                protocol.transport.loseWriteConnection()

        self.on_data = close_writing
        client = self.connect()
        client.sendall(b"go")
        self.assertEqual(client.recv(100), b"bye")
        self.assertEqual(client.recv(100), b"")
        client.sendall(b"more")
        client.close()
        self.assertIs(self.wait().type, ConnectionDone)
        self.assertEqual(self.connections[0].received, b"gomore")

    def test_client_closes(self) -> None:
        """When the client closes, the connection ends without an error."""
        client = self.connect()
        client.sendall(b"x")
        self.assertEqual(client.recv(1), b"x")
        client.close()
        self.assertIs(self.wait().type, ConnectionDone)

    def test_client_closes_its_side(self) -> None:
        """A protocol that supports it may respond after the client has closed its side."""
        self.protocol = HalfCloseable
        client = self.connect()
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(client.recv(100), b"after the end")
        self.wait()

    def test_reset(self) -> None:
        """When the client resets the connection, the reason says so."""
        client = self.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"x")
        self.assertEqual(client.recv(1), b"x")
        client.close()
        self.assertIn("ConnectionLost", self.wait().type.__name__)

    def test_failing_protocol(self) -> None:
        """A protocol's exception is logged, and ends the connection."""
        self.on_data = lambda protocol, data: 1 // 0
        client = self.connect()
        client.sendall(b"go")
        self.assertEqual(client.recv(100), b"")
        self.assertIs(self.wait().type, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_pause(self) -> None:
        """While reading is paused, nothing arrives."""
        paused = threading.Event()

        def pause(protocol: Recorder, data: bytes) -> None:
            if data == b"1":
                protocol.transport.pauseProducing()
                paused.set()
            protocol.transport.write(data)

        self.on_data = pause
        client = self.connect()
        client.sendall(b"1")
        self.assertTrue(paused.wait(10))
        self.assertEqual(client.recv(1), b"1")
        client.sendall(b"2")
        client.settimeout(0.05)
        self.assertRaises(TimeoutError, client.recv, 1)
        client.settimeout(10)
        self.reactor.callFromThread(self.connections[0].transport.resumeProducing)
        self.assertEqual(client.recv(1), b"2")

    def test_pull_producer(self) -> None:
        """A pull producer is asked for more when its bytes have been sent."""

        class Pull:
            def __init__(self, transport: Any) -> None:
                self.transport = transport
                self.left = 5

            def resumeProducing(self) -> None:
                self.left -= 1
                self.transport.write(b"x")
                if not self.left:
                    self.transport.unregisterProducer()
                    self.transport.loseConnection()

            def stopProducing(self) -> None:
                """Do nothing."""

        self.on_data = lambda protocol, data: protocol.transport.registerProducer(Pull(protocol.transport), False)
        client = self.connect()
        client.sendall(b"go")
        received = b""
        while data := client.recv(100):
            received += data
        self.assertEqual(received, b"xxxxx")

    def test_writing_in_each_turn(self) -> None:
        """Waiting bytes are sent although more are written in each turn of the event loop."""
        arrived = threading.Event()

        def write_often(protocol: Recorder, data: bytes) -> None:
            protocol.transport.write(LARGE)
            write_more(protocol, self.reactor.seconds() + 10)

        def write_more(protocol: Recorder, deadline: float) -> None:
            protocol.transport.write(b"more")
            if arrived.is_set() or self.reactor.seconds() > deadline:
                protocol.transport.abortConnection()
            else:
                asyncio.get_running_loop().call_soon(write_more, protocol, deadline)

        self.on_data = write_often
        client = self.connect()
        client.sendall(b"go")
        left = len(LARGE)
        while left > 0:
            received = client.recv(1_000_000)
            self.assertTrue(received)
            left -= len(received)
        arrived.set()
        self.wait()

    def test_client_closes_its_side_once(self) -> None:
        """A protocol that leaves the connection open when the client has closed its side is informed once."""
        protocols: list[HalfCloseable] = []

        class Patient(HalfCloseable):
            def readConnectionLost(self) -> None:
                protocols.append(self)
                self.case.reactor.callLater(0.02, super().readConnectionLost)

        self.protocol = Patient
        client = self.connect()
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(client.recv(100), b"after the end")
        self.wait()
        self.assertEqual(len(protocols), 1)

    def test_pause_after_the_end(self) -> None:
        """A lost connection may be paused, as producers are by consumers that don't know yet."""
        client = self.connect()
        client.sendall(b"x")
        self.assertEqual(client.recv(1), b"x")
        client.close()
        self.wait()
        blockingCallFromThread(self.reactor, self.connections[0].transport.pauseProducing)

    def test_unix_socket(self) -> None:
        """A Unix socket works alike."""
        # Relative, since the names of sockets are limited to 107 bytes.
        path = self.mktemp()
        self.listen(f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(path)
            client.sendall(b"echo")
            self.assertEqual(client.recv(100), b"echo")
        self.assertIs(self.wait().type, ConnectionDone)


class AsyncioConnectionTests(TwistedConnectionTests):
    """Connections that the event loop calls directly."""

    def prepare(self, port: Any) -> None:
        """Use them."""
        use_event_loop(port)

    def tearDown(self) -> None:
        """Check that they were used."""
        self.assertTrue(self.connections)
        for connection in self.connections:
            self.assertIsInstance(connection.transport, (TCPConnection, UNIXConnection))
