"""Accepted connections on the asyncio reactor, without the reactor's own work for each read and each write."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import Logger
from twisted.python.failure import Failure

_LAST_DATA_RECEIVED = 52
"""The offset of `tcpi_last_data_recv` in Linux's struct tcp_info: the milliseconds since the last data arrived."""


def seconds_waited(transport: Any) -> float:
    """Return how long ago the last bytes of a connection arrived, in seconds; 0 if the system doesn't tell it. Linux
    does for TCP."""
    try:
        info = transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED + 4)
        milliseconds: int = struct.unpack_from("I", info, _LAST_DATA_RECEIVED)[0]
    except (AttributeError, OSError, struct.error):
        # Another system, a Unix socket, or no socket at all.
        return 0.0
    return milliseconds / 1000


class _AsyncioConnection(tcp.Connection):
    """A connection that the event loop calls directly, and that sends at once what the socket accepts. Twisted's
    reactor wraps each call of a connection in a logging context, and sends when the socket has become writable: two
    more system calls and a turn of the reactor, although most responses fit into the socket's buffer."""

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
    """A TCP connection."""


class UNIXConnection(_AsyncioConnection, unix.Server):
    """A connection to a Unix socket."""


def use_event_loop(port: object) -> None:
    """Let the event loop call the connections that this port accepts from now on. Does nothing on other reactors."""
    if isinstance(port, tcp.Port) and isinstance(port.reactor, AsyncioSelectorReactor):
        port.transport = UNIXConnection if isinstance(port, unix.Port) else TCPConnection  # type: ignore[assignment]
