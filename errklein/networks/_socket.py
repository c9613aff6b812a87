"""WebSockets to networks, on which dead connections are noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.websocket import ConnectionRejected, WebSocketClientEndpoint
from wsproto.utilities import ProtocolError

from errklein.listening import receive_frames
from errklein.networks._connection import describe_failure
from errklein.networks.outbox import NotConfirmed
from errklein.running import cancel_timers

Receive = Callable[[str | bytes], object]
PING_INTERVAL = 20.0
"""Seconds between pings, and for the answer, after which a connection is dead. Opening it may take as long."""
LARGEST_MESSAGE = 16 * 1024 * 1024  # bytes
_CLOSE_TIMEOUT = 2.0


async def open_websocket(reactor: Any, endpoints: IAgentEndpointFactory, url: str, receive: Receive) -> Socket:
    """Open a WebSocket; raise NotConfirmed, whose text doesn't have the URL, if that isn't possible."""
    socket = Socket(reactor, receive, urlsplit(url).netloc.rpartition("@")[2])
    endpoint = WebSocketClientEndpoint(endpoints, url)
    timer = reactor.callLater(PING_INTERVAL, socket.abort, f"no WebSocket within {PING_INTERVAL:g} s")
    socket.opening = Deferred.fromCoroutine(endpoint.connect(socket))
    try:
        await socket.opening
        # Twisted tells the protocol later than those who wait for it.
        socket.is_open = True
        socket.pongReceived(b"")
        return socket
    except ConnectionRejected as rejected:
        reason = f"the server has refused the WebSocket with status {rejected.response.code}"
    except Exception as error:
        if isinstance(error, (CancelledError, ConnectingCancelledError)) and not socket.reason:
            raise CancelledError from None
        reason = socket.reason or describe_failure(Failure())
    finally:
        cancel_timers(timer)
        if not socket.is_open:
            socket.abort("")
    raise NotConfirmed(f"{socket.host}: {reason}")


class Socket:
    """An open WebSocket, and the factory and the protocol for `twisted.web.websocket`. Exceptions of the receiver are logged."""

    log = Logger(namespace="errklein.networks")
    opening: Deferred[Any]

    def __init__(self, reactor: Any, receive: Receive, host: str) -> None:
        self.closed: Deferred[str] = Deferred(lambda _: self.close())
        """Fires with the reason when the connection has ended. If it is cancelled, the WebSocket is closed."""
        self.host, self.is_open, self.reason = host, False, ""
        self._reactor, self._receive = reactor, receive
        self._websocket: Any = None
        self._timer: IDelayedCall | None = None

    def send(self, message: str | bytes) -> None:
        if not self.is_open:
            raise NotConfirmed(f"{self.host}: the WebSocket is closed")
        send = self._websocket.sendTextMessage if isinstance(message, str) else self._websocket.sendBytesMessage
        send(message)

    def close(self) -> None:
        if self.is_open:
            self._end("the bot has closed the WebSocket")
            self._websocket.loseConnection()
            self._timer = self._reactor.callLater(_CLOSE_TIMEOUT, self._websocket.transport.abortConnection)

    def abort(self, reason: str) -> None:
        self._end(reason)
        if self._websocket is not None:
            self._websocket.transport.abortConnection()
        elif reason:
            self.opening.cancel()

    def _end(self, reason: str) -> None:
        self.is_open, self.reason = False, self.reason or reason
        cancel_timers(self._timer)

    def _ping(self) -> None:
        self._websocket.ping(b"errklein")
        dead = f"no answer to a ping within {PING_INTERVAL:g} s"
        self._timer = self._reactor.callLater(PING_INTERVAL, self.abort, dead)

    def _receive_data(self, data: bytes) -> None:
        try:
            if not receive_frames(self._websocket, data, LARGEST_MESSAGE):
                self.abort(f"the server has sent a message of more than {LARGEST_MESSAGE:,} bytes")
        except ProtocolError:
            self.abort("the server's answer is no WebSocket")

    def textMessageReceived(self, message: str | bytes) -> None:
        try:
            if self.is_open:
                self._receive(message)
        except Exception:
            self.log.failure("A message from {host} could not be handled", host=self.host)

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:
        self.textMessageReceived(bytes(data))

    def buildProtocol(self, url: str) -> Socket:
        return self

    def negotiationStarted(self, transport: Any) -> None:
        self._websocket = transport
        transport.dataReceived = self._receive_data

    def negotiationFinished(self) -> None:
        pass

    def pongReceived(self, payload: bytes) -> None:
        if self.is_open:
            cancel_timers(self._timer)
            self._timer = self._reactor.callLater(PING_INTERVAL, self._ping)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(describe_failure(reason))
        self.opening.cancel()
        if not self.closed.called:
            self.closed.callback(self.reason)
