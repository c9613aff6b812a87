"""Which request the running code is about.

Each request has a context. The code that handles it, in whichever thread, runs with that context as the current one,
and `request`, `g` and `current_app` lead to it; so does everything that the handler starts, until it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any

from werkzeug.local import LocalProxy
from werkzeug.routing import Rule

from errklein.running.context import request_id
from errklein.web.facade.request import Request, endpoint_of, make_environ
from errklein.webhooks import Hook

if TYPE_CHECKING:
    from errklein.web.facade._app import Flask
    from errklein.web.request import HTTPRequest
    from errklein.web.resource import WebhookResource

# Not in running.context, on whose floor RequestContext is unknown.
_current: ContextVar[RequestContext | None] = ContextVar("errklein.web.context", default=None)


class _Globals:
    """What a handler keeps for the time of a request: attributes, with some of a dict's methods."""

    def get(self, name: str, default: Any = None) -> Any:
        return self.__dict__.get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        return self.__dict__.pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        return self.__dict__.setdefault(name, default)

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)


class RequestContext:
    """One request on its way through a handler. What Flask would make at once is made when it is asked for."""

    def __init__(self, server: WebhookResource, incoming: HTTPRequest, hook: Hook, captures: Mapping[str, Any]) -> None:
        self.server = server
        self.incoming = incoming
        self.hook = hook
        self.captures = captures
        self.body = incoming.body()
        self.after: list[Callable[[Any], Any]] = []

    @cached_property
    def environ(self) -> dict[str, Any]:
        """The request as WSGI describes it."""
        return make_environ(self.incoming, self.body)

    @cached_property
    def request(self) -> Request:
        """The request as Flask's handlers see it."""
        request = Request(self.environ)
        declaration = self.hook.declaration
        request.url_rule = Rule(declaration.rule, endpoint=endpoint_of(self.hook), methods=declaration.methods)
        request.view_args = dict(self.captures)
        request.max_content_length = self.incoming.body_limit
        return request

    @cached_property
    def g(self) -> _Globals:
        """What the handler keeps for the time of the request."""
        return _Globals()

    def proxy(self) -> Any:
        """A stand-in for this very request, which works wherever it is taken to."""
        return LocalProxy(lambda: self.request)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this the current context for a `with` block."""
        token = _current.set(self)
        id_token = request_id.set(self.incoming.request_id)
        try:
            yield
        finally:
            request_id.reset(id_token)
            _current.reset(token)


def current_context(what: str = "this") -> RequestContext:
    """The context of the request being handled. Raises RuntimeError, naming `what`, when none is."""
    context = _current.get()
    if context is None:
        raise RuntimeError(f"{what} works only while a webhook's request is being handled")
    return context


def has_request_context() -> bool:
    """Whether a request is being handled."""
    return _current.get() is not None


request: Request = LocalProxy(lambda: current_context("flask.request").request)  # type: ignore[assignment]
g: Any = LocalProxy(lambda: current_context("flask.g").g)
current_app: Flask = LocalProxy(lambda: current_context("flask.current_app").server.app)  # type: ignore[assignment]
