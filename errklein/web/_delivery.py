"""The delivery of one request to its handler, and of the handler's response to the client."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from twisted.web.resource import IResource
from twisted.web.template import flattenString
from werkzeug.exceptions import HTTPException

from errklein.running import Overloaded, Placement, PoolStopped
from errklein.web._error_pages import Problem
from errklein.web._paths import not_found
from errklein.web._responses import HTML, PreparedResponse, ReactorValue, prepare_response, split_body
from errklein.web._routes import NoRoute, Rebuilding, Route
from errklein.web._shared_timer import NEVER
from errklein.web._streaming import ResponseStream
from errklein.web.facade.context import RequestContext
from errklein.web.request import HTTPRequest
from errklein.webhooks import Hook
from errklein.webhooks.payload import BadPayload, decode_payload

if TYPE_CHECKING:
    from errklein.web.resource import WebhookResource

# Larger responses are sent in pieces of this size, so that the deadline for a client that stops reading applies to each piece.
_PIECE = 256 * 1024


class _RouteChanged(Exception):
    """The routes changed while the request waited for a thread."""


class Delivery:
    """Finds the webhook for a request, runs its handler, and sends the response.

    The client gets exactly one response: the handler's, an error, or 504 when `deadline` has passed. A handler is never
    stopped: it runs to its end when the client has disconnected or got 504.

    :param web: The resource that received the request.
    :param request: The request, whose body is complete.
    """

    log = Logger(namespace="errklein.web")

    def __init__(self, web: WebhookResource, request: HTTPRequest) -> None:
        self.web = web
        self.request = request
        self.deadline = request.begun + web.settings.timeout
        self.timeout = web.settings.timeout
        self.responded = False
        self.hook: Hook | None = None
        """The webhook that handles the request; None until its handler has started."""
        self._route: Route | None = None
        self._captures: Mapping[str, Any] = {}
        self._context: RequestContext | None = None

    def dispatch(self) -> None:
        """Find the webhook and run its handler, now or when the routes are ready."""
        if self.responded:
            return
        try:
            match = self.web.match(self.request)
        except Rebuilding as rebuilding:
            rebuilding.until.addCallback(self._dispatch_again)
            return
        except NoRoute as no_route:
            self._refuse_path(no_route)
            return
        except Problem as problem:
            self._send_error(problem)
            return
        routes = self.web.routes
        if routes.held(match.route.owner):
            routes.when_released(match.route.owner).addCallback(self._dispatch_again)
        else:
            routes.run(self.request, match)

    def _dispatch_again(self, _: object = None) -> None:
        try:
            self.dispatch()
        except BaseException:
            self._crashed(Failure())

    def run(self, route: Route, captures: Mapping[str, Any]) -> None:
        """Run the handler of a route; the routes call this."""
        hook = route.hook
        assert hook is not None
        self._route = route
        self._captures = captures
        request = self.request
        declaration = hook.declaration
        if declaration.timeout is not None:
            self.timeout = declaration.timeout
            self.deadline = request.begun + self.timeout
        if declaration.max_body is not None and request.body_size > declaration.max_body:
            self._send_error(Problem(413, f"the body is larger than {declaration.max_body} bytes"))
            return
        context = self._context = RequestContext(self.web, request, hook, captures)
        runner = self.web.runner
        if route.placement is Placement.THREAD:
            with context.active():
                running = runner.call_in(self.web.pool, self._prepare)
        elif declaration.raw or len(context.body) <= self.web.settings.off_reactor_size:
            self.hook = hook
            try:
                payload = _payload_for(context)
            except BadPayload as bad:
                self._send_error(Problem(bad.status, bad.detail))
                return
            with context.active():
                running = runner.call(hook.handler, payload, **captures)
        else:
            running = runner.call_in(self.web.decoding_pool, lambda: lambda: _payload_for(context))
            running.addCallback(self._run_with, context)
        running.addCallbacks(self._returned, self._failed)
        running.addErrback(self._crashed)

    def _run_with(self, payload: object, context: RequestContext) -> Deferred[Any]:
        """Run a handler on the reactor whose payload was decoded in a thread."""
        hook = self._current_hook()
        self.hook = context.hook = hook
        with context.active():
            return self.web.runner.call(hook.handler, payload, **self._captures)

    def _prepare(self) -> Any:
        """Return the function to run in a thread, by the current routes. Called on the reactor when a thread is free."""
        assert self._context is not None
        hook = self._current_hook()
        if self._route is None or self._route.placement is not Placement.THREAD:
            raise _RouteChanged
        self.hook = self._context.hook = hook
        return _HandlerCall(self, self._context, hook, self._captures)

    def still_runs(self, hook: Hook) -> bool:
        """Return whether the hook is still that of the route. May be called in any thread."""
        route = self._route
        return route is not None and route.hook is hook and not self.web.routes.held(route.owner)

    def _current_hook(self) -> Hook:
        """Return the hook of the matched route; raises _RouteChanged if the request must be matched again."""
        route = self._route
        context = self._context
        if self.responded or route is None or context is None or self.web.routes.held(route.owner):
            raise _RouteChanged
        hook = route.hook
        if hook is None or hook.declaration != context.hook.declaration:
            raise _RouteChanged
        return hook

    # Responses.

    def _returned(self, value: Any) -> Any:
        context = self._context
        assert context is not None
        if type(value) is not PreparedResponse:
            if type(value) is ReactorValue:
                value = value.value
            with context.active():
                value = prepare_response(value, context)
        if type(value) is ReactorValue:
            return self._respond_later(value.value)
        self._send(value)
        return None

    def _send(self, response: PreparedResponse) -> None:
        request = self.request
        if len(response.body) > _PIECE:
            response = split_body(response, _PIECE)
        if response.items is not None:
            if self.responded or request.finished:
                if response.close is not None:
                    response.close()
                self._finish()
                return
            assert self._context is not None
            ResponseStream(
                request, response, self._context, self.web, self.timeout, self._stream_begins, self._streamed
            ).resumeProducing()
            return
        if not self.responded:
            request.send_response(response.status, response.headers, response.body)
        self._finish()

    def _stream_begins(self) -> bool:
        """Note that a response begins. Return whether the client is still waiting for it."""
        if self.responded:
            return False
        # From now on, the deadlines of the connection apply, for a client that stops reading.
        self.responded = True
        self.deadline = NEVER
        return True

    def _streamed(self, failure: Failure | None) -> None:
        if failure is not None and isinstance(failure.value, Overloaded) and not self.responded:
            self._send_unavailable(str(failure.value), failure.value.retry_after)
        elif failure is not None:
            self._handler_failed(failure)
        self._finish()

    def _respond_later(self, value: Any) -> Any:
        if isinstance(value, Deferred):
            return value.addCallback(self._returned)
        if IResource.providedBy(value):
            self._render(value)
            return None
        if isinstance(value, klein.Response):
            headers = [
                (name.lower(), item)
                for name, items in Headers(cast(dict[str, Any], value.headers)).getAllRawHeaders()
                for item in items
            ]
            return self._with_body(value.body, value.code, headers)
        if IResponse.providedBy(value):
            kinds = value.headers.getRawHeaders(b"Content-Type") or [b"application/octet-stream"]
            return readBody(value).addCallback(self._proxied, value.code, [(b"Content-Type", kinds[0])])
        return flattenString(self.request, value).addCallback(self._proxied, 200, HTML)

    def _proxied(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        context = self._context
        assert context is not None
        if context.after:
            with context.active():
                named = [(name.decode(), value.decode("latin-1")) for name, value in headers]
                self._returned((body, status, named))
        else:
            self._send(PreparedResponse(status, headers, body))

    def _with_body(self, body: Any, status: int, headers: list[tuple[bytes, bytes]]) -> Any:
        if isinstance(body, (str, bytes)):
            return self._proxied(body.encode() if isinstance(body, str) else body, status, headers)
        return flattenString(self.request, body).addCallback(self._proxied, status, headers)

    def _render(self, resource: Any) -> None:
        request = self.request
        if self.responded or request.finished:
            self._finish()
            return
        request.content.seek(0)
        request.notifyFinish().addBoth(lambda _: self._finish())
        request.render(resource)  # type: ignore[no-untyped-call]

    # Errors.

    def _failed(self, failure: Failure) -> Any:
        error = failure.value
        if isinstance(error, _RouteChanged):
            self.hook = None
            if self.responded:
                self._finish()
            else:
                self.dispatch()
        elif isinstance(error, BadPayload):
            self._send_error(Problem(error.status, error.detail))
        elif isinstance(error, Overloaded) and self.hook is None:
            self._send_unavailable(str(error), error.retry_after)
        elif isinstance(error, PoolStopped) and self.hook is None:
            self._send_unavailable("the service is stopping", 10.0)
        elif isinstance(error, HTTPException):
            return self._returned(error)
        else:
            self._handler_failed(failure)
        return None

    def _crashed(self, failure: Failure) -> None:
        """Respond to an error that occurred while the handler's return value was converted into a response."""
        if isinstance(failure.value, HTTPException):
            try:
                self._returned(failure.value)
                return
            except BaseException:
                failure = Failure()
        self._handler_failed(failure)

    def _handler_failed(self, failure: Failure) -> None:
        request = self.request
        hook = self.hook
        if hook is None and self._context is not None:
            hook = self._context.hook
        self.log.failure(
            "{plugin}.{handler} failed on {method} {path} (request {request_id})",
            failure=failure,
            plugin="-" if hook is None else hook.owner,
            handler="-" if hook is None else hook.name,
            method=request.method.decode("ascii"),
            path=request.path.decode("ascii", "backslashreplace"),
            request_id=request.request_id,
        )
        if hook is not None:
            self.web.notify(lambda events: events.handler_failed(hook, request.request_id, failure))
        request.fail(Problem(500, "the handler failed; the log has the details under this request id"))
        self._finish()

    def deadline_passed(self) -> None:
        """Respond with 504, or with 503 if no handler has started. The sweeper calls this."""
        self.web.settled(self)
        if self.responded:
            return
        self.responded = True
        hook, request = self.hook, self.request
        if hook is None:
            self._send_unavailable(f"the handler did not start within {self.timeout:g} s", 10.0)
            return
        self.web.notify(lambda events: events.handler_overdue(hook, request.request_id, self.timeout))
        request.fail(Problem(504, f"the handler did not respond within {self.timeout:g} s; it is still running"))

    def _refuse_path(self, no_route: NoRoute) -> None:
        request = self.request
        problem = problem_of(no_route, request.path, request.method)
        if request.method == b"OPTIONS" and no_route.allowed:
            request.send_response(200, [*HTML, *problem.headers], b"")
            self._finish()
        else:
            self._send_error(problem)

    def _send_unavailable(self, detail: str, retry_after: float) -> None:
        seconds = b"%d" % max(1, math.ceil(retry_after))
        self._send_error(Problem(503, detail, ((b"Retry-After", seconds),)))

    def _send_error(self, problem: Problem) -> None:
        self.request.fail(problem)
        self._finish()

    def _finish(self) -> None:
        self.responded = True
        self.web.settled(self)


def problem_of(no_route: NoRoute, path: bytes, method: bytes) -> Problem:
    """Return the error for a path without a matching route: 404, or 405 with the allowed methods."""
    if not no_route.allowed:
        return not_found(path)
    allowed = ", ".join(sorted(no_route.allowed | {"OPTIONS"}))
    detail = f"the method {method.decode('ascii')} is not allowed at this path; allowed: {allowed}"
    return Problem(405, detail, ((b"Allow", allowed.encode()),))


@dataclass(frozen=True, eq=False)
class _HandlerCall:
    """The function that runs in a thread: decodes the payload, calls the handler, and prepares the response."""

    delivery: Delivery
    context: RequestContext
    hook: Hook
    captures: Mapping[str, Any]

    @property
    def __self__(self) -> object:
        """The plugin's instance, by which the runner counts running handlers."""
        return getattr(self.hook.handler, "__self__", None)

    @property
    def __name__(self) -> str:
        """The name of the handler, as `!status plugins` shows it while it runs."""
        return self.hook.name

    def __call__(self) -> Any:
        payload = _payload_for(self.context)
        # The plugin may have been reloaded since the thread was chosen.
        if not self.delivery.still_runs(self.hook):
            raise _RouteChanged
        try:
            value = self.hook.handler(payload, **self.captures)
        except HTTPException as error:
            value = error
        response = prepare_response(value, self.context)
        # The runner continues a Deferred or a coroutine on the reactor.
        return response.value if type(response) is ReactorValue else response


def _payload_for(context: RequestContext) -> Any:
    declaration = context.hook.declaration
    if declaration.raw:
        return context.proxy()
    incoming = context.incoming
    return decode_payload(
        context.body,
        incoming.first_header(b"content-type").decode("latin-1"),
        form_param=declaration.form_param,
        content_encoding=incoming.first_header(b"content-encoding").decode("latin-1"),
    )
