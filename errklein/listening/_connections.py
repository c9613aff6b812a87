"""Accepted connections: their limits, in total and for each client, their work on the asyncio reactor, and those from proxies that
send the PROXY protocol, whose header has the client's address.

Twisted's implementation of that closes the connection if the header is `PROXY UNKNOWN`, or arrives in several segments, has no
deadline, and expects the header within TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from socket import SOMAXCONN
from typing import Any, Protocol

from twisted.internet import protocol, tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from errklein.running import NEVER, RateLimit
from errklein.webhooks.forwarding import UNIX, InvalidHeader, ProxyHeader, parse_proxy_header

_FULL_CLIENT = "Refused connections: {number}; their client has {most_of_client} open ones, the last is {client}"
_SUSPENDED_CLIENT = (
    "Refused connections: {number}; their client had to be disconnected before a request, the last is {client}"
)
_ALL_BUSY = "Refused connections: {number}; all {most} open ones have requests in progress"
_FULL = "Closed connections: {number}; they waited for their clients, and {most} were open"
_FEW, _WEIGHT_WITHOUT_HEAD = 16, 20
_TURNS = 0.05  # the time in which a head that arrives with its connection is read, in seconds
_SUSPENSION = 60.0  # in seconds
_MOST_CREDIT, _MOST_CLIENTS = 10, 10_000
_ACCEPTED_AT_ONCE, _TWISTEDS_BACKLOG = 16, 50


class LimitedConnection(Protocol):
    """A connection that may be closed for others: while it waits for its client, it has a deadline."""

    transport: Any
    deadline: float  # the deadline on the reactor's clock, or NEVER
    waits_since: float
    has_received_head: bool  # whether the client has sent a complete head of a request

    def abort(self) -> None: ...

    # Close now, or after the request that is being read or handled.
    def close_if_idle(self) -> None: ...


class ConnectionLimits:
    """Knows the open connections, and closes some if there are too many. A client beyond its own limit is refused. Beyond the
    total limit, connections are closed that wait for their clients, those that have waited longest first. Without a complete head,
    the time counts 20 times, so that silent clients keep no others out. For a client with more than 16 connections, it is
    multiplied by their number. A new connection is refused only if all others have requests in progress. A client whose connection
    was closed without a complete head is then refused for a minute. Otherwise clients that reconnect immediately would fill the
    system's queue, in which others wait. Complete heads earn a client credit, at most 10, and a connection that is closed without
    one costs a unit: clients with credit have time to send heads, and aren't refused. `exempt` returns whether the client with
    this address has no limit of its own, such as a proxy."""

    log = Logger(namespace="errklein.web")

    def __init__(self, most: int, most_of_client: int, now: Callable[[], float], exempt: Callable[[str], bool]) -> None:
        # The open connections, their clients, and when they were opened.
        self.connections: dict[LimitedConnection, tuple[str | None, float]] = {}
        self._files, self._descriptors = 0, math.inf
        self._most, self._most_of_client = most, most_of_client
        self._now, self._exempt = now, exempt
        self._of_client: Counter[str | None] = Counter()
        self._credit: Counter[str | None] = Counter()
        self._suspended: dict[str | None, float] = {}
        self._warnings = RateLimit(now)
        self._unreported: Counter[str] = Counter()

    def use_descriptors(self, number: int) -> None:
        """Lower the limits so that an eighth of this number of file descriptors stays free, for files and other
        connections. A client may use half of the others. A negative number is no limit."""
        if number >= 0:
            self._descriptors = number - number // 8
            self._most = min(self._most, self._descriptors)
            self._most_of_client = min(self._most_of_client, self._most // 2)

    def guard(self, port: Any) -> None:
        """Refuse clients of a listening port before connections are created for them, and accept few in a turn of the reactor.
        Twisted accepts more than a hundred, faster than closed connections free their descriptors. Its queue of 50 overflows if
        many clients connect; the system then ignores the packet of the next one, which tries again after a second."""
        if not isinstance(port, Port):
            return
        if isinstance(port.factory, ProxiedFactory):
            # The client is known later, when `opened` is called. Until then, the connection counts only for the total.
            port.factory.opened, port.factory.closed = self._add, self.closed
        else:
            port.factory = _GuardedFactory(port.factory, self.accepts)  # type: ignore[assignment]
        accept: Any = port.doRead

        def accept_some() -> None:
            # Twisted adapts the number to the traffic.
            port.numberAccepts = _ACCEPTED_AT_ONCE
            accept()

        port.doRead = accept_some  # type: ignore[method-assign]
        if port.backlog == _TWISTEDS_BACKLOG:
            port.socket.listen(SOMAXCONN)

    def accepts(self, address: object) -> bool:
        client = self._client_at(address)
        if client is None:
            return True
        is_full = self._of_client[client] >= self._most_of_client
        if is_full or self._suspended.get(client, 0) > self._now():
            self._warn(_FULL_CLIENT if is_full else _SUSPENDED_CLIENT, client)
            return False
        return True

    def opened(self, connection: LimitedConnection) -> None:
        address = connection.transport.getPeer()
        if self.accepts(address):
            self._add(connection, self._client_at(address))
        else:
            connection.abort()

    def _add(self, connection: LimitedConnection, client: str | None = None) -> None:
        if self._has_room():
            self.connections[connection] = client, self._now()
            self._of_client[client] += 1
        else:
            connection.abort()
            self._warn(_ALL_BUSY)

    def closed(self, connection: LimitedConnection) -> None:
        if connection in self.connections:
            client, _ = self.connections.pop(connection)
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]
            if connection.has_received_head and self._credit[client] < _MOST_CREDIT:
                if len(self._credit) >= _MOST_CLIENTS:
                    self._credit.clear()
                self._credit[client] += 1

    def file_opened(self) -> None:
        """Count a body's file, which needs a descriptor too. Connections are closed if there are too many."""
        self._has_room()
        self._files += 1

    def file_closed(self) -> None:
        self._files -= 1

    def _has_room(self) -> bool:
        number = len(self.connections)
        return (number < self._most and number + self._files < self._descriptors) or self._make_room()

    def _make_room(self) -> bool:
        """Close connections that wait for their clients. Return whether there were any."""
        waiting = [connection for connection in self.connections if connection.deadline < NEVER]
        waiting.sort(key=self._waited, reverse=True)
        # Since all are examined, several are closed.
        del waiting[len(self.connections) // 64 + 1 :]
        for connection in waiting:
            if not connection.has_received_head:
                self._suspend(self.connections[connection][0])
            self.closed(connection)
            connection.abort()
            self._warn(_FULL)
        return bool(waiting)

    def _waited(self, connection: LimitedConnection) -> float:
        client, opened = self.connections[connection]
        if connection.has_received_head or (client is not None and self._credit[client]):
            waited = self._now() - connection.waits_since
        else:
            waited = _WEIGHT_WITHOUT_HEAD * max(self._now() - opened - _TURNS, 0)
        return waited * max(_FEW, self._of_client[client] if client is not None else 0)

    def _suspend(self, client: str | None) -> None:
        if self._credit[client]:
            self._credit[client] -= 1
            return
        if len(self._suspended) >= _MOST_CLIENTS:
            self._suspended.clear()
        self._suspended[client] = self._now() + _SUSPENSION

    def _client_at(self, address: object) -> str | None:
        host = getattr(address, "host", None)
        return None if host is None or self._exempt(host) else client_of(host)

    def _warn(self, text: str, client: str | None = None) -> None:
        """Log a line once a minute, with the number of connections since the previous one."""
        self._unreported[text] += 1
        if self._warnings.allows(text):
            number = self._unreported.pop(text)
            self.log.warn(text, number=number, client=client, most=self._most, most_of_client=self._most_of_client)


class _GuardedFactory:
    """A factory that creates no connection for some clients; a port then closes their sockets."""

    def __init__(self, factory: Any, accepts: Callable[[object], bool]) -> None:
        self._factory, self._accepts, self.doStop = factory, accepts, factory.doStop

    def buildProtocol(self, address: object) -> Any:
        return self._factory.buildProtocol(address) if self._accepts(address) else None


def client_of(host: str) -> str:
    """Return the client to which an address belongs: for IPv6 its network of 64 bits, of which a client has all addresses."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), 64), strict=False))


LARGEST_MESSAGE = 1024 * 1024  # the maximal size of a message on a WebSocket that plugins serve, in bytes
_CLOSED = ("REMOTE_CLOSING", "LOCAL_CLOSING", "CLOSED")


def receive_frames(websocket: Any, data: bytes, most: int = LARGEST_MESSAGE) -> bool:
    """Pass bytes to Twisted's WebSocket, unless it is closed. If its message is too large, close it with status 1009, and return
    False."""
    connection = websocket._wsconn
    if connection.state.name in _CLOSED:
        return True
    # Not the attribute of the instance, which may call this function.
    type(websocket).dataReceived(websocket, data)
    size = len(websocket._textBuffer.data) + len(websocket._bytesBuffer.data)
    if size > most and connection.state.name == "OPEN":
        websocket.loseConnection(1009)
        return False
    return True


# The offset of `tcpi_last_data_recv` in Linux's struct tcp_info: the milliseconds since the last data arrived.
_LAST_DATA_RECEIVED = 52


def seconds_waited(transport: Any) -> float:
    """Return how many seconds ago the last bytes of a connection arrived; 0 if the system doesn't tell it. Linux does for TCP."""
    try:
        info = transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED + 4)
        milliseconds: int = struct.unpack_from("I", info, _LAST_DATA_RECEIVED)[0]
    except (AttributeError, OSError, struct.error):
        # Another system, a Unix socket, or no socket at all.
        return 0.0
    return milliseconds / 1000


class _AsyncioConnection(tcp.Connection):
    """A connection that the event loop calls directly, and that sends at once what the socket accepts. Twisted's reactor wraps each
    call in a logging context, and sends when the socket has become writable: two more system calls and a turn of the reactor."""

    log = Logger()
    _reads = False
    _writes = False

    def __init__(self, *arguments: Any) -> None:
        self._loop = asyncio.get_running_loop()
        super().__init__(*arguments)

    def write(self, data: bytes) -> None:
        waits = self.dataBuffer or self._tempDataBuffer
        # When the bytes have been sent, `doWrite` asks a pull producer for more.
        pulls = self.producer is not None and not self.streamingProducer
        if self.connected and not (waits or pulls or self.disconnecting or self._aborting or self.TLS):
            try:
                sent = self.socket.send(data)
            except OSError:
                # The socket is full, or the connection is lost, which the event loop reports.
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self, *reason: Failure) -> None:
        waits = self.dataBuffer or self._tempDataBuffer or self.producer is not None or self.TLS
        if waits or not self.connected or self.disconnecting or self._aborting or self._writeDisconnected:
            super().loseConnection(*reason)  # type: ignore[no-untyped-call]
            return
        # Twisted would wait until the socket is writable, and send nothing.
        self.disconnecting = True
        self.stopReading()
        self._loop.call_soon(self._call, self._closed)

    def _closed(self) -> object:
        # What was written in this turn is sent first, and a producer that was registered. An abort closes by itself.
        waits = self.dataBuffer or self._tempDataBuffer or self.producer is not None
        return None if waits or self._aborting or not self.connected else CONNECTION_DONE

    def startReading(self) -> None:
        if not self._reads:
            self._reads = True
            self._loop.add_reader(self.fileno(), self._call, self.doRead)

    def stopReading(self) -> None:
        if self._reads:
            self._reads = False
            self._loop.remove_reader(self.fileno())

    def startWriting(self) -> None:
        # To add it again would cancel the call that is due in this turn.
        if not self._writes:
            self._writes = True
            self._loop.add_writer(self.fileno(), self._call, self.doWrite)

    def stopWriting(self) -> None:
        if self._writes:
            self._writes = False
            self._loop.remove_writer(self.fileno())

    def _call(self, method: Callable[[], object]) -> None:
        try:
            lost = method()
        except Exception as error:
            self.log.failure("A connection failed")
            lost = error
        if lost is CONNECTION_DONE and method == self.doRead:
            self.stopReading()
            self.readConnectionLost(Failure(CONNECTION_DONE))
        elif lost:
            self.connectionLost(Failure(lost))


class TCPConnection(_AsyncioConnection, tcp.Server):
    pass


class UNIXConnection(_AsyncioConnection, unix.Server):
    pass


def use_event_loop(port: object) -> None:
    """Let the event loop call the connections that this port accepts from now on. Does nothing on other reactors."""
    if isinstance(port, tcp.Port) and isinstance(port.reactor, AsyncioSelectorReactor):
        port.transport = UNIXConnection if isinstance(port, unix.Port) else TCPConnection  # type: ignore[assignment]


_DEADLINE = 10.0


class ProxiedProtocol(ProtocolWrapper):
    """A connection from a proxy. The wrapped connection begins when the header is complete, with the client's address.
    It is closed if the header is invalid, or isn't complete after 10 seconds."""

    log = Logger(namespace="errklein.web.access")
    factory: ProxiedFactory
    wrappedProtocol: Any

    # For the limit of connections, which closes one without a head in favour of a new one.
    has_received_head = False
    deadline = waits_since = 0.0

    def __init__(self, factory: ProxiedFactory) -> None:
        super().__init__(factory, None)  # type: ignore[arg-type]
        self._header: ProxyHeader | None = None
        self._received = b""

    def makeConnection(self, transport: Any) -> None:
        directlyProvides(self, providedBy(transport))
        protocol.Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)  # type: ignore[no-untyped-call]
        reason = "the PROXY header took too long to arrive"
        self._deadline = self.factory.reactor.callLater(_DEADLINE, self._refuse, reason)
        self.factory.opened(self)

    def dataReceived(self, data: bytes) -> None:
        if self.wrappedProtocol is not None:
            self.wrappedProtocol.dataReceived(data)
        elif not self.disconnecting:
            self._received += data
            try:
                self._header = parse_proxy_header(self._received)
            except InvalidHeader as error:
                self._refuse(str(error))
            else:
                if self._header is not None:
                    self._begin(self._received[self._header.size :])

    def _begin(self, rest: bytes) -> None:
        self._received = b""
        self._deadline.cancel()
        self.factory.closed(self)
        self.wrappedProtocol = self.factory.wrappedFactory.buildProtocol(self.getPeer())
        self.wrappedProtocol.makeConnection(self)
        if rest and self.wrappedProtocol is not None:
            self.wrappedProtocol.dataReceived(rest)

    def _refuse(self, reason: str) -> None:
        self.log.info('{peer} "-" {reason}', peer=getattr(self.getPeer(), "host", "-"), reason=reason)
        self.abort()

    def abort(self) -> None:
        self.disconnecting = 1
        self.transport.abortConnection()  # type: ignore[union-attr]

    close_if_idle = abort

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        if self._deadline.active():
            self._deadline.cancel()
        if self.wrappedProtocol is not None:
            super().connectionLost(reason)  # type: ignore[no-untyped-call]
        else:
            self.factory.closed(self)
            self.factory.unregisterProtocol(self)  # type: ignore[no-untyped-call]

    @property
    def proxy(self) -> str | None:
        """The address of the proxy, or UNIX, if its header has the address of a client; else None."""
        reports = self._header and self._header.source
        return getattr(super().getPeer(), "host", UNIX) if reports else None  # type: ignore[no-untyped-call]

    def getPeer(self) -> IAddress:
        source = self._header and self._header.source
        return address_of(*source) if source else super().getPeer()  # type: ignore[no-untyped-call]

    def getHost(self) -> IAddress:
        destination = self._header and self._header.destination
        return address_of(*destination) if destination else super().getHost()  # type: ignore[no-untyped-call]


class ProxiedFactory(WrappingFactory[ProxiedProtocol]):
    """Creates connections that begin with a PROXY header. `opened` and `closed` are called for those without a complete header."""

    noisy = False

    def __init__(self, reactor: Any, factory: IProtocolFactory) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]
        self.reactor = reactor
        self.opened: Callable[[ProxiedProtocol], object] = lambda connection: None
        self.closed = self.opened

    def buildProtocol(self, addr: IAddress | None) -> ProxiedProtocol:
        return ProxiedProtocol(self)


@lru_cache(512)
def address_of(host: str, port: int) -> IAddress:
    """Return the address. The host may be an identifier such as "_hidden", which Twisted has no class for, or UNIX."""
    if host == UNIX:
        return UNIXAddress(None)
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)
