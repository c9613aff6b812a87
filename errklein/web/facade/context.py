"""The context of the request that is being handled, and the proxies `request`, `g` and `current_app` that use it. The
handler and everything that it starts run with the request's context as the current one, on the reactor or in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import cached_property
from typing import TYPE_CHECKING, Any

from werkzeug.local import LocalProxy

from errklein.running.context import assigned, handled_delivery, origin, request_id
from errklein.web.facade.request import Request
from errklein.webhooks import Hook
from errklein.webhooks.payload import decode_payload

if TYPE_CHECKING:
    from errklein.web._delivery import WebServices
    from errklein.web.facade._helpers import Flask
    from errklein.web.request import WebhookRequest

# Not in running.context, which can't import RequestContext.
_current: ContextVar[RequestContext | None] = ContextVar("errklein.web.context", default=None)


class _Globals(dict[str, Any]):
    """The object `g`: attributes that exist for the time of a request, which are the items of a dict, too."""

    def __init__(self) -> None:
        self.__dict__ = self


class RequestContext:
    """The context of one request. Flask's objects for it are created on first use.

    `incoming` is the request as it was received, `hook` the webhook that handles it, and `captures` are the values of the rule's
    variables.
    """

    after: Sequence[Callable[[Any], Any]] = ()  # the functions to call with the response
    body: bytes | None = None  # None until it is read
    _payload: Any = ...
    _request: Request | None = None

    def __init__(
        self, services: WebServices, incoming: WebhookRequest, hook: Hook, captures: Mapping[str, Any]
    ) -> None:
        self.services = services
        self.incoming = incoming
        self.hook = hook
        self.captures = captures

    # No cached properties: on Python 3.11, these have one lock for all requests, for which the reactor would wait.

    def payload(self) -> Any:
        """Return the first argument of the handler. The body is decoded once. Raises BadPayload."""
        declaration = self.hook.declaration
        if declaration.raw:
            return LocalProxy(lambda: self.request)
        if self._payload is ... and declaration.source is not None:
            self._payload = declaration.source.read(self.services.checks.received(self.incoming))
        if self._payload is ...:
            body, header = self.read_body(), self.incoming.first_header
            kind, coding = header(b"content-type").decode("latin-1"), header(b"content-encoding").decode("latin-1")
            form_param = declaration.form_param
            self._payload = decode_payload(body, kind, form_param=form_param, content_encoding=coding)
        return self._payload

    def decode_ahead(self) -> None:
        """Read and decode a large body, so that nothing takes long when the handler uses it. Called in a thread. Raises BadPayload."""
        self.read_body()
        if self.hook.declaration.raw:
            self.request.parse_body()
        self.payload()

    def read_body(self) -> bytes:
        """Return the body. One on disk must have been read by `decode_ahead`."""
        if self.body is None:
            self.body = self.incoming.body()
        return self.body

    @property
    def environ(self) -> dict[str, Any]:
        return self.request.environ

    @property
    def request(self) -> Request:
        if self._request is None:
            request = Request.of(self.services, self.incoming, self.hook, self.read_body())
            request.view_args = dict(self.captures)
            request.max_content_length = self.incoming.body_limit
            self._request = request
        return self._request

    @cached_property
    def g(self) -> _Globals:
        return _Globals()

    def new_context(self) -> Context:
        """Return a copy of the current context in which this is the current request."""
        context = copy_context()
        context.run(self._enter)
        return context

    def _enter(self) -> None:
        _current.set(self)
        request_id.set(self.incoming.request_id)
        origin.set(f"route:{self.hook.full_name}")
        handled_delivery.set((f"route:{self.hook.full_name}", self.incoming.delivery_id))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Return a context manager that makes this the current context."""
        name = f"route:{self.hook.full_name}"
        with (
            assigned(_current, self),
            assigned(request_id, self.incoming.request_id),
            assigned(origin, name),
            assigned(handled_delivery, (name, self.incoming.delivery_id)),
        ):
            yield


def current_context(what: str = "this") -> RequestContext:
    """Return the context of the request that is being handled. Raises RuntimeError, which says that `what` needs one."""
    context = _current.get()
    if context is None:
        raise RuntimeError(
            f"{what} needs a request, but none is being handled here; in a thread that the handler starts, wrap the "
            "function in flask.copy_current_request_context"
        )
    return context


def has_request_context() -> bool:
    """Return whether a request is being handled."""
    return _current.get() is not None


request: Request = LocalProxy(lambda: current_context("flask.request").request)  # type: ignore[assignment]
"""The request that is being handled, a `Request`.

::

    @webhook("/build", methods=["POST"])
    def build(self, payload):
        if request.headers.get("X-Token") != self.config["token"]:
            abort(403)
        return f"build {payload['number']} received"

It is a proxy that refers to the current request in the handler and everything that the handler starts. Outside of a request,
each use raises RuntimeError.
"""

g: Any = LocalProxy(lambda: current_context("flask.g").g)
"""An object whose attributes exist for the time of the current request. Outside of a request, each use raises RuntimeError."""

current_app: Flask = LocalProxy(lambda: current_context("flask.current_app").services.flask)  # type: ignore[assignment]
"""The application of the current request, a `Flask`. Outside of a request, each use raises RuntimeError."""
