"""The request of another Twisted site, such as `twisted.web.server.Site`, that serves the Klein application's resource."""

from __future__ import annotations

from io import SEEK_END
from typing import TYPE_CHECKING, Any

from twisted.web.http import NO_BODY_CODES
from werkzeug.exceptions import RequestEntityTooLarge

from errklein.web._error_pages import Problem
from errklein.web._http1 import Head
from errklein.web.request import HTTPRequest, RequestState, apply_forwarding, encoded_head

if TYPE_CHECKING:
    from errklein.web._site import Site


class StockRequest(RequestState):
    """A Twisted request with the interface that deliveries use. Other attributes are those of the Twisted request.

    :param request: The request, whose body is complete.
    :param site: errklein's site, which creates the request ids.
    :param limit: The maximal size of the body in bytes.
    :raises RequestEntityTooLarge: The body is larger. Klein responds with 413 then.
    """

    def __init__(self, request: Any, site: Site, limit: int) -> None:
        self._request = request
        self._lost = False
        self.site = site
        self.request_id: str = next(site.request_ids)
        self.begun: float = site.now()
        self.body_limit = limit
        self.secure = bool(request.isSecure())
        self.query: bytes = request.uri.partition(b"?")[2]
        headers = [
            (name.lower(), value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values
        ]
        names, values = zip(*headers, strict=True) if headers else ((), ())
        self.head = Head(request.method, request.uri, request.clientproto, names, values, None, True, False)
        self.bad_target: Problem | None = None
        if site.settings.proxies is not None:
            apply_forwarding(self, site.settings.proxies)
        self.body_size = request.content.seek(0, SEEK_END)
        if self.body_size > limit:
            raise RequestEntityTooLarge(f"the body is larger than {limit} bytes")
        request.content.seek(0)
        self._body: bytes = request.content.read()
        request.notifyFinish().addErrback(self._connection_lost)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)

    @property
    def path(self) -> bytes:
        """The path, still escaped."""
        path: bytes = self._request.uri.partition(b"?")[0]
        return path

    @property
    def finished(self) -> bool:
        """Whether the response is complete, or the client has disconnected."""
        return self._lost or bool(self._request.finished)

    @property
    def channel(self) -> Any:
        """The connection; None after the client has disconnected."""
        return None if self._lost else self._request.channel

    def first_header(self, name: bytes) -> bytes:
        """Return the value of the first header with this lower-case name; empty if it is missing."""
        values: list[bytes] = self._request.requestHeaders.getRawHeaders(name, [b""])
        return values[0]

    def body(self) -> bytes:
        """Return the complete body."""
        return self._body

    def drop_body(self) -> None:
        """Do nothing, since the body is in memory."""

    def send_response(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Write a complete response, as `HTTPRequest.send_response` does."""
        if self.finished:
            return
        sized = status not in NO_BODY_CODES
        self.start_stream(status, [*headers, (b"Content-Length", b"%d" % len(body))] if sized else headers)
        self.write(body)
        self.finish()

    def start_stream(self, status: int, headers: list[tuple[bytes, bytes]]) -> bool:
        """Set the status and the headers, as `HTTPRequest.start_stream` does. Return whether the response has a body."""
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
        """Write a part of a response. Bytes after its end are discarded."""
        if not self.finished:
            self._request.write(data)

    def finish(self) -> None:
        """End the response."""
        if not self.finished:
            self._request.finish()

    def fail(self, problem: Problem) -> None:
        """Respond with an error. If a part of another response is sent already, abort the connection instead."""
        if self.finished:
            return
        if self._request.startedWriting:
            self._request.transport.abortConnection()
        else:
            self.send_error(problem)

    def _connection_lost(self, _: object) -> None:
        self._lost = True


WebhookRequest = HTTPRequest | StockRequest
"""A request for a webhook, received by errklein's site or by another one."""
