"""A request of errklein's own site or of another one: its body, path and response, with the interface of Twisted's requests."""

from __future__ import annotations

import io
import re
from functools import cached_property, lru_cache
from http.client import responses
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import NO_BODY_CODES, parse_qs
from twisted.web.http_headers import Headers
from werkzeug.exceptions import RequestEntityTooLarge

from errklein.listening import ConnectionLimits, address_of
from errklein.running import WorkerPool
from errklein.text import truncated
from errklein.text.masking import SHOWN_TARGET, masker
from errklein.web._error_pages import STOPPING, Problem, error_page
from errklein.web._http1 import Head
from errklein.webhooks import HookDeclaration
from errklein.webhooks.deliveries import StoredDelivery
from errklein.webhooks.forwarding import UNIX, TrustedProxies, is_host, port_of

if TYPE_CHECKING:
    from errklein.web._routes import Match
    from errklein.web._site import Channel, Site

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_AUTHORITY_END = re.compile(rb"[/?]")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_PLAIN = ((b"Content-Type", b"text/plain; charset=utf-8"),)
LONGEST_PATH = 200  # the number of characters of a path that an error response has
_HEADER_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_INVALID_IN_VALUES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_REASONS = {code: responses.get(code, "Unknown").encode() for code in range(200, 600)}
IN_MEMORY = 1024 * 1024  # the maximal size of a body that waits in memory, in bytes


class InvalidResponse(Exception):
    """A response has an invalid status, header name or header value."""


class RequestState:
    """What the web server notes about a request for a webhook, received by its own site or by another one."""

    head: Head
    path: bytes
    query: bytes
    uri: bytes
    match: Match | None = None  # the route of the request, once it is known
    base_path = ""  # the path below which the client reaches the webhooks; `path` is without it
    on_disk = False  # whether the body is in a temporary file
    origin = ""  # the origin, as in `StoredDelivery`
    admitted: HookDeclaration | None = None  # that of the webhook whose checks the request has passed, if it has any
    from_node = False  # whether another process of the bot has passed it on
    recorded: StoredDelivery | None = None  # the delivery of a request that was received earlier
    delivery_id = 0  # the id of the delivery; 0 until it is known, or without a journal
    path_token = b""  # the token that was in the address of a webhook of a room
    source_id = ""  # what identifies repeated requests, such as the source's id of the delivery; empty if it is unknown
    # The number of users for whose sake the body and a lost connection are kept. Each calls `drop_body`; one is the response.
    body_users = 1
    received_at: float | None = None  # the Unix time of the delivery; None until it is known

    def first_header(self, name: bytes) -> bytes:
        """Return the value of the first header with this lower-case name; empty if it is missing."""
        head = self.head
        return head.values[head.names.index(name)] if name in head.names else b""

    def readdress(self, path: bytes) -> None:
        """Let the request have this path, in all that logs or records it."""
        self.path = path
        self.uri = path + (b"?" + self.query if self.query else b"")

    def send_error(self: Any, problem: Problem) -> None:
        """Write an error response, in the form of the webhook's source, or as HTML if the client accepts it by name, otherwise JSON."""
        hook = getattr(self.match and self.match.route, "hook", None)
        routes, as_html = self.site.intake.routes, accepts_html(self)
        if self.match is None and routes.may_have_token(self.path):
            self.query = b""
            self.readdress(f"{routes.prefix}/***".encode())
            if problem.status == 404 and not as_html:
                # The response of Slack, by which tools know that a webhook was removed.
                self.send_response(404, list(_PLAIN), b"no_service")
                return
        elif hook is not None and (source := hook.declaration.source) is not None and source.refusal is not None:
            try:
                refused = source.refusal(problem.status, problem.detail)
            except Exception:
                self._log.failure("{webhook}: the source's form of errors failed", webhook=hook.full_name)
            else:
                self.send_response(refused.status, [*refused.headers, *problem.headers], refused.body)
                return
        headers, body = error_page(problem, self.request_id, as_html=as_html)
        self.send_response(problem.status, headers, body)


class HTTPRequest(RequestState, server.Request):
    """A request. `send_response` writes a complete response; Twisted's own methods work too, for resources."""

    channel: Channel | None  # type: ignore[assignment]
    site: Site
    defaultContentType = b"text/html; charset=utf-8"
    _taken = 0  # the memory that the body has taken, in bytes
    _lost_channel: Channel | None = None

    def __init__(
        self, channel: Channel, site: Site, head: Head, request_id: str, first_byte_at: float | None = None
    ) -> None:
        # Twisted's initialisers create headers, which a webhook doesn't need. The properties below create them on first use.
        self.channel = channel
        self.notifications: list[Deferred[None]] = []
        self.cookies: list[bytes] = []
        self.prepath: list[bytes] = []
        self.postpath: list[bytes] = []
        self._adapterCache: dict[Any, Any] = {}
        self.site = site
        self.transport, self.client, self.host = channel.transport, channel.peer, channel.host
        self.queued = False
        self.head = head
        self.method, self.uri, self.clientproto = head.method, head.target, head.version
        self.request_id = request_id
        self.origin = channel.origin
        self.begun = site.now()
        self.first_byte_at = self.begun if first_byte_at is None else first_byte_at
        self.body_limit = site.settings.max_body
        self.body_size, self._body = 0, b""
        self.secure = not channel.plain
        self.bad_target: Problem | None = None
        try:
            self.path, self.query, host = split_target(head.target)
            if host:
                self.head = with_host(head, host)
        except Problem as bad:
            self.bad_target = bad
            self.path = self.query = b""
        if base_path := site.settings.base_path:
            self.base_path, self.path = base_path, without_base(self.path, base_path.encode())

    def isSecure(self) -> bool:
        return self.secure

    def getRequestHostname(self) -> bytes:
        """Return the host of the request; "localhost" if it has no Host header and arrived on a Unix socket."""
        has_host = self.first_header(b"host") or hasattr(self.host, "host")
        return cast(bytes, super().getRequestHostname()) if has_host else b"localhost"  # type: ignore[no-untyped-call]

    @cached_property
    def requestHeaders(self) -> Headers:  # type: ignore[override]
        headers = Headers()
        for name, value in zip(self.head.names, self.head.values, strict=True):
            headers.addRawHeader(name, value)
        return headers

    @cached_property
    def responseHeaders(self) -> Headers:  # type: ignore[override]
        headers = Headers()
        headers.addRawHeader(b"Date", self.site.date())
        headers.addRawHeader(b"X-Request-Id", self.request_id.encode())
        if self.channel is not None and not self.channel.persistent:
            headers.addRawHeader(b"Connection", b"close")
        return headers

    @cached_property
    def received_cookies(self) -> dict[bytes, bytes]:  # type: ignore[override]
        cookies: dict[bytes, bytes] = {}
        self.__dict__["received_cookies"] = cookies
        self.parseCookies()  # type: ignore[no-untyped-call]
        return cookies

    @cached_property
    def args(self) -> dict[bytes, list[bytes]]:  # type: ignore[override]
        """The fields of the query, and those of a urlencoded form that is small enough to be parsed on the reactor."""
        fields: dict[bytes, list[bytes]] = parse_qs(self.query, 1)
        is_form = self.first_header(b"content-type").startswith(b"application/x-www-form-urlencoded")
        if is_form and self.body_size <= self.site.settings.off_reactor_size:
            for name, values in parse_qs(self.body(), 1).items():
                fields.setdefault(name, []).extend(values)
        return fields

    @cached_property
    def content(self) -> BinaryIO:  # type: ignore[override]
        return io.BytesIO(self._body)

    # Receiving.

    def receive_body(self, data: bytes) -> bool:
        """Store a part of the body: in memory while there is room, then in a file. Return whether it is within its limit. Raises
        OSError."""
        self.body_size += len(data)
        if self.body_size > self.body_limit:
            return False
        if not self.on_disk and self.body_size <= IN_MEMORY and self.site.bodies.take(len(data)):
            self._taken += len(data)
            if len(data) == self.head.length:
                self._body = data
                return True
        elif not self.on_disk:
            self.on_disk = True
            self.site.bodies.connections.file_opened()
            self.site.bodies.give_back(self._taken)
            self._taken = 0
            file, received = TemporaryFile(), self.content  # noqa: SIM115 -- closed by `drop_body`
            received.seek(0)
            file.write(received.read())
            self.content = file
        self.content.write(data)
        return True

    def body(self) -> bytes:
        if not self.on_disk:
            return self._body
        self.content.seek(0)
        return self.content.read()

    def drop_body(self) -> None:
        """Delete the body, and forget a lost connection, unless the body has other users."""
        self.body_users -= 1
        if self.body_users:
            return
        if self._lost_channel is not None:
            self.site.limits.closed(self._lost_channel)
        self.site.bodies.give_back(self._taken)
        # A delivery that waited may use the body again.
        self._taken = 0
        if self.on_disk:
            self.site.bodies.discard(self.content)

    def process(self) -> None:
        if self.body_size != len(self._body):
            # It has arrived in parts.
            self.content.seek(0)
            if not self.on_disk:
                self._body = self.content.read()
                self.content.seek(0)
        if self.site.stopping:
            self.send_error(STOPPING)
        else:
            self.site.intake.route(self)

    # Responses.

    def send_response(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        if self.finished:
            return
        head = self._head_lines(status, headers)
        channel = self.channel
        assert channel is not None
        self.startedWriting = 1
        if status in NO_BODY_CODES:
            channel.write(head + b"\r\n")
        else:
            sent = b"" if self.method == b"HEAD" else body
            self.sentLength = len(sent)
            channel.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), sent))
        self._done()

    def start_stream(self, status: int, headers: list[tuple[bytes, bytes]]) -> bool:
        head = self._head_lines(status, headers)
        may_have_body = status not in NO_BODY_CODES
        is_sized = any(name.lower() == b"content-length" for name, _ in headers)
        if may_have_body and not is_sized and self.clientproto == b"HTTP/1.1":
            self.chunked = 1
            head += b"Transfer-Encoding: chunked\r\n"
        elif may_have_body and not is_sized and self.channel is not None:
            # In HTTP/1.0, only the end of the connection marks the end of such a body.
            self.channel.persistent = False
        self.startedWriting = 1
        if self.channel is not None:
            self.channel.write(head + b"\r\n")
        if may_have_body and self.method != b"HEAD":
            return True
        self.chunked = 0
        self.write = lambda data: None  # type: ignore[method-assign]
        return False

    def _head_lines(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        lines = encoded_head(status, tuple(headers))
        self.code = status
        channel = self.channel
        close = b"" if channel is None or channel.persistent else b"Connection: close\r\n"
        return b"%bDate: %b\r\nX-Request-Id: %b\r\n%b" % (lines, self.site.date(), self.request_id.encode(), close)

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status of a response that is written with Twisted's methods. Raises InvalidResponse at once: Twisted would notice
        an invalid status only when a part of the response is written."""
        _check_status(code)
        super().setResponseCode(code, _REASONS[code])

    def processingFailed(self, reason: Failure) -> Failure:
        """Log the failure, and respond with 500; see `fail`."""
        self._log.failure("Request {request_id} failed", reason, request_id=self.request_id)
        self.fail(Problem(500, "the request could not be handled; the log has the details under this request id"))
        return reason

    def fail(self, problem: Problem) -> None:
        if self.finished:
            return
        if not self.startedWriting:
            self.send_error(problem)
        elif self.channel is not None:
            self.code = problem.status
            self.site.log_response(self)
            self.channel.abort()

    def write(self, data: bytes) -> None:
        """Write a part of a response. Bytes after its end, such as after a timeout, are discarded."""
        if not self.finished:
            super().write(data)  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        if self.finished:
            return
        if not self.startedWriting:
            self.write(b"")
        if self.chunked and self.channel is not None:
            self.channel.write(b"0\r\n\r\n")
        self._done()

    def upgraded(self) -> None:
        """End the request without a response, since the connection has another protocol from now on."""
        self.code = 101
        self._end()

    def _done(self) -> None:
        channel = self.channel
        self._end()
        if channel is not None:
            channel.requestDone(self)

    def _end(self) -> None:
        self.finished = 1
        self._log_response()
        self.drop_body()
        self.channel = None
        notifications, self.notifications = self.notifications, []
        for notification in notifications:
            notification.callback(None)

    def _log_response(self) -> None:
        self.site.log_response(self)

    def connectionLost(self, reason: Failure) -> None:
        self._disconnected = True
        self._lost_channel, self.channel = self.channel, None
        self.finished = 1
        self.drop_body()
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        notifications, self.notifications = self.notifications, []
        for notification in notifications:
            notification.errback(reason)


class StockRequest(RequestState):
    """A Twisted request with the interface that deliveries use. Raises RequestEntityTooLarge, to which Klein responds with
    413."""

    def __init__(self, request: Any, site: Site, limit: int) -> None:
        self._request, self._lost = request, False
        self.site = site
        self.request_id: str = next(site.request_ids)
        self.begun: float = site.now()
        self.body_limit = limit
        self.secure = bool(request.isSecure())
        self.uri: bytes = request.uri
        self.path, _, self.query = self.uri.partition(b"?")
        raw = request.requestHeaders.getAllRawHeaders()
        headers = [(name.lower(), value) for name, values in raw for value in values]
        names, values = zip(*headers, strict=True) if headers else ((), ())
        self.head = Head(request.method, request.uri, request.clientproto, names, values, None, True, False)
        self.bad_target: Problem | None = None
        if site.settings.proxies is not None:
            apply_forwarding(self, site.settings.proxies)
        self.body_size = request.content.seek(0, io.SEEK_END)
        if self.body_size > limit:
            raise RequestEntityTooLarge(f"the body is larger than {limit} bytes")
        request.content.seek(0)
        self._body: bytes = request.content.read()
        request.notifyFinish().addErrback(self._connection_lost)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)

    @property
    def finished(self) -> bool:
        return self._lost or bool(self._request.finished)

    @property
    def channel(self) -> Any:
        return None if self._lost else self._request.channel

    def readdress(self, path: bytes) -> None:
        super().readdress(path)
        self._request.path, self._request.uri = self.path, self.uri

    def body(self) -> bytes:
        return self._body

    def drop_body(self) -> None:
        """Do nothing, since the body is in memory."""

    def send_response(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        if self.finished:
            return
        sized = status not in NO_BODY_CODES
        self.start_stream(status, [*headers, (b"Content-Length", b"%d" % len(body))] if sized else headers)
        self.write(body)
        self.finish()

    def start_stream(self, status: int, headers: list[tuple[bytes, bytes]]) -> bool:
        encoded_head(status, tuple(headers))
        request = self._request
        request.setResponseCode(status)
        request.responseHeaders.setRawHeaders(b"X-Request-Id", [self.request_id.encode()])
        for name in {name.lower() for name, _ in headers}:
            request.responseHeaders.removeHeader(name)
        for name, value in headers:
            request.responseHeaders.addRawHeader(name, value)
        if status in NO_BODY_CODES or request.method == b"HEAD":
            self.write = lambda data: None  # type: ignore[method-assign]
            return False
        return True

    def write(self, data: bytes) -> None:
        if not self.finished:
            self._request.write(data)

    def finish(self) -> None:
        if not self.finished:
            self._request.finish()

    def fail(self, problem: Problem) -> None:
        if self.finished:
            return
        if self._request.startedWriting:
            self._request.transport.abortConnection()
        else:
            self.send_error(problem)

    def _connection_lost(self, _: object) -> None:
        self._lost = True


WebhookRequest = HTTPRequest | StockRequest  # a request for a webhook, received by errklein's site or by another one


class BodyMemory:
    """The memory for bodies that wait for their response, and the files of those for which there is none."""

    def __init__(self, limit: float, pool: WorkerPool, connections: ConnectionLimits) -> None:
        self._room, self._pool, self.connections = limit, pool, connections

    def take(self, size: int) -> bool:
        """Take memory for a body that waits in memory. Return False if there isn't enough."""
        fits = size <= self._room
        self._room -= size if fits else 0
        return fits

    def give_back(self, size: int) -> None:
        self._room += size

    def discard(self, file: BinaryIO) -> None:
        """Close a file on disk in a thread: deleting 24 MB takes ten milliseconds."""
        closed = self._pool.run(lambda: file.close, follow_up=True).addErrback(lambda _: file.close())
        closed.addCallback(lambda _: self.connections.file_closed())


def apply_forwarding(request: Any, proxies: TrustedProxies) -> None:
    """Set the client, scheme, host and base path of the request to those that trusted proxies report."""
    head = request.head
    peer, proxy = getattr(request.client, "host", UNIX), getattr(request.transport, "proxy", None)
    headers = list(zip(head.names, head.values, strict=True))
    forwarded = proxies.forwarded(peer, request.secure, headers, proxy)
    if forwarded.client is not None:
        request.client = address_of(*forwarded.client)
    if forwarded.secure is not None:
        request.secure = forwarded.secure
    if forwarded.host is not None:
        request.head = with_host(head, forwarded.host)
    if forwarded.secure is not None or forwarded.host is not None:
        # Links of Twisted and Klein have the port of this address.
        port = port_of(request.first_header(b"host"), request.secure)
        request.host = address_of(getattr(request.host, "host", "localhost"), port)
    if forwarded.base_path is not None:
        request.base_path = forwarded.base_path


def with_host(head: Head, host: bytes) -> Head:
    """Return the head with this value of Host. That of an absolute target takes precedence (RFC 9112, 3.2.2)."""
    others = [header for header in zip(head.names, head.values, strict=True) if header[0] != b"host"]
    names, values = zip((b"host", host), *others, strict=True)
    return head._replace(names=names, values=values)


def accepts_html(request: Any) -> bool:
    """Return whether the request's header Accept names HTML, as browsers do."""
    return b"text/html" in request.first_header(b"accept").lower()


@lru_cache(256)
def encoded_head(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return the status line and the headers as they are sent. Raises InvalidResponse."""
    _check_status(status)
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, _REASONS[status])]
    for name, value in headers:
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidResponse(f"invalid header name: {name!r}")
        if _INVALID_IN_VALUES.search(value):
            raise InvalidResponse(f"the value of the header {name.decode()} contains a control character")
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)


def _check_status(status: object) -> None:
    if type(status) is not int or not 200 <= status <= 599:
        raise InvalidResponse(f"invalid HTTP status: {status!r}")


def shown_path(path: bytes) -> str:
    """Return an escaped path for the log, cut if it is long."""
    return masker.cut(path.decode("ascii", "backslashreplace"), SHOWN_TARGET)


def split_target(target: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the path and the query, still escaped, and the host of a target in absolute form, or b"" in origin form (RFC 9112,
    3.2). Raises Problem: the target has another form, or an invalid host."""
    authority = b""
    if target[:1] != b"/":
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            raise Problem(400, "the request target must be a path")
        authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
        if not is_host(authority):
            raise Problem(400, "the request target has no valid host")
        target = rest[len(authority) :]
    path, _, query = target.partition(b"?")
    return path or b"/", query, authority


def without_base(path: bytes, base: bytes) -> bytes:
    """Return the path below `base`; the path itself if a proxy has removed the base already."""
    return (path[len(base) :] or b"/") if path == base or path.startswith(base + b"/") else path


def not_found(path: bytes) -> Problem:
    """Return the 404 for a path. Its text has the path as the client sent it, still escaped, up to LONGEST_PATH characters."""
    return Problem(404, f"there is no webhook at {truncated(path.decode('ascii', 'replace'), LONGEST_PATH)}")


def clean_path(path: bytes) -> str:
    """Return the unescaped path. Raises Problem: 400 for an ambiguous or malformed path, 404 for one that no route can have, since it
    has doubled slashes or dot segments. An escaped slash would become a separator that a proxy in front has not seen."""
    if _BAD_ESCAPE.search(path):
        raise Problem(400, "the path has a broken escape")
    unescaped = unquote_to_bytes(path)
    if any(segment in (b".", b"..") for segment in unescaped.split(b"/")):
        raise not_found(path)
    if b"%2f" in path.lower():
        raise Problem(400, "the path has an escaped slash")
    if _CONTROL.search(unescaped):
        raise Problem(400, "the path has a control character")
    try:
        text = unescaped.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "the path is not UTF-8") from None
    if "//" in text:
        raise not_found(path)
    return text
