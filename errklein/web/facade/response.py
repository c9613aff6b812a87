"""Responses, the conversion of handlers' return values into responses by Flask's rules, and Flask's functions for handlers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

import werkzeug.utils
import werkzeug.wrappers
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import abort as abort
from werkzeug.routing import Map

from errklein.chat.handles import without_handle
from errklein.web.facade.request import FlaskJSON, Request, current_context


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
    return Response(FlaskJSON.dump_body(value), mimetype="application/json")


def make_response(*args: Any) -> Any:
    """Return the response for a value that a handler may return, to change it before it is returned. `args` are the value, or
    the items of a tuple: `(body, status)`, `(body, headers)` or `(body, status, headers)`."""
    return response_for(args[0] if len(args) == 1 else args) if args else Response()


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
            valid = "valid are (body, status), (body, headers) and (body, status, headers)"
            raise TypeError(f"a handler returned a tuple of {len(value)} items; {valid}")
    response: werkzeug.wrappers.Response
    value = without_handle(value)
    if isinstance(value, (str, bytes, bytearray, Iterator, AsyncIterator)):
        # A list may contain a header several times, such as Set-Cookie.
        response, headers = Response(bytes(value) if isinstance(value, bytearray) else value, headers=headers), None
    else:
        response = _response_for_body(value)
    if isinstance(status, (str, bytes, bytearray)):
        response.status = status if isinstance(status, str) else status.decode("latin-1")
    elif status is not None:
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
        return Response.force_type(value, current_context("a WSGI response").request.environ)
    valid = "text, bytes, a dict, a list, a tuple, a Response, a generator, a Deferred, a coroutine, a Twisted resource or renderable"
    raise TypeError(f"a handler returned {type(value).__name__}; valid are {valid}, and None")


def response_of_error(error: HTTPException) -> werkzeug.wrappers.Response:
    """Return the response for an HTTPException that a handler raised, such as with `abort`."""
    response: Any = error.get_response(current_context("an HTTPException").request.environ)
    return response if isinstance(response, werkzeug.wrappers.Response) else Response.force_type(response)


F = TypeVar("F", bound=Callable[..., Any])


def after_this_request(function: F) -> F:
    """Call a function, which is returned, with the response of the current request before it is sent. It may change the response, or
    return another one. A generator may call this before its first item; then the function can change the status and the headers.
    Without a request, this and the others raise RuntimeError."""
    context = current_context("flask.after_this_request")
    context.after = [*context.after, function]
    return function


def redirect(location: str, code: int = 302, Response: type[Any] | None = None) -> Any:  # noqa: N803
    """Return a response that redirects the client to the URL `location`, with the HTTP status 301, 302, 303, 305, 307 or 308."""
    return werkzeug.utils.redirect(location, code, Response or Flask.response_class)


def url_for(endpoint: str, *, _external: bool = False, _anchor: str | None = None, **values: Any) -> str:
    """Return the path of a webhook. Outside of a request, use `BotPlugin.webhook_url`.

    :param endpoint: The name of a method of this plugin, or `"Plugin:method"` for one of another plugin.
    :param _external: Return a full URL, with the scheme and host of PUBLIC_URL, by default those of the current request.
    :param _anchor: A fragment that is appended to the URL after `#`.
    :param values: Values for the variables of the rule. Others are added as a query.
    :raises LookupError: There is no such webhook.
    """
    context = current_context("flask.url_for")
    url = context.incoming.base_path + context.services.routes.url_for(context.hook.owner, endpoint, values)
    if _external:
        url = (context.services.settings.public_url or context.request.host_url.rstrip("/")) + url
    return url if _anchor is None else f"{url}#{_anchor}"


def send_file(path_or_file: Any, mimetype: str | None = None, **options: Any) -> Any:
    """Return a response with the content of a file. It is given by its path, or opened in binary mode. Range requests and conditional
    requests are supported. By default, the media type is guessed from the name. `options` are those of `werkzeug.utils.send_file`,
    such as `as_attachment`, `download_name` and `max_age`."""
    environ = current_context("flask.send_file").request.environ
    options.setdefault("response_class", Response)
    return werkzeug.utils.send_file(path_or_file, environ, mimetype=mimetype, **options)


def send_from_directory(directory: Any, path: Any, **options: Any) -> Any:
    """Return a response with the content of a file in a directory, for paths that come from the client. The options are those
    of `send_file`. Raises NotFound, which is the response 404: the path leaves the directory, or is not a file."""
    environ = current_context("flask.send_from_directory").request.environ
    options.setdefault("response_class", Response)
    return werkzeug.utils.send_from_directory(directory, path, environ, **options)


def stream_with_context(generator_or_function: Any) -> Any:
    """Keep the current request available in a generator, or what a generator function returns, for a streamed response.
    errklein does so for every generator that a handler returns, so the function is needed only for code that calls it."""
    if callable(generator_or_function):

        @wraps(generator_or_function)
        def make(*args: Any, **kwargs: Any) -> Any:
            return _with_context(generator_or_function(*args, **kwargs))

        return make
    return _with_context(generator_or_function)


def _with_context(items: Any) -> Any:
    context = current_context("flask.stream_with_context")
    if isinstance(items, AsyncIterator):
        # A coroutine keeps the context in which it runs.
        return items
    iterator, end = iter(items), object()

    def generate() -> Iterator[Any]:
        while True:
            with context.active():
                item = next(iterator, end)
            if item is end:
                return
            yield item

    return generate()


def copy_current_request_context(function: F) -> F:
    """Keep `request`, `g` and `current_app` available in a function that is called later, such as in a thread of the plugin."""
    context = current_context("flask.copy_current_request_context")

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with context.active():
            return function(*args, **kwargs)

    return call  # type: ignore[return-value]


class Flask:
    """The application that `current_app` refers to, for libraries and handlers that read its attributes. It has
    `config`, `logger`, `json`, `extensions`, `make_response` and the classes of requests and responses. It has no
    routes: plugins declare theirs with `@webhook`."""

    json = FlaskJSON
    request_class, response_class = Request, Response
    debug = testing = False

    def __init__(self, import_name: str = "errklein", **_: Any) -> None:
        self.import_name = self.name = import_name
        self.config: dict[str, Any] = {"DEBUG": False, "TESTING": False, "SECRET_KEY": None}
        self.logger = logging.getLogger("errklein.web")
        self.extensions: dict[str, Any] = {}
        self.url_map = Map()

    make_response = staticmethod(make_response)

    def route(self, *_: Any, **__: Any) -> Any:
        """Raise RuntimeError, since plugins declare webhooks with `@webhook`."""
        raise RuntimeError("flask.current_app has no routes of its own; declare webhooks with errklein's @webhook")

    run = add_url_rule = register_blueprint = route
