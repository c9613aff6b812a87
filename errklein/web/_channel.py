"""The HTTP/1.1 connection, which reads requests one after the other and writes their responses."""

from __future__ import annotations

import re
from enum import Enum
from functools import cached_property
from http.client import responses
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from errklein.web._error_pages import Problem, error_page
from errklein.web._http1 import MAX_HEAD, ChunkedBody, Head, LengthBody, parse_head
from errklein.web._shared_timer import NEVER
from errklein.web.request import HTTPRequest

if TYPE_CHECKING:
    from errklein.web._site import Site

_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_LARGEST_PIPELINE = 16 * 1024
_LINGER = 2.0
_TURN = 0.01


class _ChannelState(Enum):
    HEAD = "waiting for a request line and headers, or reading them"
    BODY = "reading a body"
    HANDLING = "waiting for the response to a request"
    CLOSING = "closing; received bytes are ignored"


class Channel(HTTPChannel):
    """One HTTP/1.1 connection, with a deadline for everything that a client could delay.

    Twisted's channel reads headers line by line, has no limit but an idle timeout that every byte resets, and closes the
    connection without a response to invalid requests. This class replaces the reading side. It keeps the writing side, so that
    Twisted's requests and resources work.
    """

    site: Site
    transport: Any
    has_received_head = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.deadline = NEVER
        self._received = b""
        self._state = _ChannelState.HEAD
        self._head_begun = False
        self._body: LengthBody | ChunkedBody | None = None
        self._advancing = False
        self._waits_for_turn = False
        self._write_paused = False
        self._reading = True
        self._is_producer = False
        self._direct = False
        self.plain = True

    # Behind a proxy, the addresses are known after the first bytes; a lost connection no longer has them.

    @cached_property
    def peer(self) -> IAddress:
        """The client's address."""
        return cast(IAddress, self.transport.getPeer())

    @cached_property
    def host(self) -> IAddress:
        """The local address to which the client is connected."""
        return cast(IAddress, self.transport.getHost())

    # Events from Twisted.

    def connectionMade(self) -> None:
        """Prepare a new connection."""
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)
        self.plain = not self.isSecure()  # type: ignore[no-untyped-call]
        self._direct = isinstance(self.transport, Connection) and self.plain
        self.transport.registerProducer(self, True)
        self._is_producer = True
        self._set_deadline(self.site.settings.idle_deadline)
        self.site.channel_opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Inform the requests that the connection is lost."""
        self._state = _ChannelState.CLOSING
        self.deadline = NEVER
        self.site.channel_closed(self)
        for request in list(self.requests):
            request.connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """Read requests from received bytes, or keep these until the response to the current request is sent."""
        state = self._state
        if state is _ChannelState.CLOSING:
            return
        self._received = self._received + data if self._received else data
        if state is not _ChannelState.HANDLING and not self._write_paused and not self._waits_for_turn:
            self._advance()
        elif len(self._received) > _LARGEST_PIPELINE:
            self._set_reading(False)

    def pauseProducing(self) -> None:
        """Pause the response when the client doesn't read it."""
        self._write_paused = True
        self._set_deadline(self.site.settings.read_deadline)
        if self._requestProducer is not None:
            self._requestProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """Resume the response when the client has read it."""
        self._write_paused = False
        if self._state is _ChannelState.HANDLING:
            self.deadline = NEVER
        elif self._state is not _ChannelState.CLOSING:
            self._set_deadline(self.site.settings.idle_deadline)
        if self._requestProducer is not None:
            self._requestProducer.resumeProducing()
        elif self._received and not self._advancing and not self._waits_for_turn and self._state is _ChannelState.HEAD:
            self._advance()

    def deadline_passed(self) -> None:
        """Respond with 408, or close the connection, when the client has exceeded a deadline."""
        if self._write_paused or self._state in (_ChannelState.CLOSING, _ChannelState.HANDLING):
            self.abort()
        elif self._state is _ChannelState.BODY:
            self._refuse(Problem(408, "the body took too long to arrive"))
        elif self._received:
            self._refuse(Problem(408, "the headers took too long to arrive"))
        else:
            self.loseConnection()

    # Reading.

    def _advance(self) -> None:
        """Read the received bytes. Of many pipelined requests, read as many as the time slice of one turn allows."""
        self._set_reading(True)
        self._advancing = True
        until = self.site.now() + _TURN
        try:
            while not self._write_paused and (
                (self._state is _ChannelState.HEAD and self._read_head())
                or (self._state is _ChannelState.BODY and self._read_body())
            ):
                if self._received and self._state is _ChannelState.HEAD and self.site.now() >= until:
                    self._waits_for_turn = True
                    self._set_reading(False)
                    self.site.call_later(0, self._take_turn)
                    break
        except Problem as problem:
            self._refuse(problem)
        finally:
            self._advancing = False

    def _take_turn(self) -> None:
        self._waits_for_turn = False
        if self._state is _ChannelState.HEAD and not self._write_paused:
            self._advance()

    def _read_head(self) -> bool:
        """Read a request line and headers if they are complete. Return whether there may be more to read."""
        received = self._received
        if received[:2] == b"\r\n":
            # Old clients send an empty line after a body (RFC 9112, 2.2).
            received = self._received = received[2:]
        end = received.find(b"\r\n\r\n", 0, MAX_HEAD + 4)
        if end >= 0:
            self._head_begun = False
            self._received = received[end + 4 :]
            self._begin(parse_head(received[:end]))
            return True
        if len(received) > MAX_HEAD:
            if b"\r\n" in received[:MAX_HEAD]:
                raise Problem(431, f"the headers are longer than {MAX_HEAD} bytes")
            raise Problem(414, f"the request line is longer than {MAX_HEAD} bytes")
        if _BARE_LINE_FEED.search(received):
            raise Problem(400, "a line ends with LF instead of CR LF")
        if received and not self._head_begun:
            self._head_begun = True
            self._set_deadline(self.site.settings.head_deadline)
        return False

    def _begin(self, head: Head) -> None:
        site = self.site
        self.persistent = head.keep_alive and not site.stopping
        self.has_received_head = True
        request = HTTPRequest(self, site, head, site.next_request_id())
        self.requests.append(request)
        if head.length == 0:
            self._handle(request)
            return
        problem = site.router.check_headers(request, head.length, head.expects_continue)
        if problem is not None:
            self._refuse(problem)
            return
        if head.expects_continue and not self._received:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._body = ChunkedBody() if head.length is None else LengthBody(head.length)
        self._state = _ChannelState.BODY
        if len(self._received) != head.length:
            self._set_deadline(site.settings.body_deadline)

    def _read_body(self) -> bool:
        """Read the received part of a body. Return whether there may be more to read."""
        if not self._received:
            return False
        assert self._body is not None
        data, rest = self._body.receive(self._received)
        self._received = rest or b""
        request: HTTPRequest = self.requests[0]
        try:
            kept = not data or request.receive_body(data)
        except OSError as error:
            # Large bodies wait in a temporary file.
            self.site.log.error("Could not store a request's body in a temporary file: {error}", error=str(error))
            raise Problem(503, "the server has no space for the body at the moment") from None
        if not kept:
            raise Problem(413, f"the body is larger than {request.body_limit} bytes")
        if rest is None:
            return False
        self._body = None
        self._handle(request)
        return True

    def _handle(self, request: HTTPRequest) -> None:
        self._state = _ChannelState.HANDLING
        self.deadline = NEVER
        request.process()

    def _set_reading(self, on: bool) -> None:
        if on is not self._reading:
            self._reading = on
            if on:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = self.site.now() + seconds

    # Responses and closing.

    def send(self, data: bytes) -> None:
        """Send bytes, immediately if the socket accepts them.

        Twisted waits until the socket is writable, which costs two system calls and a turn of the reactor, although most
        responses fit into the socket's buffer.
        """
        if self._direct and not self.transport.disconnecting:
            sent = self.transport.writeSomeData(data)
            if sent == len(data):
                return
            if isinstance(sent, int):
                data = data[sent:]
        self.write(data)

    def write(self, data: bytes) -> None:
        """Send bytes through Twisted's buffer."""
        # Bytes may remain in Twisted's buffer when the next response is ready, which must come after them.
        self._direct = False
        self.transport.write(data)

    def writeSequence(self, iovec: Any) -> None:
        """Send byte strings through Twisted's buffer."""
        self.write(b"".join(iovec))

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        """Write the head of a response that a Twisted resource sends."""
        self._direct = False
        super().writeHeaders(version, code, reason, headers)  # type: ignore[no-untyped-call]

    def requestDone(self, request: Any) -> None:
        """Read the next request, or close the connection, after a response."""
        self.requests.remove(request)
        if self._state is _ChannelState.CLOSING:
            self._close_gently()
        elif not self.persistent:
            self.loseConnection()
        else:
            self._state = _ChannelState.HEAD
            if not self._write_paused:
                self._set_deadline(self.site.settings.idle_deadline)
            if not self._advancing and not self._write_paused:
                self._advance()

    def close_if_idle(self) -> None:
        """Close now, or after the request that is being read or handled."""
        self.persistent = False
        if self._state is _ChannelState.HEAD and not self._received:
            self.loseConnection()

    def loseConnection(self) -> None:
        """Close when all written bytes have been sent."""
        self._state = _ChannelState.CLOSING
        self._received = b""
        self._set_deadline(self.site.settings.read_deadline)
        self._stop_producing()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close now and discard unsent bytes."""
        self._state = _ChannelState.CLOSING
        self.deadline = NEVER
        self.transport.abortConnection()

    def _refuse(self, problem: Problem) -> None:
        """Respond with an error, and close. The client may still be sending the request."""
        self.persistent = False
        self._state = _ChannelState.CLOSING
        self._received = b""
        if self.requests:
            request: HTTPRequest = self.requests[0]
            request.send_error(problem)
            return
        # The request could not be parsed, so nothing is known about the formats that the client accepts.
        request_id = self.site.next_request_id()
        headers, body = error_page(problem, request_id, False)
        headers += [
            (b"X-Request-Id", request_id.encode()),
            (b"Content-Length", b"%d" % len(body)),
            (b"Connection", b"close"),
        ]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        reason = responses[problem.status].encode()
        self.write(b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (problem.status, reason, lines, body))
        self.site.log_rejection(self, problem, request_id)
        self._close_gently()

    def _close_gently(self) -> None:
        """Close so that the client can read the response: closing a socket with unread bytes resets the connection."""
        self._stop_producing()
        self._set_reading(True)
        self._set_deadline(_LINGER)
        # With TLS, loseConnection sends a close alert and reads until the client's; loseWriteConnection would close the socket
        # before the response is encrypted.
        close_writing = getattr(self.transport, "loseWriteConnection", None) if self.plain else None
        if close_writing is not None:
            close_writing()
        else:
            self.transport.loseConnection()

    def _stop_producing(self) -> None:
        if self._is_producer:
            self._is_producer = False
            self.transport.unregisterProducer()

    def _protocolUpgradeForWebsockets(self, protocol: IProtocol) -> None:  # noqa: N802
        """Leave the connection to a WebSocket. Twisted's WebSocketResource calls this."""
        self._stop_producing()
        super()._protocolUpgradeForWebsockets(protocol)
        self.requests[0].upgraded()
        lost = self.connectionLost

        def connection_lost(reason: Failure = connectionDone) -> None:
            self.site.channel_closed(self)
            lost(reason)

        self.connectionLost = connection_lost  # type: ignore[method-assign]
