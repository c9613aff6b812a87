"""Flask's functions for use in handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

import werkzeug.utils

from errklein.web.facade.context import current_context
from errklein.web.facade.response import Response as FlaskResponse

F = TypeVar("F", bound=Callable[..., Any])


def after_this_request(function: F) -> F:
    """Call `function` with the answer before it is sent. It may change it, or return another one."""
    current_context("flask.after_this_request").after.append(function)
    return function


def redirect(location: str, code: int = 302, Response: type[Any] | None = None) -> Any:  # noqa: N803
    """An answer that sends the client to `location`."""
    return werkzeug.utils.redirect(location, code, Response or FlaskResponse)


def url_for(endpoint: str, *, _external: bool = False, _anchor: str | None = None, **values: Any) -> str:
    """The path at which a plugin's method answers, with the rule's variables filled in from `values`.

    `endpoint` is the method's name, or `Plugin.method` for another plugin's. Raises LookupError if there is none.
    """
    context = current_context("flask.url_for")
    url = context.server.url_for(context.hook, endpoint, values)
    if _external:
        url = context.request.host_url.rstrip("/") + url
    return url if _anchor is None else f"{url}#{_anchor}"


def send_file(path_or_file: Any, mimetype: str | None = None, **options: Any) -> Any:
    """An answer with the contents of a file, by its path or opened in binary mode; ranges and caching are seen to."""
    environ = current_context("flask.send_file").environ
    options.setdefault("response_class", FlaskResponse)
    return werkzeug.utils.send_file(path_or_file, environ, mimetype=mimetype, **options)


def send_from_directory(directory: Any, path: Any, **options: Any) -> Any:
    """As `send_file`, for a path from outside that must stay within `directory`; else 404."""
    environ = current_context("flask.send_from_directory").environ
    options.setdefault("response_class", FlaskResponse)
    return werkzeug.utils.send_from_directory(directory, path, environ, **options)


def stream_with_context(generator_or_function: Any) -> Any:
    """A generator, or a generator function, that sees the request it was made for while it runs."""
    if callable(generator_or_function):

        @wraps(generator_or_function)
        def make(*args: Any, **kwargs: Any) -> Iterator[Any]:
            return _with_context(generator_or_function(*args, **kwargs))

        return make
    return _with_context(generator_or_function)


def _with_context(items: Any) -> Iterator[Any]:
    context = current_context("flask.stream_with_context")
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
    """The function, seeing the current request wherever it is called, as in a thread of the plugin's own."""
    context = current_context("flask.copy_current_request_context")

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with context.active():
            return function(*args, **kwargs)

    return call  # type: ignore[return-value]
