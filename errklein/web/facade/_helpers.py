"""Flask's helper functions for handlers: redirects, URLs, files, streams; and the object behind `current_app`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

import werkzeug.utils
from werkzeug.exceptions import abort as abort
from werkzeug.routing import Map

from errklein.web.facade import json_text
from errklein.web.facade.context import current_context
from errklein.web.facade.request import Request
from errklein.web.facade.response import Response as FlaskResponse
from errklein.web.facade.response import make_response

F = TypeVar("F", bound=Callable[..., Any])


def after_this_request(function: F) -> F:
    """Call a function, which is returned, with the response of the current request before it is sent.

    The function may change the response, or return another one. A generator may call this before its first item; then the
    function can change the status and the headers. Without a request, this and the others raise RuntimeError.
    """
    context = current_context("flask.after_this_request")
    context.after = [*context.after, function]
    return function


def redirect(location: str, code: int = 302, Response: type[Any] | None = None) -> Any:  # noqa: N803
    """Return a response that redirects the client to the URL `location`, with the HTTP status 301, 302, 303, 305, 307 or 308."""
    return werkzeug.utils.redirect(location, code, Response or FlaskResponse)


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
    """Return a response with the content of a file. Range requests and conditional requests are supported.

    :param path_or_file: The path of the file, or a file that is opened in binary mode.
    :param mimetype: The media type; by default it is guessed from the name.
    :param options: Options of `werkzeug.utils.send_file`, such as `as_attachment`, `download_name` and `max_age`.
    """
    environ = current_context("flask.send_file").environ
    options.setdefault("response_class", FlaskResponse)
    return werkzeug.utils.send_file(path_or_file, environ, mimetype=mimetype, **options)


def send_from_directory(directory: Any, path: Any, **options: Any) -> Any:
    """Return a response with the content of a file in a directory, for paths that come from the client. The options are those
    of `send_file`. Raises NotFound, which is the response 404: the path leaves the directory, or is not a file."""
    environ = current_context("flask.send_from_directory").environ
    options.setdefault("response_class", FlaskResponse)
    return werkzeug.utils.send_from_directory(directory, path, environ, **options)


def stream_with_context(generator_or_function: Any) -> Any:
    """Keep the current request available in a generator, or what a generator function returns, for a streamed response.

    errklein does so for every generator that a handler returns, so the function is needed only for code that calls it.
    """
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
    iterator = iter(items)

    def generate() -> Iterator[Any]:
        while True:
            with context.active():
                try:
                    item = next(iterator)
                except StopIteration:
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

    json = json_text
    request_class = Request
    response_class = FlaskResponse
    debug = False
    testing = False

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
