"""What handlers return, by Flask's rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import werkzeug.wrappers
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from errklein.web.facade import json_text
from errklein.web.facade.context import current_context


class Response(werkzeug.wrappers.Response):
    """An answer: Werkzeug's, which is HTML unless it says otherwise."""

    default_mimetype = "text/html"


def jsonify(*args: Any, **kwargs: Any) -> Response:
    """An answer with a value as JSON: the one argument, a list of several, or an object of the keyword arguments."""
    if args and kwargs:
        raise TypeError("jsonify takes either arguments or keyword arguments")
    value = args[0] if len(args) == 1 else args or kwargs or None
    return Response(json_text.dump_body(value), mimetype="application/json")


def make_response(*args: Any) -> Any:
    """The answer for what a handler returned; several arguments count as a tuple."""
    if not args:
        return Response()
    return response_for(args[0] if len(args) == 1 else args)


def response_for(value: Any) -> werkzeug.wrappers.Response:
    """The answer for what a handler returned. Raises TypeError, saying what may be returned, for anything else."""
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
                "a handler may return a tuple (body, status, headers), (body, status) or (body, headers), "
                f"but this one has {len(value)} items"
            )
    response: werkzeug.wrappers.Response
    if isinstance(value, (str, bytes, bytearray, Iterator)):
        # Here a list may name a header twice, as cookies are.
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
        f"a handler can't return {type(value).__name__}: it may return text, bytes, a dict, a list, a tuple, a Response, "
        "a generator, a Deferred, a coroutine, a Twisted resource or renderable, or nothing"
    )


def response_of_error(error: HTTPException) -> werkzeug.wrappers.Response:
    """The answer for an HTTPException that a handler raised, as Flask has it."""
    response: Any = error.get_response(current_context("an HTTPException").environ)
    return response if isinstance(response, werkzeug.wrappers.Response) else Response.force_type(response)
