"""The delivery of one request to its handler, and of the handler's response to the client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IRequest, IResponse
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.template import flattenString
from werkzeug.exceptions import HTTPException

from errklein.listening import client_of
from errklein.ports.outbox import RoomUnavailable
from errklein.running import NEVER, Overloaded, Placement, PoolStopped
from errklein.web._error_pages import Problem, problem_of, retry_after
from errklein.web._handler_call import HandlerCall, RouteChanged, break_cycles
from errklein.web._paths import shown_path
from errklein.web._responses import HTML, PreparedResponse, ReactorValue, prepare_response, simple_response, split_body
from errklein.web._routes import Route
from errklein.web._services import WebServices
from errklein.web._stock_request import WebhookRequest
from errklein.web._streaming import ResponseStream
from errklein.web.facade.context import RequestContext
from errklein.webhooks import Hook

# Larger responses are sent in pieces of this size, so that the deadline for a client that stops reading applies to each piece.
_PIECE = 256 * 1024
_MANY_CONTAINERS = 1000
_QUICK_SIZE = 12 * 1024


class OutcomeRecorder(Protocol):
    """Gets the outcome of a delivery."""

    claims: bool
    """Whether only this delivery may handle the request."""

    def responded(self, delivery: Delivery) -> None:
        """The delivery has its response. Its handler may still be running, after 504."""

    def ended(self, delivery: Delivery) -> None:
        """The handler has ended, or was not called."""


class Delivery(Resource):
    """Runs the handler of one request, and sends the response.

    The client gets exactly one response: the handler's, an error, or 504 when `deadline` has passed. A handler is never
    stopped: it runs to its end when the client has disconnected or got 504.

    :param services: What the delivery uses.
    :param route: The route of the request.
    :param request: The request, whose body is complete.
    :param captures: The values of the rule's variables.
    :param recorder: Records the outcome.
    """

    log = Logger(namespace="errklein.web")
    isLeaf = True

    def __init__(
        self,
        services: WebServices,
        route: Route,
        request: WebhookRequest,
        captures: Mapping[str, Any],
        recorder: OutcomeRecorder | None = None,
    ) -> None:
        self.request = request
        self.responded = False
        """Whether a response was sent or has begun, or nothing can be sent."""
        self._settled = False
        """Whether the request is no longer counted and watched."""
        self.hook: Hook | None = None
        """The webhook that handles the request; None until its handler has started."""
        self.status = 0
        """The status of the response; 0 until it is known."""
        self.reason = ""
        """The reason of an error response."""
        self.retry_after = 0.0
        """The seconds after which the handler, which was not called, can be called."""
        self._began: float | None = None
        """The time at which the handler was called; None before, and after its end was counted."""
        self._recorder = recorder
        self._services = services
        self._route = route
        self._captures = captures
        self._context: RequestContext | None = None
        hook = route.hook
        self.timeout = (hook and hook.declaration.timeout) or services.settings.timeout
        self.deadline = request.begun + self.timeout

    def render(self, request: object) -> int:
        """Run the handler, now or when the route is ready."""
        services = self._services
        services.in_flight.enter()
        # Until the handler has ended, a disconnected client counts with its connection, and the payload with its body.
        self.request.hold_body()
        if services.routes.held(self._route.owner):
            services.routes.when_released(self._route.owner).addCallback(lambda _: self._dispatch_again())
        elif self._route.hook is None or self._route.hook.declaration is not self.request.admitted:
            self._dispatch_again()
        else:
            self._run(self._route.hook)
        if not self.responded:
            services.sweeper.watch(self)
        return NOT_DONE_YET

    @property
    def matched(self) -> Hook | None:
        """The webhook for which the request was meant; None if its plugin was deactivated before the handler started."""
        return self.hook or (self._route.hook if self._context is None else self._context.hook)

    def body(self) -> bytes | None:
        """Return the body of the request; None if it is on disk and was not read."""
        if self._context is not None:
            return self._context.body
        return None if self.request.on_disk else self.request.body()

    # Running.

    def _run(self, hook: Hook) -> None:
        """Run the handler. No Deferred is created if it runs on the reactor and doesn't wait."""
        context = self._context = RequestContext(self._services, self.request, hook, self._captures)
        result: Any
        try:
            if self._takes_long_to_decode():
                self.request.hold_body()
                # `_ended` may leave the request to another delivery, which then holds the body.
                self._decode_first(context).addBoth(self._ended).addBoth(lambda _: self.request.drop_body())
                return
            result = self._call_handler(hook, context)
        except BaseException:
            result = Failure()
        if isinstance(result, Deferred):
            result.addBoth(self._ended)
        else:
            self._ended(result)

    def _takes_long_to_decode(self) -> bool:
        size = self.request.body_size
        if self.request.on_disk or size > self._services.settings.off_reactor_size:
            return True
        # 64 KB of `[],` take milliseconds, and more than a megabyte of memory.
        return size > _QUICK_SIZE and sum(map(self.request.body().count, b"[{")) > _MANY_CONTAINERS

    def _decode_first(self, context: RequestContext) -> Deferred[Any]:
        """Read and decode a large body in a thread, and then run the handler."""

        def prepare() -> Callable[[], None]:
            self._current_hook()
            return context.decode_ahead

        def decoded(_: None) -> Any:
            return self._call_handler(self._current_hook(), context)

        size = self.request.body_size
        client = client_of(getattr(self.request.client, "host", ""))
        return self._services.bodies.lane(size).run(client, size, prepare, decoded)

    def _call_handler(self, hook: Hook, context: RequestContext) -> Any:
        """Call the handler where it is placed. Return its result, or a Deferred of it."""
        runner = self._services.runner
        if self._route.placement is Placement.THREAD:
            return runner.call_in(self._services.pool, self._prepare, context=context.new_context())
        self.hook = context.hook = hook
        self._began = self.request.site.now()
        return runner.start_in(context.new_context(), hook.handler, (context.payload(),), self._captures)

    def _ended(self, result: Any) -> Deferred[None] | None:
        """Respond with a handler's result when the messages that it has sent are on disk, or to its Failure at once."""
        if isinstance(result, Failure) and result.check(RoomUnavailable):
            # The message stays in the outbox. A second attempt would send it twice.
            self.log.warn("A webhook has succeeded: {reason}", reason=result.getErrorMessage())
            break_cycles(result.value)
            result = None
        messages = self._services.messages
        if messages is None or not messages.unwritten or self.responded or isinstance(result, Failure):
            self._respond(result)
            return None
        return messages.flush().addBoth(lambda _: self._respond(result))

    def _respond(self, result: Any) -> None:
        try:
            responded = self._failed(result) if isinstance(result, Failure) else self._respond_with(result)
        except BaseException:
            self._conversion_failed(Failure())
        else:
            if isinstance(responded, Deferred):
                responded.addErrback(self._conversion_failed)

    def _dispatch_again(self) -> None:
        """Leave the request to its present route, unless the recorder claims it: it may be repeated then."""
        self.hook = None
        if not self.responded and self._recorder is not None and self._recorder.claims:
            self._send_unavailable("the webhook is being reloaded", 10.0)
            return
        if not self.responded:
            self._recorder = None
            try:
                self.request.site.router.dispatch(self.request)
            except BaseException:
                self._handler_failed(Failure())
                return
        self._finish()

    def _prepare(self) -> Any:
        """Return the function to run in a thread, by the current routes. Called on the reactor when a thread is free."""
        assert self._context is not None
        hook = self._current_hook()
        if self._route.placement is not Placement.THREAD:
            raise RouteChanged
        self.hook = self._context.hook = hook
        self._began = self.request.site.now()
        return HandlerCall(self, self._context, hook, self._captures)

    def still_runs(self, hook: Hook) -> bool:
        """Return whether the hook is still that of the route. May be called in any thread."""
        return self._route.hook is hook and not self._services.routes.held(self._route.owner)

    def _current_hook(self) -> Hook:
        """Return the hook of the matched route; raises RouteChanged if the request must be matched again."""
        hook = self._route.hook
        assert self._context is not None
        if self.responded or hook is None or self._services.routes.held(self._route.owner):
            raise RouteChanged
        if hook.declaration != self._context.hook.declaration:
            raise RouteChanged
        return hook

    # Responses.

    def _respond_with(self, value: Any) -> Any:
        context = self._context
        assert context is not None
        if type(value) is not PreparedResponse:
            if type(value) is ReactorValue:
                value = value.value
            simple = None if context.after else simple_response(value)
            if simple is not None:
                self._send(simple)
                return None
            with context.active():
                value = prepare_response(value, context)
        if type(value) is ReactorValue:
            return self._respond_later(value.value)
        self._send(value)
        return None

    def _send(self, response: PreparedResponse) -> None:
        request = self.request
        if not self.responded:
            self.status = response.status
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
                request, response, self._context, self._services, self.timeout, self._stream_begins, self._streamed
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
        if failure is not None and isinstance(failure.value, Problem):
            self._send_error(failure.value)
        elif failure is not None and isinstance(failure.value, Overloaded) and not self.responded:
            self._send_unavailable(str(failure.value), failure.value.retry_after)
        elif failure is not None:
            self._handler_failed(failure)
        self._finish()

    def _respond_later(self, value: Any) -> Any:
        if isinstance(value, Deferred):
            return value.addCallback(self._respond_with)
        if IResource.providedBy(value):
            self._render(value)
            return None
        if isinstance(value, klein.Response):
            values = {name: [item] if isinstance(item, (str, bytes)) else item for name, item in value.headers.items()}
            encoded = Headers(cast(dict[str, Any], values)).getAllRawHeaders()
            headers = [(name.lower(), item) for name, items in encoded for item in items]
            return self._with_body(value.body, value.code, headers)
        if IResponse.providedBy(value):
            kinds = value.headers.getRawHeaders(b"Content-Type") or [b"application/octet-stream"]
            return readBody(value).addCallback(self._proxied, value.code, [(b"Content-Type", kinds[0])])
        return flattenString(cast(IRequest, self.request), value).addCallback(self._proxied, 200, HTML)

    def _proxied(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        # As a handler's tuple, so that headers such as Content-Length, which depend on the connection, are left out.
        self._respond_with((body, status, [(name.decode(), value.decode("latin-1")) for name, value in headers]))

    def _with_body(self, body: Any, status: int, headers: list[tuple[bytes, bytes]]) -> Any:
        if isinstance(body, (str, bytes)):
            return self._proxied(body.encode() if isinstance(body, str) else body, status, headers)
        return flattenString(cast(IRequest, self.request), body).addCallback(self._proxied, status, headers)

    def _render(self, resource: Any) -> None:
        request = self.request
        if self.responded or request.finished:
            self._finish()
            return
        request.content.seek(0)
        request.notifyFinish().addBoth(self._rendered)
        request.render(resource)

    def _rendered(self, _: object) -> None:
        if not self.responded:
            self.status = self.request.code
        self._finish()

    # Errors.

    def _failed(self, failure: Failure) -> Any:
        error = failure.value
        if isinstance(error, RouteChanged):
            self._dispatch_again()
        elif (problem := problem_of(error)) is not None:
            break_cycles(error)
            failure.cleanFailure()
            if problem.status == 503:
                self.log.warn("A webhook gets 503: {reason}", reason=str(error))
            self._send_error(problem)
        elif isinstance(error, Overloaded) and self.hook is None:
            self._send_unavailable(str(error), error.retry_after)
        elif isinstance(error, PoolStopped) and self.hook is None:
            self._send_unavailable("the service is stopping", 10.0)
        elif isinstance(error, HTTPException):
            break_cycles(error)
            failure.cleanFailure()
            self.note_rejection(error)
            return self._respond_with(error)
        else:
            self._handler_failed(failure)
        return None

    def note_rejection(self, error: HTTPException) -> None:
        """Note the reason of a response that a handler has chosen with `abort`. May be called in any thread."""
        self.reason = self.reason or error.description or ""

    def _conversion_failed(self, failure: Failure) -> None:
        """Respond to an error that occurred while the handler's return value was converted into a response."""
        if isinstance(failure.value, HTTPException):
            try:
                self._respond_with(failure.value)
                return
            except BaseException:
                failure = Failure()
        self._handler_failed(failure)

    def _handler_failed(self, failure: Failure) -> None:
        request = self.request
        hook = self.matched
        self.log.failure(
            "{webhook} failed on {method} {path} (request {request_id})",
            failure=failure,
            webhook="-" if hook is None else hook.full_name,
            method=request.method.decode("ascii"),
            path=shown_path(request.path),
            request_id=request.request_id,
        )
        if hook is not None:
            self._services.events.report(lambda events: events.handler_failed(hook, request.request_id, failure))
        self.reason = self.reason or f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
        self._send_error(Problem(500, "the handler failed; the log has the details under this request id"))

    def deadline_passed(self) -> None:
        """Respond with 504, or with 503 if no handler has started. The sweeper calls this."""
        hook, request = self.hook, self.request
        if self.responded:
            self._settle()
        elif hook is None:
            self._send_unavailable(f"the handler did not start within {self.timeout:g} s", 10.0)
        else:
            self._services.events.report(lambda events: events.handler_overdue(hook, request.request_id, self.timeout))
            self._respond_to_error(
                Problem(504, f"the handler did not respond within {self.timeout:g} s; it is still running")
            )
            self.responded = True
            self._settle()

    def _send_unavailable(self, detail: str, seconds: float) -> None:
        self.retry_after = seconds
        self._send_error(Problem(503, detail, retry_after(seconds)))

    def _send_error(self, problem: Problem) -> None:
        self._respond_to_error(problem)
        self._finish()

    def _respond_to_error(self, problem: Problem) -> None:
        self.status, self.reason = problem.status, self.reason or problem.detail
        self.request.fail(problem)

    def _finish(self) -> None:
        """Note that the handler has ended."""
        self.responded = True
        self._settle()
        if self._began is not None:
            site = self.request.site
            site.counts.add_handler(self._route.label, self.status, site.now() - self._began)
            self._began = None
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.ended(self)

    def _settle(self) -> None:
        """Note that the request has its response."""
        if not self._settled:
            self._settled = True
            self._services.sweeper.forget(self)
            self._services.in_flight.leave()
            if self._recorder is not None:
                self._recorder.responded(self)
            self.request.drop_body()
