"""A delivery, which is one request for a webhook: run, respond, record; and the lanes that large bodies pass before.

A body of at most 1 MiB stays in memory from its arrival to its response, while there is room for it (`request.BodyMemory`);
other bodies are in temporary files. A body in a file, or one that takes long to decode, passes a lane: it waits for memory, is
read and decoded in a thread, and leaves when its handler has ended. Small bodies never wait for large ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException

from errklein.listening import client_of
from errklein.ports.outbox import OutboxStore, RoomUnavailable
from errklein.running import NEVER, DeadlineSweeper, Overloaded, Placement, PoolStopped, Runner, TimeSlices, WorkerPool
from errklein.text.masking import masker
from errklein.web import _responses
from errklein.web._error_pages import Problem, problem_of, retry_after
from errklein.web._responses import PreparedResponse, ReactorValue, ResponseStream, prepare_response, simple_response
from errklein.web._routes import Route, Routes
from errklein.web._settings import BotParts, WebSettings
from errklein.web.facade import Flask
from errklein.web.facade.request import RequestContext
from errklein.web.request import WebhookRequest, shown_path
from errklein.webhooks.deliveries import MAX_TRACEBACK, Outcome

if TYPE_CHECKING:
    from errklein.web._checks import Checks, Recording
    from errklein.web._intake import Intake


T = TypeVar("T")

SMALL = 256 * 1024  # the size of the largest body in the lane of small ones; each takes at most 50 ms to decode
# The memory of a body and its decoded value, as a multiple of the body's size; up to 30 for small bodies of empty lists.
WEIGHT = 8


class Lanes:
    """The lanes of a web server. With one thread for large bodies, others wait least for the interpreter. Of the memory for all
    bodies, those that wait get an eighth, those in the lane of small bodies a quarter, those in that of large ones the rest."""

    def __init__(self, clock: IReactorTime, memory: int | None, small_pool: WorkerPool, large_pool: WorkerPool) -> None:
        limit = math.inf if memory is None else memory
        self._small = Lane(clock, small_pool, limit / 4)
        self._large = Lane(clock, large_pool, limit * 5 / 8)

    def run(self, request: WebhookRequest, decode: Callable[[], T], handle: Callable[[T], Any]) -> Deferred[Any]:
        size, lane = request.body_size, self._small if request.body_size <= SMALL else self._large
        return lane.run(client_of(getattr(request.client, "host", "")), size, decode, handle)

    def stop(self) -> None:
        self._small.stop()
        self._large.stop()


class Lane:
    """Lets bodies enter when a thread can decode them, while the sum of their weights is within a limit. Clients get
    the same share: the one with the least weight is next, with its smallest body, and none gets more than half of the
    limit. A body that exceeds this alone enters when no other is in."""

    def __init__(self, clock: IReactorTime, pool: WorkerPool, limit: float) -> None:
        self._clock, self._pool, self._limit = clock, pool, limit
        self._used = self._decoding = 0
        self._of_client: Counter[str] = Counter()
        self._waiting: dict[Deferred[None], tuple[str, int]] = {}
        self._letting_in = False

    def run(self, client: str, size: int, decode: Callable[[], T], handle: Callable[[T], Any]) -> Deferred[Any]:
        """Decode a body, pass the result to `handle`, and return a Deferred of that function's result. It may fail with
        Overloaded or PoolStopped."""
        weight = size * WEIGHT
        entered: Deferred[None] = Deferred(self._waiting.__delitem__)
        self._waiting[entered] = client, weight
        self._let_in()
        if not entered.called and self._pool.wait is not None:
            entered.addTimeout(self._pool.wait, self._clock, self._overloaded)

        def begin(_: None) -> Deferred[Any]:
            decoded: Deferred[Any] = self._pool.run(lambda: decode).addBoth(self._decoded)
            return decoded.addCallback(handle).addBoth(self._leave, client, weight)

        return entered.addCallback(begin)

    def stop(self) -> None:
        self._pool.stop()
        waiting, self._waiting = self._waiting, {}
        for entered in waiting:
            entered.errback(PoolStopped(f"the {self._pool.name} pool has stopped"))

    def _let_in(self) -> None:
        if self._letting_in:
            # A body has left before its `decode` has returned; the loop goes on below.
            return
        self._letting_in = True
        while self._waiting and self._decoding < self._pool.size:
            entered, (client, weight) = min(
                self._waiting.items(), key=lambda one: (self._of_client[one[1][0]], one[1][1])
            )
            of_client = self._of_client[client] + weight
            if self._used and max(self._used + weight, 2 * of_client) > self._limit:
                break
            del self._waiting[entered]
            self._used += weight
            self._of_client[client] = of_client
            self._decoding += 1
            entered.callback(None)
        self._letting_in = False

    def _decoded(self, result: Any) -> Any:
        self._decoding -= 1
        self._let_in()
        return result

    def _leave(self, result: Any, client: str, weight: int) -> Any:
        self._used -= weight
        self._of_client[client] -= weight
        if not self._of_client[client]:
            del self._of_client[client]
        self._let_in()
        return result

    def _overloaded(self, _: Failure | None, seconds: float) -> None:
        raise Overloaded(self._pool.name, f"no memory for a body became free in {seconds:g} s", seconds)


# Larger responses are sent in pieces of this size, so that the deadline for a client that stops reading applies to each piece.
_PIECE = 256 * 1024
_MANY_CONTAINERS, _QUICK_SIZE = 1000, 12 * 1024


@dataclass(frozen=True)
class WebServices:
    """What deliveries use. Recorded ones have a `runner` and `lanes` of their own. Streamed responses share `time_slices`, the
    time slice of each turn of the reactor. `open_requests` watches the deadlines of requests without a response."""

    settings: WebSettings
    runner: Runner
    lanes: Lanes
    time_slices: TimeSlices
    open_requests: DeadlineSweeper
    bot: BotParts
    routes: Routes
    intake: Intake
    checks: Checks
    recording: Recording
    outbox_store: OutboxStore | None = None  # the messages of handlers for which responses wait; None if they don't
    flask: Flask = field(default_factory=Flask)  # the object behind `flask.current_app`


class RouteChanged(Exception):
    """The plugin is being reloaded, or was, since the request was admitted, and the handler wasn't called."""


class Delivery:
    """One request for a webhook, which has passed the checks of its route, until its handler has ended.

    - Run: `start` calls the handler: on the reactor, or when a thread is free, and after a large body was decoded in another
      thread. A handler is never stopped: it runs to its end when the client has disconnected or got 504. If the plugin was
      reloaded or deactivated meanwhile, the handler isn't called, and the request takes its present route.
    - Respond: `_respond` gets what the handler has returned or raised. The client gets exactly one response: this, an error, or
      504 when `deadline` has passed.
    - Record: `_note_response` notes the response, `_end` the end of the handler, each once.

    `context` has the request, whose body is complete, and the webhook for which it was admitted. `when_ended` stores the outcome
    at the end, if the request is recorded already. Without it, the delivery is logged when it has its response.
    """

    log = Logger(namespace="errklein.web")

    def __init__(
        self, route: Route, context: RequestContext, when_ended: Callable[[Delivery], None] | None = None
    ) -> None:
        self.hook = context.hook
        self.request = context.incoming
        self.status = 0  # the status of the response; 0 until it begins
        self.reason = self.traceback = ""  # those of an error response, the end of the traceback if there is one
        self.services = context.services
        self._route = route
        self.context = context
        self._when_ended = when_ended
        self._began: float | None = None  # the time at which the handler was called; None before
        self.retry_after = 0.0  # the seconds after which the handler, which was not called, can be called
        self._overdue = False  # whether the client got 504 while the handler was running
        self._ended = False  # whether the handler has ended, or won't be called
        self._waits = False  # whether the client waits for a response that could not be sent at once
        self.timeout = self.hook.declaration.timeout or self.services.settings.timeout
        self.deadline = self.request.begun + self.timeout

    # Run.

    def start(self) -> None:
        if self._is_current():
            self._run()
        else:
            self._route_again()
        if not self._ended:
            # Until the response, a disconnected client counts with its connection, and the payload with its body.
            self._waits = True
            self.request.body_users += 1
            self.services.open_requests.watch(self)

    def _is_current(self) -> bool:
        """Return whether the hook may be called: its plugin isn't being reloaded, and has not been. For any thread. A request
        that was admitted under other options of the operator is still handled by them."""
        hook = self._route.hook
        is_same = hook is self.hook or (hook is not None and hook.handler == self.hook.handler)
        return is_same and self._route.owner not in self.services.routes.held

    def _run(self) -> None:
        result: Any
        try:
            is_slow = takes_long_to_decode(self.request, self.services.settings.off_reactor_size)
            result = self._decode_first() if is_slow else self._call_handler()
        except BaseException:
            result = Failure()
        if isinstance(result, Deferred):
            result.addBoth(self._handler_ended)
        else:
            self._handler_ended(result)

    def _decode_first(self) -> Deferred[Any]:
        # The request may get its response meanwhile, 503.
        self.request.body_users += 1
        decoded = self.services.lanes.run(self.request, self.context.decode_ahead, lambda _: self._call_handler())

        def drop_body(result: Any) -> Any:
            self.request.drop_body()
            return result

        return decoded.addBoth(drop_body)

    def _call_handler(self) -> Any:
        runner, context = self.services.runner, self.context
        if self._route.placement is Placement.THREAD:
            return runner.call_in(self._begin_in_thread, context=context.new_context())
        self._begin()
        return runner.start_in(context.new_context(), self.hook.handler, (context.payload(),), context.captures)

    def _begin_in_thread(self) -> Callable[[], Any]:
        """Return the function that a thread, which is free now, is to call: it decodes the payload, calls the handler, and
        prepares the response."""
        self._begin()
        hook, context = self.hook, self.context

        def call() -> Any:
            payload = context.payload()
            # The plugin may have been reloaded since the thread was chosen.
            if not self._is_current():
                raise RouteChanged
            try:
                value = hook.handler(payload, **context.captures)
            except HTTPException as error:
                value = error
                break_cycles(error)
            response = prepare_response(value, context)
            # The runner continues a Deferred or a coroutine on the reactor.
            return response.value if type(response) is ReactorValue else response

        # By these, the runner counts running handlers, and `!status plugins` names them.
        vars(call).update(__self__=getattr(hook.handler, "__self__", None))
        call.__name__ = hook.name
        return call

    def _begin(self) -> None:
        if self._ended or not self._is_current():
            raise RouteChanged
        self._began = self.request.site.now()

    def _route_again(self) -> None:
        """Pass the request to its present route when the reload has ended. One that is recorded may be repeated instead."""
        routes, owner = self.services.routes, self._route.owner
        if self._ended:
            return
        if self.status:
            # The client got 504 before the thread began.
            self._end()
            return
        self._began = None
        if owner in routes.held:
            routes.when_released(owner).addCallback(lambda _: self._route_again())
        elif self._when_ended is not None:
            self._send_unavailable("the webhook is being reloaded", 10.0)
        else:
            self._ended = True
            self.services.intake.route(self.request)
            self._stop_waiting()

    # Respond.

    def _handler_ended(self, result: Any) -> Deferred[None] | None:
        """Respond with a handler's result when all accepted messages are on disk, also those of others; to its Failure at once."""
        if isinstance(result, Failure) and result.check(RoomUnavailable):
            # The message stays in the outbox. A second attempt would send it twice.
            self.log.warn("A webhook has succeeded: {reason}", reason=result.getErrorMessage())
            break_cycles(result.value)
            result = None
        store = self.services.outbox_store
        if store is not None and store.unwritten and not self.status and not isinstance(result, Failure):
            return store.flush().addBoth(lambda _: self._respond(result))
        self._respond(result)
        return None

    def _respond(self, result: Any) -> None:
        if self._ended:
            return
        try:
            if isinstance(result, Failure):
                self._send_failure(result)
            else:
                self._send_value(result)
        except BaseException:
            self._conversion_failed(Failure())

    def _send_value(self, value: Any) -> None:
        context = self.context
        prepared: PreparedResponse | ReactorValue | None
        prepared = value if type(value) is PreparedResponse else None if context.after else simple_response(value)
        if prepared is None:
            with context.active():
                prepared = prepare_response(value, context)
        if isinstance(prepared, ReactorValue):
            self._send_later(prepared.value)
        else:
            self._send(prepared)

    def _send_later(self, value: Any) -> None:
        """Respond with a value that is rendered, or converted when the reactor has got its parts."""

        def rendered(_: object) -> None:
            self.status = self.status or self.request.code
            self._end()

        if not IResource.providedBy(value):
            converted = Deferred.fromCoroutine(_responses.value_of(value, self.request)).addCallback(self._send_value)
            converted.addErrback(self._conversion_failed)
        elif self.status or self.request.finished:
            self._end()
        else:
            self.request.content.seek(0)
            self.request.notifyFinish().addBoth(rendered)
            self.request.render(value)

    def _send(self, response: PreparedResponse) -> None:
        request = self.request
        if len(response.body) > _PIECE:
            response = _responses.split_body(response, _PIECE)
        if response.items is not None and not self.status and not request.finished:
            ResponseStream(self, response).resumeProducing()
            return
        if response.close is not None:
            response.close()
        if not self.status:
            request.send_response(response.status, response.headers, response.body)
            self.status, self.reason = response.status, response.reason
        self._end()

    def stream_begins(self, response: PreparedResponse) -> bool:
        """Note that a response begins. Return whether the client is still waiting for it."""
        is_awaited = not self.status
        if is_awaited:
            # From now on, the deadlines of the connection apply, for a client that stops reading.
            self.status, self.reason, self.deadline = response.status, response.reason, NEVER
        return is_awaited

    def streamed(self, response: PreparedResponse, failure: Failure | None) -> None:
        """Note that a response that was begun, or not, has ended, with a failure if there is one."""
        if failure is None:
            self.status = self.status or response.status
            self._end()
        elif isinstance(failure.value, Problem):
            self._send_error(failure.value)
        elif isinstance(failure.value, Overloaded) and not self.status:
            self._send_unavailable(str(failure.value), failure.value.retry_after)
        else:
            self._handler_failed(failure)

    def _send_failure(self, failure: Failure) -> None:
        error = failure.value
        problem = problem_of(error)
        if problem is not None or isinstance(error, HTTPException):
            break_cycles(error)
            failure.cleanFailure()
        if isinstance(error, RouteChanged):
            self._route_again()
        elif problem is not None:
            if problem.status == 503:
                self.log.warn("A webhook gets 503: {reason}", reason=str(error))
            self._send_error(problem)
        elif isinstance(error, Overloaded) and self._began is None:
            self._send_unavailable(str(error), error.retry_after)
        elif isinstance(error, PoolStopped) and self._began is None:
            self._send_unavailable("the service is stopping", 10.0)
        elif isinstance(error, HTTPException):
            self._send_value(error)
        else:
            self._handler_failed(failure)

    def _conversion_failed(self, failure: Failure) -> None:
        if isinstance(failure.value, HTTPException):
            try:
                self._send_value(failure.value)
                return
            except BaseException:
                failure = Failure()
        self._handler_failed(failure)

    def _handler_failed(self, failure: Failure) -> None:
        hook, request = self.hook, self.request
        text, method = "{webhook} failed on {method} {path} (request {request_id})", request.method.decode()
        fields: Any = {"method": method, "path": shown_path(request.path), "request_id": request.request_id}
        self.log.failure(text, failure, webhook=hook.full_name, **fields)
        self.services.bot.report(lambda events: events.handler_failed(hook, request.request_id, failure))
        self.reason = self.reason or f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
        text = failure.getTraceback()
        self.traceback = masker.part(text, max(0, len(text) - MAX_TRACEBACK), len(text))
        self._send_error(Problem(500, "the handler failed; the log has the details under this request id"))

    def deadline_passed(self) -> None:
        """Respond with 504, or with 503 if no handler has started. The sweeper calls this."""
        hook, request = self.hook, self.request
        if self._began is None:
            self._send_unavailable(f"the handler did not start within {self.timeout:g} s", 10.0)
            return
        self.services.bot.report(lambda events: events.handler_overdue(hook, request.request_id, self.timeout))
        self._overdue = True
        self.services.recording.overdue.add(request.delivery_id)
        self._fail(Problem(504, f"the handler did not respond within {self.timeout:g} s; it is still running"))
        self._note_response()

    def _send_unavailable(self, detail: str, seconds: float) -> None:
        self.retry_after = seconds
        self._send_error(Problem(503, detail, retry_after(seconds)))

    def _send_error(self, problem: Problem) -> None:
        self._fail(problem)
        self._end()

    def _fail(self, problem: Problem) -> None:
        self.status, self.reason = problem.status, self.reason or problem.detail
        self.request.fail(problem)

    # Record.

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        if not self._overdue:
            self._note_response()
        site = self.request.site
        if self._began is not None:
            site.counts.add_handler(self._route.label, self.status, site.now() - self._began)
        if self._when_ended is not None:
            self._when_ended(self)
        if self._overdue:
            self.services.recording.overdue.discard(self.request.delivery_id)

    def _note_response(self) -> None:
        self._stop_waiting()
        if self._when_ended is None:
            self.services.recording.log(self.hook, self.request, self.outcome(), self.body)

    def _stop_waiting(self) -> None:
        if self._waits:
            self._waits = False
            self.services.open_requests.forget(self)
            self.request.drop_body()

    def outcome(self) -> Outcome:
        return Outcome(self.status, self.reason, self.request.site.now() - self.request.begun, self.traceback)

    def body(self) -> bytes | None:
        """Return the body for the log; None if it is on disk and was not read."""
        return self.context.body if self.request.on_disk else self.request.body()


def takes_long_to_decode(request: WebhookRequest, large: int) -> bool:
    """Return whether the body of a request must be decoded in a thread. `large` is the size above which each one is."""
    size = request.body_size
    if request.on_disk or size > large:
        return True
    # 64 KB of `[],` take milliseconds, and more than a megabyte of memory.
    return size > _QUICK_SIZE and sum(map(request.body().count, b"[{")) > _MANY_CONTAINERS


def break_cycles(error: BaseException | None) -> None:
    """Remove the traceback and context of an error, whose frames would keep the body until the next garbage collection."""
    if error is not None:
        error.__traceback__ = error.__context__ = None
