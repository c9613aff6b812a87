"""Conversion of a handler's return value into a response that can be sent. Text and JSON values are converted directly.
Other values become a Werkzeug response first, as does every value if `after_this_request` was used. Values that need
the reactor, such as Deferreds, are returned as a `ReactorValue`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import klein
import werkzeug.wrappers
from twisted.web.client import readBody
from twisted.web.http_headers import Headers as TwistedHeaders
from twisted.web.iweb import IRenderable, IResponse
from twisted.web.resource import IResource
from twisted.web.template import Tag, flattenString
from werkzeug.exceptions import HTTPException

from errklein.chat.handles import without_handle
from errklein.web._error_pages import Headers
from errklein.web.facade import json_text
from errklein.web.facade.context import RequestContext
from errklein.web.facade.response import response_for

HTML: Headers = [(b"Content-Type", b"text/html; charset=utf-8")]
_JSON: Headers = [(b"Content-Type", b"application/json")]
# Headers that a handler can't set: they depend on the connection, or are added to every response.
_OURS = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "date", "x-request-id"})


@dataclass(slots=True)
class PreparedResponse:
    """A response that is ready to be sent. The body is the sequence of `items` if there are any, else `body`. `reason`
    is that of an HTTPException. A generator may call `after_this_request` before its first item. `source` is the
    response that these functions get."""

    status: int
    headers: Headers
    body: bytes
    items: Iterator[Any] | AsyncIterator[Any] | None = None
    close: Callable[[], object] | None = None
    source: Any = None
    reason: str = ""

    def apply_after(self, context: RequestContext) -> None:
        """Call the functions that the generator has registered. Of the response, they change the status and the headers."""
        self.status, self.headers = _head_of(_apply_after(self.source, context), context, streamed=True)


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
    if _needs_reactor(value):
        return ReactorValue(value)
    if not isinstance(value, (HTTPException, werkzeug.wrappers.Response)) and not value:
        value = ""
    prepared = _prepare(_apply_after(response_for(value), context), context)
    if isinstance(value, HTTPException):
        prepared.reason = value.description or ""
    return prepared


async def value_of(value: Any, request: Any) -> Any:
    """Return the value that `prepare_response` can convert instead of one that needs the reactor, other than a
    resource. Of a response, it is a tuple as handlers return it, so that headers such as Content-Length, which depend
    on the connection, are left out."""
    if isinstance(value, Awaitable):
        return await value
    status, pairs, body = 200, HTML, value
    if isinstance(value, klein.Response):
        lists = {name: [item] if isinstance(item, (str, bytes)) else item for name, item in value.headers.items()}
        encoded = TwistedHeaders(cast(dict[str, Any], lists)).getAllRawHeaders()
        status, pairs, body = (
            value.code,
            [(name.lower(), item) for name, items in encoded for item in items],
            value.body,
        )
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
    if kind is dict or kind is list:
        if value:
            return PreparedResponse(200, _JSON, json_text.dump_body(value).encode())
        return PreparedResponse(200, HTML, b"")
    if kind is bytes or value is None:
        return PreparedResponse(200, HTML, value or b"")
    return None


def _needs_reactor(value: Any) -> bool:
    if isinstance(value, (Awaitable, klein.Response, Tag)):
        return True
    return bool(IResource.providedBy(value) or IRenderable.providedBy(value) or IResponse.providedBy(value))


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
    items: Iterator[Any] | AsyncIterator[Any]
    if isinstance(source, AsyncIterable):
        items = aiter(source)
    else:
        items = iter(source)
    return PreparedResponse(status, headers, b"", items, response.close, response)


def _head_of(response: Any, context: RequestContext, streamed: bool) -> tuple[int, Headers]:
    return response.status_code, [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in response.get_wsgi_headers(context.environ)
        if name.lower() not in _OURS and (streamed or name.lower() != "content-length")
    ]


def split_body(response: PreparedResponse, size: int) -> PreparedResponse:
    """Return the same response with its body in pieces of at most `size` bytes."""

    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(response.body), size):
            yield response.body[begin : begin + size]

    headers = [*response.headers, (b"Content-Length", str(len(response.body)).encode())]
    return PreparedResponse(response.status, headers, b"", pieces(), reason=response.reason)
