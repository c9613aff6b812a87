"""The site, which creates the connections, the request ids, the access log and the counts of responses."""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from resource import RLIMIT_NOFILE, getrlimit
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import HTTPChannel, datetimeToString

from errklein.listening import LARGEST_MESSAGE, ConnectionLimits, address_of, receive_frames, seconds_waited
from errklein.running import NEVER, DeadlineSweeper, ReactorLag, TimeSlices, WorkerPool, context
from errklein.text import truncated
from errklein.web._error_pages import Problem, too_large
from errklein.web._http1 import NO_HEAD, ChunkedBody, Head, read_head
from errklein.web._settings import WebSettings
from errklein.web._to_owner import NODE, OF_NODES
from errklein.web.request import BodyMemory, HTTPRequest, apply_forwarding, shown_path

if TYPE_CHECKING:
    from errklein.web._intake import Intake


_LARGEST_PIPELINE, _LARGEST_PIECE = 16 * 1024, 4 * 1024  # in bytes
_LINGER = 2.0


@lru_cache(64)
def _shared(address: IAddress) -> IAddress:
    """Return the first address that was equal, since all connections to a port have the same local one."""
    return address


class Channel(HTTPChannel):
    """One HTTP/1.1 connection, with a deadline for everything that a client could delay. Twisted's channel has no limit but an idle
    timeout that every byte resets, and closes the connection without a response to invalid requests. This class replaces its
    reading side, and keeps the writing side, so that Twisted's requests and resources work."""

    site: Site
    transport: Any
    endless = True
    origin = ""  # the origin of the requests, as in `StoredDelivery`
    _websocket: Any = None
    _unread = 0  # the number of bytes that were written to a WebSocket since its client has stopped reading

    # Twisted's initialiser creates only what its reading side needs.
    def __init__(self) -> None:
        self.deadline, self.waits_since = NEVER, 0.0
        self.plain = True
        self.has_received_head = self._head_begun = False
        self._received, self._first_byte_at = b"", 0.0
        self._request: HTTPRequest | None = None  # the request that is being read or handled
        self._chunks: ChunkedBody | None = None
        self._left = 0  # the number of bytes that are missing from a body which isn't chunked
        self._handling = self._advancing = self._waits_for_turn = self._closing = False
        self._reading, self._write_paused, self._is_producer = True, False, False

    # Events from Twisted.

    def connectionMade(self) -> None:
        self._variables = copy_context()
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
        # A lost connection no longer has its addresses. An endpoint for IPv6 serves IPv4 too, with such addresses.
        peer = self.transport.getPeer()
        mapped = getattr(peer, "host", "").startswith("::ffff:")
        self.peer: IAddress = address_of(peer.host[7:], peer.port) if mapped else peer
        self.host = _shared(self.transport.getHost())
        self.plain = not self.isSecure()  # type: ignore[no-untyped-call]
        # A producer is what can be paused. The transport pauses this channel when the client doesn't read, and the channel then
        # pauses a streamed response, `_requestProducer`. The other way, `_set_reading` pauses the transport.
        self.transport.registerProducer(self, True)
        self._is_producer = True
        self._set_deadline(self.site.settings.idle_deadline)
        self.site.sweeper.watch(self)
        self.site.limits.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closing = True
        self.deadline = NEVER
        self.site.sweeper.forget(self)
        receiver = self._websocket or self._request
        if receiver is not None:
            receiver.connectionLost(reason)
        if receiver is None or receiver is self._websocket:
            self.site.limits.closed(self)

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        self._received += data
        if self._may_read():
            self._advance()
        elif len(self._received) > _LARGEST_PIPELINE:
            self._set_reading(False)

    def pauseProducing(self) -> None:
        self._write_paused = True
        self._set_deadline(self.site.settings.read_deadline)
        if self._requestProducer is not None:
            self._requestProducer.pauseProducing()

    def resumeProducing(self) -> None:
        self._write_paused = False
        self._unread = 0
        settings = self.site.settings
        if self._handling:
            self.deadline = NEVER
        elif not self._closing:
            self._set_deadline(settings.idle_deadline if self._request is None else settings.body_deadline)
        if self._requestProducer is not None:
            self._requestProducer.resumeProducing()
        elif self._may_read():
            self._advance()

    def deadline_passed(self) -> None:
        if self._write_paused or self._closing or self._handling:
            self.abort()
        elif self._request is not None:
            self._refuse(Problem(408, "the body took too long to arrive"))
        elif self._received:
            self._refuse(Problem(408, "the headers took too long to arrive"))
        else:
            self.loseConnection()

    # Reading.

    def _may_read(self) -> bool:
        return not (self._handling or self._closing or self._write_paused or self._advancing or self._waits_for_turn)

    def _advance(self) -> None:
        """Read the received bytes. All connections share a time slice of each turn for further requests and pieces of chunked bodies."""
        self._set_reading(True)
        self._advancing = True
        try:
            while self._received and self._read_request():
                if self._received and not self.site.time_slices.has_time():
                    self._waits_for_turn = True
                    self._set_reading(False)
                    self.site.time_slices.do(self._take_turn)
                    break
        except Problem as problem:
            self._refuse(problem)
        finally:
            self._advancing = False

    def _take_turn(self) -> None:
        self._waits_for_turn = False
        if self._may_read():
            self._advance()

    def _read_request(self) -> bool:
        """Read a piece of a request, and handle it when it is complete. Return whether what follows may be read."""
        request = self._request
        if request is None:
            head, self._received = read_head(self._received)
            if head is None:
                # The deadline is counted from the first byte.
                if self._received and not self._head_begun:
                    self._head_begun = True
                    self._first_byte_at = self._received_at()
                    self._set_deadline(self.site.settings.head_deadline)
                return False
            request = self._request = self._begin(head)
            if head.length != 0 and not self._accept_body(request, head):
                return False
        if (self._left or self._chunks is not None) and not self._read_body(request):
            return True
        self._handling = True
        self.deadline = NEVER
        # This code may run in the context of other code, which has sent the previous response.
        self._variables.copy().run(request.process)
        return self._request is None and not self._closing and not self._write_paused

    def _received_at(self) -> float:
        """Return when the bytes arrived that were read just now. They may have waited for the reactor."""
        now: float = self.site.now()
        return now if now >= self.site.lag.backlog_until else now - seconds_waited(self.transport)

    def _begin(self, head: Head) -> HTTPRequest:
        first_byte_at = self._first_byte_at if self._head_begun else self._received_at()
        self._head_begun = False
        self.has_received_head = True
        self._left = head.length or 0
        self._chunks = ChunkedBody() if head.length is None else None
        self.persistent = head.keep_alive and not self.site.draining
        request = HTTPRequest(self, self.site, head, next(self.site.request_ids), first_byte_at)
        proxies = self.site.settings.proxies
        if NODE in head.names and self.site.intake.is_from_node(request):
            request.from_node, proxies = True, OF_NODES
        if proxies is not None:
            apply_forwarding(request, proxies)
        return request

    def _accept_body(self, request: HTTPRequest, head: Head) -> bool:
        if (problem := self.site.intake.match_head(request, head.length, head.expects_continue)) is not None:
            self._refuse(problem)
            return False
        if head.expects_continue and not self._received:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(self._received) != head.length:
            self._set_deadline(self.site.settings.body_deadline)
        return True

    def _read_body(self, request: HTTPRequest) -> bool:
        received = self._received
        if self._chunks is None:
            data, self._received = received[: self._left], received[self._left :]
            self._left -= len(data)
            complete = self._left == 0
        else:
            # Tiny chunks, and long extensions of chunks, take up to a microsecond for each byte.
            data, rest = self._chunks.receive(received[:_LARGEST_PIECE])
            self._received = (rest or b"") + received[_LARGEST_PIECE:]
            complete = rest is not None
        try:
            kept = not data or request.receive_body(data)
        except OSError as error:
            # Large bodies wait in a temporary file.
            self.site.log.error("Could not store a request's body in a temporary file: {error}", error=str(error))
            raise Problem(503, "the server has no space for the body at the moment") from None
        if not kept:
            raise too_large(request.body_limit)
        return complete

    def _set_reading(self, on: bool) -> None:
        if on is not self._reading:
            self._reading = on
            (self.transport.resumeProducing if on else self.transport.pauseProducing)()

    def _set_deadline(self, seconds: float) -> None:
        self.waits_since = self.site.now()
        self.deadline = self.waits_since + seconds

    # Responses and closing.

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def writeSequence(self, iovec: Any) -> None:
        self.transport.write(b"".join(iovec))

    def requestDone(self, request: Any) -> None:
        self._request = None
        self._handling = False
        if self._closing:
            self._close_gently()
        elif not self.persistent:
            self.loseConnection()
        elif not self._write_paused:
            self._set_deadline(self.site.settings.idle_deadline)
            if self._received and not self._advancing:
                self._advance()

    def close_if_idle(self) -> None:
        self.persistent = False
        if not (self._request or self._received or self._closing):
            self.loseConnection()

    def loseConnection(self) -> None:
        self._closing = True
        self._received = b""
        self._set_deadline(self.site.settings.read_deadline)
        self._stop_producing()
        self.transport.loseConnection()

    def abort(self) -> None:
        self._closing = True
        self.deadline = NEVER
        self.transport.abortConnection()

    def _refuse(self, problem: Problem) -> None:
        self.persistent = False
        self._closing = True
        self._received = b""
        if self._request is None:
            self._request = HTTPRequest(self, self.site, NO_HEAD, next(self.site.request_ids))
            self._request.bad_target = problem
        self.site.intake.refuse_early(self._request, problem)

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

    # WebSockets. Twisted's have no limit for messages in either direction.

    def _protocolUpgradeForWebsockets(self, protocol: Any) -> None:  # noqa: N802
        """Leave the connection to a WebSocket. Twisted's WebSocketResource calls this."""
        request = self._request
        assert request is not None and request.match is not None
        request.upgraded()
        self.site.intake.routes.streams[request.match.route.owner].add(self)
        self._websocket = protocol
        self.dataReceived = self._receive_frames  # type: ignore[method-assign]
        self.write = self._send_frames  # type: ignore[method-assign]
        protocol.makeConnection(self)
        # It was paused if the client has sent much before the response, which isn't allowed and isn't read.
        self._set_reading(True)

    def end(self, problem: Problem) -> None:
        if not self._closing:
            self._websocket.loseConnection(1001)

    def _receive_frames(self, data: bytes) -> None:
        if not self._closing:
            receive_frames(self._websocket, data)

    def _send_frames(self, data: bytes) -> None:
        if self._write_paused:
            self._unread += len(data)
            if self._unread > LARGEST_MESSAGE:
                self.abort()
        if not self._closing:
            self.transport.write(data)


# The upper bounds in seconds of the classes in which durations are counted. The last class has no bound.
BOUNDS = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0)
OTHER = "other"  # the webhook of requests that no webhook gets
# The kinds of reasons for which requests for webhooks are refused.
REFUSALS = ("signature", "malformed", "time", "address", "payload", "rate", "size", "slow", "unavailable")
_MOST = 2000  # the number of webhooks with each of their statuses; later ones are counted as OTHER
LONGEST_METHOD = 20  # the number of characters of a method that are logged


@dataclass(slots=True)
class Durations:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0


class ResponseCounts:
    """Counts for monitoring, in plain dicts, since each request changes them: the responses by webhook and status, the durations of
    handlers by webhook and outcome, and refused requests by webhook and reason. The name is "Plugin:method" for a webhook and
    "Plugin:/path" for a mount. An outcome is "succeeded", "rejected" (4xx), "failed" (5xx) or "overdue" (504)."""

    def __init__(self) -> None:
        self.responses: dict[tuple[str, int], int] = {}
        self.handlers: dict[tuple[str, str], Durations] = {}
        self.refused: dict[tuple[str, str], int] = {}

    def add_response(self, webhook: str, status: int) -> None:
        key = webhook, status
        if key not in self.responses and len(self.responses) >= _MOST:
            key = OTHER, status
        self.responses[key] = self.responses.get(key, 0) + 1

    def add_refused(self, webhook: str, kind: str) -> None:
        self.refused[webhook, kind] = self.refused.get((webhook, kind), 0) + 1

    def add_handler(self, webhook: str, status: int, seconds: float) -> None:
        failed = "rejected" if status < 500 else "overdue" if status == 504 else "failed"
        key = webhook, "succeeded" if status < 400 else failed
        durations = self.handlers.get(key)
        if durations is None:
            if len(self.handlers) >= _MOST:
                key = OTHER, key[1]
            durations = self.handlers.setdefault(key, Durations())
        durations.counts[bisect_left(BOUNDS, seconds)] += 1
        durations.total += seconds


class Site(server.Site):
    """A web site that limits everything a client can send or delay, and logs one line per response."""

    log = Logger(namespace="errklein.web.access")  # type: ignore[assignment]
    noisy = False

    def __init__(self, reactor: Any, settings: WebSettings, intake: Intake, pool: WorkerPool) -> None:
        super().__init__(None, reactor=reactor, parsePOSTFormSubmission=False)  # type: ignore[no-untyped-call]
        self.settings = settings
        self.intake = intake
        self.counts = ResponseCounts()
        self.stopping = self.draining = False
        self.sweeper = DeadlineSweeper(reactor)
        self.now = reactor.seconds
        self.lag = ReactorLag()
        self.time_slices = TimeSlices(reactor)
        most, most_of_client = settings.max_connections, settings.max_connections_per_client
        trusts = settings.proxies.trusts if settings.proxies else lambda host: False
        self.limits = ConnectionLimits(most, most_of_client, self.now, trusts)
        memory = math.inf if settings.body_memory is None else settings.body_memory / 8
        self.bodies = BodyMemory(memory, pool, self.limits)
        # Ids that are unique among the requests of this and earlier processes.
        self.request_ids = map(f"{os.urandom(5).hex()}-{{:06x}}".format, count(1))
        self._date_second, self._date = -1, b""

    def startFactory(self) -> None:
        """Read the limit of file descriptors before the first endpoint is opened. Twisted's access log isn't used."""
        self.limits.use_descriptors(getrlimit(RLIMIT_NOFILE)[0])

    def stopFactory(self) -> None:
        """Do nothing."""

    def buildProtocol(self, addr: IAddress | None) -> Channel:  # type: ignore[override]
        channel = Channel()
        channel.site = channel.factory = self
        return channel

    def acceptableProtocols(self) -> list[bytes]:
        """Return HTTP/1.1 only: sources of webhooks don't need HTTP/2, and Twisted's implementation has known defects."""
        return [b"http/1.1"]

    def date(self) -> bytes:
        if (second := int(self.now())) != self._date_second:
            self._date_second, self._date = second, datetimeToString()
        return self._date

    def begin_stopping(self) -> None:
        self.stopping = self.draining = True
        for channel in list(self.limits.connections):
            channel.close_if_idle()

    def drop_connections(self) -> None:
        for channel in list(self.limits.connections):
            channel.abort()

    def log_response(self, request: HTTPRequest) -> None:
        match = request.match
        self.counts.add_response(OTHER if match is None else match.route.label, request.code)
        if not self.settings.access_log:
            return
        fields: dict[str, Any] = {"peer": str(getattr(request.client, "host", "-")), "status": request.code}
        if request.head is NO_HEAD:
            assert request.bad_target is not None
            line, fields["detail"] = '{peer} "-" {status} {detail}', request.bad_target.detail
        else:
            line = '{peer} "{method} {path}" {status} {size} {duration:.4f}s'
            fields["method"] = truncated(request.method.decode("ascii"), LONGEST_METHOD)
            fields["path"], fields["size"] = shown_path(request.path), request.sentLength
            fields["duration"] = self.now() - request.first_byte_at
        # The line has the request's id, whatever context is current.
        copied = copy_context()
        copied.run(context.request_id.set, request.request_id)
        copied.run(self.log.info, line, **fields)
