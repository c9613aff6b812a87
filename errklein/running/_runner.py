"""Runner, which makes all calls of plugins' code, and queues of work: serial ones, one for each key, and in time slices."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Hashable
from contextvars import Context, copy_context
from copy import copy
from dataclasses import dataclass
from functools import partial
from types import CoroutineType
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from errklein.chat.handles import Handle, without_handle
from errklein.running._limits import cancel_timers, result_within
from errklein.running._placement import Placement, placement_of
from errklein.running.context import origin
from errklein.running.pool import WorkerPool
from errklein.running.reactors import start_coroutine
from errklein.running.threads import ThreadWaits, loop_of

# The most frequent types of results, for which no check for an awaitable is needed.
_VALUES = frozenset({type(None), str, bytes, dict, list, tuple, int, bool})
Prepare = Callable[[], Callable[[], Any]]


class InFlightCounter:
    """Counts running work by key; None is the key of other work. Use it on the reactor only."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, list[Deferred[None]]] = {}

    def enter(self, key: Hashable = None) -> None:
        self._counts[key] = self._counts.get(key, 0) + 1

    def leave(self, key: Hashable = None) -> None:
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
            return
        del self._counts[key]
        if self._waiting:
            self._fire_waiting(key)

    def count(self, key: Hashable = None) -> int:
        """Return the number of works running under the key; without a key, of all."""
        return sum(self._counts.values()) if key is None else self._counts.get(key, 0)

    def when_none(self, key: Hashable = None) -> Deferred[None]:
        """Return a Deferred that fires when nothing is running under the key, or at all, which may be now."""
        if not self.count(key):
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.setdefault(key, []).append(waiting)
        return waiting

    def _fire_waiting(self, key: Hashable) -> None:
        waiting = self._waiting.pop(key, []) if key is not None else []
        if not self._counts:
            waiting += self._waiting.pop(None, [])
        for one in waiting:
            one.callback(None)


class RunningMethod(NamedTuple):
    """A running method, its object, which is None for a function, and its start time on the reactor's clock."""

    subject: Any
    method: Any
    since: float

    @property
    def name(self) -> str:
        return str(getattr(self.method, "__name__", None) or repr(self.method))

    def __str__(self) -> str:
        return f"{getattr(self.subject, 'name', None) or type(self.subject).__name__}.{self.name}"


_NOT_BEGUN = RunningMethod(None, None, 0.0)


class Runner:
    """Runs handlers where each may run, in a copy of the caller's context, and keeps track of running ones."""

    log = Logger()

    def __init__(self, reactor: Any, pool: WorkerPool) -> None:
        self.pool = pool  # the threads of blocking handlers
        self._reactor = reactor
        self._loop = loop_of(reactor)
        self._in_flight = InFlightCounter()
        self._calls: dict[object, RunningMethod] = {}  # the calls that wait or run in a thread

    def using(self, pool: WorkerPool) -> Runner:
        """Return a runner with the threads of another pool, which counts and lists its handlers together with those of this one."""
        other = copy(self)
        other.pool = pool
        return other

    def run(self, handler: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Call the handler with the arguments, on the reactor or in the pool. The Deferred fires on the reactor with the
        result, after awaiting a coroutine or Deferred. It fails with the handler's exception, or with Overloaded or
        PoolStopped. What `send` returns counts as None here and in the other methods; the network isn't waited for."""
        if placement_of(handler) is Placement.REACTOR:
            return self.call(handler, *args, **kwargs)
        return self.call_in(lambda: partial(handler, *args, **kwargs))

    def run_generator(self, deliver: Callable[[Any], Any], handler: Callable[..., Any], *args: Any) -> Deferred[None]:
        """Run a generator function, plain or `async`, as `run` does. `deliver` is called with each item when it is
        yielded. `deliver` is called where the generator runs, in its context. On the reactor, awaitable items are
        awaited before; in a thread, where nothing can be awaited, `deliver` gets the item itself."""
        if placement_of(handler) is Placement.REACTOR:
            return self.call(_drain_on_reactor, handler, deliver, args)
        return self.call_in(lambda: partial(_drain, handler, deliver, args))

    def result_of(self, awaitable: Awaitable[Any]) -> Deferred[Any]:
        """Return the result of a coroutine, Deferred or other awaitable. Call it on the reactor."""
        return maybeDeferred(self._awaited, awaitable, copy_context())

    def call(self, handler: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Call a handler that is placed on the reactor."""
        return maybeDeferred(self.start_in, copy_context(), handler, args, kwargs)

    def start(self, handler: Callable[..., Any], *args: Any) -> Any:
        """Call the handler, as `run` does, but return or raise the result of one on the reactor that doesn't wait."""
        if placement_of(handler) is Placement.REACTOR:
            return self.start_in(copy_context(), handler, args, {})
        return self.call_in(lambda: partial(handler, *args))

    def start_in(self, context: Context, handler: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        """Call a handler on the reactor as `start` does, in a context that is used for nothing else."""
        method = _method(args[0] if handler is _drain_on_reactor else handler)
        subject = getattr(method, "__self__", None)
        key = None if subject is None else id(subject)
        self._in_flight.enter(key)
        try:
            result = context.run(handler, *args, **kwargs)
            if type(result) not in _VALUES:
                result = self._awaited(result, context)
        except BaseException:
            self._in_flight.leave(key)
            raise
        if isinstance(result, Deferred):
            # Several calls may return the same Deferred.
            call = object()
            self._calls[call] = RunningMethod(subject, method, self._reactor.seconds())
            return result.addBoth(self._ended, call)
        self._in_flight.leave(key)
        return result

    def call_in(self, prepare: Prepare, *, context: Context | None = None, follow_up: bool = False) -> Deferred[Any]:
        """Call a handler that is placed in a thread, as `run` does. `prepare` is called on the reactor when a thread of the
        pool is free, and returns the function to call there, so the handler is chosen at the last moment. The `context`, by
        default a copy of the current one, is used for nothing else. For `follow_up` see `WorkerPool.run`."""
        context = copy_context() if context is None else context
        call = object()

        def prepared() -> Callable[[], Any]:
            job = prepare()
            method = _method(job)
            subject = getattr(method, "__self__", None)
            if subject is not None:
                self._in_flight.enter(id(subject))
                self._in_flight.leave()
            self._calls[call] = RunningMethod(subject, method, self._reactor.seconds())
            return partial(context.run, job)

        def end(result: Any) -> Any:
            if isinstance(result, Handle):
                result = None
            elif type(result) not in _VALUES and (inspect.iscoroutine(result) or isinstance(result, Deferred)):
                self.log.warn(
                    "{plugin}: a handler in a thread returned {result}, which continues on the reactor; mark the "
                    "handler with @on_reactor, or make it async def",
                    plugin=type(self._calls[call].subject).__name__,
                    result=type(result).__name__,
                )
                result = self._awaited(result, context)
            if isinstance(result, Deferred):
                return result.addBoth(self._ended, call)
            return self._ended(result, call)

        def name() -> str:
            running = self._calls.get(call, _NOT_BEGUN)
            return "a function that isn't a plugin's method" if running.subject is None else str(running)

        self._in_flight.enter()
        return self.pool.run(prepared, follow_up=follow_up, name=name, origin=context.get(origin, "")).addBoth(end)

    def running(self, subject: Any = None) -> int:
        """Return the number of running handlers of a plugin's instance, or of all with those that wait for a thread."""
        return self._in_flight.count(None if subject is None else id(subject))

    def running_methods(self) -> list[RunningMethod]:
        return [running for running in self._calls.values() if running.subject is not None]

    def when_idle(self, subject: Any = None) -> Deferred[None]:
        """Return a Deferred that fires when no handler of a plugin's instance, or none at all, is running or
        waiting."""
        return self._in_flight.when_none(None if subject is None else id(subject))

    def _awaited(self, result: Any, context: Context) -> Any:
        if type(result) in _VALUES:
            return result
        if type(result) is CoroutineType:
            return start_coroutine(result, self._loop, context)
        if isinstance(result, Handle):
            return None
        if not isinstance(result, Deferred) and isinstance(result, Awaitable):
            return start_coroutine(_await(result), self._loop, context)
        return result

    def _ended(self, result: Any, call: object) -> Any:
        subject = self._calls.pop(call, _NOT_BEGUN).subject
        self._in_flight.leave(None if subject is None else id(subject))
        # A callback that returned it would wait for the network.
        return None if isinstance(result, Handle) else result


def _method(job: Any) -> Any:
    while isinstance(job, partial):
        job = job.args[0] if job.func in _DRAINS else job.func
    return job


def _drain(handler: Callable[..., Any], deliver: Callable[[Any], Any], args: Any) -> None:
    for item in handler(*args):
        deliver(item)


async def _drain_on_reactor(handler: Callable[..., Any], deliver: Callable[[Any], Any], args: Any) -> None:
    items = handler(*args)
    if isinstance(items, AsyncIterable):
        async for item in items:
            deliver(await item if isinstance(item := without_handle(item), Awaitable) else item)
    else:
        for item in items:
            deliver(await item if isinstance(item := without_handle(item), Awaitable) else item)


_DRAINS = (_drain, _drain_on_reactor)


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


T = TypeVar("T")

NOTICE_AFTER = 10.0  # the time that work waits before `notice` is called, in seconds
TIMEOUT = 5.0  # the time that work waits for work of another key, in seconds
QUEUE_LIMIT = 10_000  # the number of works that may wait in one queue, so that memory is limited if one never ends


class SerialQueue:
    """Runs work one after the other, each in the context of its caller. Work that had to wait begins in a reactor turn of its
    own, so a lot of short work neither blocks the reactor nor recurses. Twisted's DeferredLock recurses, and runs work in the
    context of what released it. Work that has been running for `hung_after` seconds no longer delays the next."""

    def __init__(self, reactor: Any, hung_after: float | None = None) -> None:
        self._reactor = reactor
        self._hung_after = hung_after
        self._waiting: deque[tuple[Context, Callable[[], Any], Deferred[Any]]] = deque()
        self._running: Deferred[Any] | None = None  # the result of the work for which the next waits
        self._next: IDelayedCall | None = None
        self._notices: dict[Deferred[Any], IDelayedCall] = {}

    def run(self, work: Callable[[], Deferred[T]], notice: Callable[[], None] | None = None) -> Deferred[T]:
        """Run the work now or after all before it. If it hasn't begun after NOTICE_AFTER seconds, call `notice`."""
        done: Deferred[T] = Deferred()
        idle = self.idle
        self._waiting.append((copy_context(), work, done))
        if idle:
            self._begin()
        elif notice is not None:
            self._notices[done] = self._reactor.callLater(NOTICE_AFTER, copy_context().run, self._notify, done, notice)
        return done

    @property
    def idle(self) -> bool:
        return self._running is None and self._next is None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def stop(self) -> None:
        self._waiting.clear()
        while self._notices:
            self._notices.popitem()[1].cancel()
        cancel_timers(self._next)
        self._next = None

    def _begin(self) -> None:
        context, work, done = self._waiting.popleft()
        cancel_timers(self._notices.pop(done, None))
        self._running = done
        if self._hung_after is not None:
            self._next = self._reactor.callLater(self._hung_after, self._continue)
        context.run(maybeDeferred, work).addBoth(self._end, done)

    def _notify(self, done: Deferred[Any], notice: Callable[[], None]) -> None:
        del self._notices[done]
        notice()

    def _end(self, result: Any, done: Deferred[Any]) -> None:
        if self._running is done:
            cancel_timers(self._next)
            self._running, self._next = None, self._reactor.callLater(0, self._continue) if self._waiting else None
        done.callback(result)

    def _continue(self) -> None:
        self._running = self._next = None
        if self._waiting:
            self._begin()


class KeyedQueueFull(Exception):
    """The work was not run, since too much work is waiting in its queue."""


@dataclass(frozen=True, eq=False, slots=True)
class QueuedWork:
    key: Hashable
    result: Deferred[Any]


class KeyedQueues:
    """Runs work of one key in order, and work of different keys concurrently. Use it on the reactor only."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._queues: dict[Hashable, SerialQueue] = {}
        self._since: dict[Hashable, float] = {}
        self._waits: dict[Hashable, Deferred[Any]] = {}  # what the first work of a queue waits for in another one
        self._in_flight = InFlightCounter()

    def run(self, key: Hashable, work: Callable[[], Deferred[Any]], after: QueuedWork | None = None) -> QueuedWork:
        """Run the work after all work before it in the queue of the key, which may be now. It also waits for the work `after`
        of another key, for at most TIMEOUT seconds; not at all if that queue's current work has been running for so long.
        So slow work delays only its own queue. If the queue is full, the result fails with KeyedQueueFull."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = SerialQueue(self._reactor)
        if queue.waiting >= QUEUE_LIMIT:
            return QueuedWork(key, fail(KeyedQueueFull(f"{queue.waiting} calls are waiting")))
        self._in_flight.enter()
        return QueuedWork(key, queue.run(partial(self._begin, key, work, after)).addBoth(self._ended, key))

    def when_idle(self) -> Deferred[None]:
        return self._in_flight.when_none()

    def stop(self) -> None:
        for queue in self._queues.values():
            queue.stop()
        while self._waits:
            self._waits.popitem()[1].cancel()

    def _begin(self, key: Hashable, work: Callable[[], Deferred[Any]], after: QueuedWork | None) -> Deferred[Any]:
        if after is None or after.result.called or self._is_slow(after.key):
            return self._start(key, work)
        waiting = self._waits[key] = result_within(self._reactor, TIMEOUT, after.result)
        return waiting.addBoth(self._go_on, key, work)

    def _go_on(self, _: object, key: Hashable, work: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        # A stopped queue has forgotten the work, which must neither begin nor end then.
        return Deferred() if self._waits.pop(key, None) is None else self._start(key, work)

    def _start(self, key: Hashable, work: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        self._since[key] = self._reactor.seconds()
        return work()

    def _is_slow(self, key: Hashable) -> bool:
        since = self._since.get(key)
        return since is not None and self._reactor.seconds() - since >= TIMEOUT

    def _ended(self, result: Any, key: Hashable) -> Any:
        self._since.pop(key, None)
        if self._queues[key].idle:
            del self._queues[key]
        self._in_flight.leave()
        return result


class TimeSlices:
    """Runs work in order: at once, until it has used `share` seconds of this reactor turn, then in the next turn. Work must
    not raise exceptions. Twisted's Cooperator keeps no order between tasks, and begins none of them before the next turn."""

    def __init__(self, reactor: Any, share: float = 0.01) -> None:
        self._reactor = reactor
        self._share = share
        self._waiting: deque[Callable[[], object]] = deque()
        self._next: IDelayedCall | None = None
        self._until = 0.0

    def do(self, work: Callable[[], object]) -> None:
        if not self._waiting and self.has_time():
            work()
        else:
            self._waiting.append(work)

    def stop(self) -> None:
        self._waiting.clear()
        cancel_timers(self._next)
        self._next = None

    def has_time(self) -> bool:
        if self._next is None:
            self._until = self._reactor.seconds() + self._share
            self._next = self._reactor.callLater(0, self._turn)
            return True
        return bool(self._reactor.seconds() < self._until)

    def _turn(self) -> None:
        self._next = None
        while self._waiting and self.has_time():
            self._waiting.popleft()()


@dataclass(frozen=True)
class Workers:
    """Runners of plugins' code: commands in one pool, the rest in another. Filters and callbacks queue by plugin. `core` runs
    the core's own commands, also while plugins hold all threads. `values` reads and writes plugins' values."""

    commands: Runner
    core: Runner
    others: Runner
    values: WorkerPool
    queues: KeyedQueues
    waits: ThreadWaits
