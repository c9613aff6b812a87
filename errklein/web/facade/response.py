"""Responses, and the conversion of handlers' return values into responses by Flask's rules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import werkzeug.wrappers
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from errklein.chat.handles import without_handle
from errklein.web.facade import json_text
from errklein.web.facade.context import current_context


class Response(werkzeug.wrappers.Response):
    """A response of a webhook: Werkzeug's response, with the media type `text/html` by default.

    :param response: The body: text, bytes, or an iterable or asynchronous iterable of either, which is streamed.
    :param status: The status, as a number or as text such as `"201 Created"`; 200 by default.
    :param headers: A mapping, or a list of pairs. None as a value raises TypeError.
    :param mimetype: The media type; text types get the charset UTF-8.
    :param content_type: The media type with its parameters, instead of `mimetype`.
    """

    default_mimetype = "text/html"

    def __init__(
        self, response: Any = None, status: Any = None, headers: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(response, status, _ResponseHeaders(headers), *args, **kwargs)


class _ResponseHeaders(Headers):
    """Headers that reject None, which Werkzeug would send as the text "None"."""

    def add(self, key: str, value: Any, /, **options: Any) -> None:
        super().add(key, _not_none(key, value), **options)

    def set(self, key: str, value: Any, /, **options: Any) -> None:
        super().set(key, _not_none(key, value), **options)


def _not_none(name: str, value: Any) -> Any:
    if value is None:
        raise TypeError(f"the header {name} has the value None; set it to text, or leave the header out")
    return value


def jsonify(*args: Any, **kwargs: Any) -> Response:
    """Return a response with JSON as its body: of one value, of several that become a list, or of the members of an object."""
    if args and kwargs:
        raise TypeError("jsonify: positional and keyword arguments exclude each other")
    value = args[0] if len(args) == 1 else args or kwargs or None
    return Response(json_text.dump_body(value), mimetype="application/json")


def make_response(*args: Any) -> Any:
    """Return the response for a value that a handler may return, to change it before it is returned.

    :param args: The value, or the items of a tuple: `(body, status)`, `(body, headers)` or `(body, status, headers)`.
    """
    if not args:
        return Response()
    return response_for(args[0] if len(args) == 1 else args)


def response_for(value: Any) -> werkzeug.wrappers.Response:
    """Return the response for a handler's return value. Raises TypeError, whose text lists the valid types."""
    status: Any = None
    headers: Any = None
    if isinstance(value, tuple):
        if len(value) == 3:
            value, status, headers = value
        elif len(value) == 2 and isinstance(value[1], (Headers, dict, tuple, list)):
            value, headers = value
        elif len(value) == 2:
            value, status = value
        else:
            raise TypeError(
                f"a handler returned a tuple of {len(value)} items; "
                "valid are (body, status), (body, headers) and (body, status, headers)"
            )
    response: werkzeug.wrappers.Response
    value = without_handle(value)
    if isinstance(value, (str, bytes, bytearray, Iterator, AsyncIterator)):
        # A list may contain a header several times, such as Set-Cookie.
        response, headers = Response(bytes(value) if isinstance(value, bytearray) else value, headers=headers), None
    else:
        response = _response_for_body(value)
    if status is not None:
        if isinstance(status, (str, bytes, bytearray)):
            response.status = status.decode("latin-1") if not isinstance(status, str) else status
        else:
            response.status_code = int(status)
    if headers:
        response.headers.update(headers)
    return response


def _response_for_body(value: Any) -> werkzeug.wrappers.Response:
    if isinstance(value, werkzeug.wrappers.Response):
        return value
    if isinstance(value, (dict, list)):
        return jsonify(value)
    if isinstance(value, HTTPException):
        return response_of_error(value)
    if value is not None and not isinstance(value, type) and callable(value):
        # A WSGI application, such as another library's response.
        return Response.force_type(value, current_context("a WSGI response").environ)
    raise TypeError(
        f"a handler returned {type(value).__name__}; valid are text, bytes, a dict, a list, a tuple, a Response, "
        "a generator, a Deferred, a coroutine, a Twisted resource or renderable, and None"
    )


def response_of_error(error: HTTPException) -> werkzeug.wrappers.Response:
    """Return the response for an HTTPException that a handler raised, such as with `abort`."""
    response: Any = error.get_response(current_context("an HTTPException").environ)
    return response if isinstance(response, werkzeug.wrappers.Response) else Response.force_type(response)
