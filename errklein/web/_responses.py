"""Conversion of a handler's return value into a response that can be sent. Text and JSON values are converted directly.
Other values become a Werkzeug response first, as does every value if `after_this_request` was used. Values that need
the reactor, such as Deferreds, are returned as a `ReactorValue`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import klein
import werkzeug.wrappers
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.client import readBody
from twisted.web.http_headers import Headers as TwistedHeaders
from twisted.web.iweb import IRenderable, IResponse
from twisted.web.resource import IResource
from twisted.web.template import Tag, flattenString
from werkzeug.exceptions import HTTPException
from zope.interface import implementer

from errklein.chat.handles import Handle, without_handle
from errklein.web._error_pages import Headers, Problem
from errklein.web.facade.request import FlaskJSON, RequestContext
from errklein.web.facade.response import response_for

if TYPE_CHECKING:
    from errklein.web._delivery import Delivery


HTML: Headers = [(b"Content-Type", b"text/html; charset=utf-8")]
_JSON: Headers = [(b"Content-Type", b"application/json")]
# Headers that a handler can't set: they depend on the connection, or are added to every response.
_OURS = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "date", "x-request-id"})


@dataclass(slots=True)
class PreparedResponse:
    """A response that is ready to be sent. The body is the sequence of `items` if there are any, else `body`. `reason` is that of
    an HTTPException. `source` is the response for the functions that a generator may register before its first item."""

    status: int
    headers: Headers
    body: bytes
    items: Iterator[Any] | AsyncIterator[Any] | None = None
    close: Callable[[], object] | None = None
    source: Any = None
    reason: str = ""


@dataclass(slots=True)
class ReactorValue:
    """A value that can be converted into a response on the reactor only."""

    value: Any


def prepare_response(value: Any, context: RequestContext) -> PreparedResponse | ReactorValue:
    """Return the response for a handler's return value, or for an HTTPException that it raised. The request's context must be
    the current one. For a value that needs the reactor, return a `ReactorValue`. What `send` returns counts as None."""
    value = without_handle(value)
    if not context.after and (simple := simple_response(value)) is not None:
        return simple
    needs_reactor = isinstance(value, (Awaitable, klein.Response, Tag))
    if needs_reactor or any(one.providedBy(value) for one in (IResource, IRenderable, IResponse)):
        return ReactorValue(value)
    if not isinstance(value, (HTTPException, werkzeug.wrappers.Response)) and not value:
        value = ""
    prepared = _prepare(_apply_after(response_for(value), context), context)
    if isinstance(value, HTTPException):
        prepared.reason = value.description or ""
    return prepared


async def value_of(value: Any, request: Any) -> Any:
    """Return the value that `prepare_response` can convert instead of one that needs the reactor, other than a resource. Of a
    response, it is a tuple as handlers return it, without headers such as Content-Length, which depend on the connection."""
    if isinstance(value, Awaitable):
        return await value
    status, pairs, body = 200, HTML, value
    if isinstance(value, klein.Response):
        lists = {name: [item] if isinstance(item, (str, bytes)) else item for name, item in value.headers.items()}
        encoded = TwistedHeaders(cast(dict[str, Any], lists)).getAllRawHeaders()
        pairs = [(name.lower(), item) for name, items in encoded for item in items]
        status, body = value.code, value.body
    elif IResponse.providedBy(value):
        kinds = value.headers.getRawHeaders(b"Content-Type") or [b"application/octet-stream"]
        status, pairs, body = value.code, [(b"Content-Type", kinds[0])], await readBody(value)
    if not isinstance(body, (str, bytes)):
        body = await flattenString(request, body)
    return body, status, [(name.decode(), item.decode("latin-1")) for name, item in pairs]


def simple_response(value: Any) -> PreparedResponse | None:
    """Return the response for text, bytes, a dict, a list or None; None for any other value."""
    kind = type(value)
    if kind is str:
        return PreparedResponse(200, HTML, value.encode())
    if value and (kind is dict or kind is list):
        return PreparedResponse(200, _JSON, FlaskJSON.dump_body(value).encode())
    if kind is dict or kind is list or value is None:
        return PreparedResponse(200, HTML, b"")
    return PreparedResponse(200, HTML, value) if kind is bytes else None


def _apply_after(response: Any, context: RequestContext) -> Any:
    functions, context.after = context.after, ()
    for function in functions:
        changed = function(response)
        # Flask requires a return value; the examples in errbot's documentation return None.
        if changed is not None:
            response = changed
    return response


def _prepare(response: Any, context: RequestContext) -> PreparedResponse:
    streamed = response.is_streamed or response.direct_passthrough
    status, headers = _head_of(response, context, streamed)
    if not streamed:
        body = response.get_data()
        response.close()
        return PreparedResponse(status, headers, body)
    source = response.response
    items: Any = aiter(source) if isinstance(source, AsyncIterable) else iter(source)
    return PreparedResponse(status, headers, b"", items, response.close, response)


def _head_of(response: Any, context: RequestContext, streamed: bool) -> tuple[int, Headers]:
    return response.status_code, [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in response.get_wsgi_headers(context.request.environ)
        if name.lower() not in _OURS and (streamed or name.lower() != "content-length")
    ]


def split_body(response: PreparedResponse, size: int) -> PreparedResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(response.body), size):
            yield response.body[begin : begin + size]

    headers = [*response.headers, (b"Content-Length", str(len(response.body)).encode())]
    return PreparedResponse(response.status, headers, b"", pieces(), reason=response.reason)


_END = object()


class StreamStalled(Exception):
    """A generator yielded only empty items during the timeout of its route."""


@implementer(IPushProducer)
@dataclass(eq=False)
class ResponseStream:
    """A response that is sent in pieces. The status is sent together with the first item that isn't empty, as in WSGI (PEP 3333),
    so that an error response is possible if a generator raises before. Generators that never wait share a time slice of each turn
    of the reactor. When the client disconnects, an asynchronous generator is cancelled and closed; one in a thread is closed when
    it yields the next time. One that has begun and then yields only empty items for the timeout of the delivery ends with
    StreamStalled. Before, its deadline ends it."""

    delivery: Delivery
    response: PreparedResponse
    _begun = False
    _empty_since: float | None = field(default=None, init=False)
    _open = True
    _paused = False
    _pulling = False
    _pulled: Deferred[Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.request, self.context, self.services = self.delivery.request, self.delivery.context, self.delivery.services
        # The generator may wait for a long time before its first item, with which it becomes the producer of the request.
        self.request.notifyFinish().addErrback(lambda _: self.stopProducing())
        source = self.response.source
        if source is not None and not source.direct_passthrough:
            # A generator of the plugin, not a file or a large body.
            self.services.routes.streams[self.context.hook.owner].add(self)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._run()

    def stopProducing(self) -> None:
        self._end(None)

    @property
    def endless(self) -> bool:
        """Whether the stream is one of events, whose client connects again when it ends."""
        return any(value.startswith(b"text/event-stream") for _, value in self.response.headers)

    def end(self, problem: Problem) -> None:
        self._end(Failure(problem))

    def _run(self) -> None:
        # A loop rather than recursive callbacks, since an asynchronous generator may yield its next item at once.
        while self._open and not self._paused and not self._pulling:
            if not self.services.time_slices.has_time():
                self.services.time_slices.do(self._run)
                return
            self._pulling = True
            pulled = self._pulled = self._pull()
            pulled.addCallbacks(self._item, self._failed).addErrback(self._failed)
            if self._pulling:
                pulled.addCallback(lambda _: self._run())
                return

    def _pull(self) -> Deferred[Any]:
        items: Any = self.response.items

        async def following() -> Any:
            return self._pulled_item(await anext(items, _END))

        with self.context.active():
            if isinstance(items, AsyncIterator):
                return self.services.runner.call(following)
            return self.services.runner.call_in(lambda: lambda: self._pulled_item(next(items, _END)), follow_up=True)

    def _pulled_item(self, item: Any) -> Any:
        """Return the item. Called where the generator runs, as the functions of `after_this_request` may block."""
        if (context := self.context).after and not self._begun:
            # The functions that the generator has registered change the status and the headers.
            changed = _apply_after(self.response.source, context)
            self.response.status, self.response.headers = _head_of(changed, context, streamed=True)
        # What `send` returns is text, but not for the client.
        return b"" if isinstance(item, Handle) else item

    def _item(self, item: Any) -> None:
        self._pulling = False
        if not self._open:
            self._close()
            return
        request = self.request
        data = b"" if item is _END else _encode(item)
        if request.finished:
            # The client has disconnected, or has its response.
            self._end(None)
        elif item is not _END and not data:
            now, timeout = request.site.now(), self.delivery.timeout
            self._empty_since = now if self._empty_since is None else self._empty_since
            if self._begun and now - self._empty_since >= timeout:
                self._end(Failure(StreamStalled(f"the generator has yielded only empty items for {timeout:g} s")))
        elif (not self._begun and not self._begin()) or item is _END:
            self._end(None)
        else:
            self._empty_since = None
            request.write(data)

    def _begin(self) -> bool:
        self._begun = True
        if not self.delivery.stream_begins(self.response):
            return False
        has_body = self.request.start_stream(self.response.status, self.response.headers)
        if not self.request.finished:
            self.request.registerProducer(self, True)
        return has_body

    def _failed(self, failure: Failure) -> None:
        self._pulling = False
        if self._open:
            self._end(failure)
        else:
            self._close()

    def _end(self, failure: Failure | None) -> None:
        if not self._open:
            return
        self._open = False
        request = self.request
        if request.producer is self and request.channel is not None:
            request.unregisterProducer()
        if not self._pulling:
            self._close()
        elif isinstance(self.response.items, AsyncIterator) and self._pulled is not None:
            # `_failed` closes it. One that runs in a thread is closed by `_item`, when it has yielded once more.
            self._pulled.cancel()
        if failure is None:
            request.finish()
        self.delivery.streamed(self.response, failure)

    def _close(self) -> None:
        """Close the generator and its response, on the reactor or in a thread, as it runs."""
        items: Any = self.response.items
        close = self.response.close

        async def closing() -> None:
            try:
                if hasattr(items, "aclose"):
                    await items.aclose()
            finally:
                if close is not None:
                    close()

        with self.context.active():
            if isinstance(items, AsyncIterator):
                closed = self.services.runner.call(closing)
            else:
                closed = self.services.runner.call_in(lambda: close or items.close, follow_up=True)
        closed.addErrback(lambda _: None)


def _encode(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    # bytes(number) is that many zero bytes.
    raise TypeError(f"a generator yielded {type(item).__name__}; valid items are text and bytes")
