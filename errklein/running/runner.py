"""The one place that calls plugins' code."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.running.drive import drive, loop_of
from errklein.running.placement import Placement, place
from errklein.running.pool import WorkerPool

Prepare = Callable[[], Callable[[], Any]]


class Runner:
    """Runs handlers of every kind where each is safe, and knows which are running.

    Each handler runs in a copy of its caller's context, in whichever thread.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._busy: Counter[Any] = Counter()
        self._total = 0
        self._waiters: list[tuple[Any, Deferred[None]]] = []

    def run(
        self,
        handler: Callable[..., Any],
        *args: Any,
        pool: WorkerPool,
        **kwargs: Any,
    ) -> Deferred[Any]:
        """Call the handler with the arguments, on the reactor or in `pool`, and wait for what it returns.

        The Deferred fires on the reactor with the result (of the coroutine or Deferred, if the handler returned one),
        or fails with whatever the handler raised, with Overloaded or with PoolStopped.
        """
        if place(handler) is Placement.REACTOR:
            return self.call(handler, *args, **kwargs)
        return self.call_in(pool, lambda: partial(handler, *args, **kwargs))

    def call(self, handler: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """As `run`, for a handler that is known to be placed on the reactor."""
        subject = getattr(handler, "__self__", None)
        self._enter(subject)
        try:
            result = copy_context().run(self._start, handler, args, kwargs)
        except BaseException:
            self._leave(subject)
            return fail(Failure())
        if isinstance(result, Deferred):
            return result.addBoth(self._left, subject)
        self._leave(subject)
        return succeed(result)

    def call_in(self, pool: WorkerPool, prepare: Prepare) -> Deferred[Any]:
        """As `run`, for a handler that is known to be placed in a thread.

        `prepare` is called on the reactor when a thread of the pool is free, and returns what to call there; so the
        handler can be chosen at the last moment.
        """
        context = copy_context()
        entered: list[Any] = []

        def begin() -> Callable[[], Any]:
            job = prepare()
            subject = getattr(job.func if isinstance(job, partial) else job, "__self__", None)
            entered.append(subject)
            self._enter(subject)
            return partial(context.run, job)

        def end(result: Any) -> Any:
            if inspect.iscoroutine(result) or isinstance(result, Deferred):
                self.log.warn(
                    "{plugin}: a handler that ran in a thread returned {result}, which is now continued on the "
                    "reactor; mark the handler with @on_reactor, or make it async def",
                    plugin=type(entered[0]).__name__,
                    result=type(result).__name__,
                )
                result = context.run(self._settle, result)
            if entered and isinstance(result, Deferred):
                return result.addBoth(self._left, entered[0])
            if entered:
                self._leave(entered[0])
            return result

        return pool.run(begin).addBoth(end)

    def running(self, subject: Any = None) -> int:
        """How many handlers run now: of `subject`, a plugin's instance, or altogether."""
        return self._total if subject is None else self._busy[id(subject)]

    def when_idle(self, subject: Any = None) -> Deferred[None]:
        """Fires as soon as no handler of `subject`, a plugin's instance, or none at all, is running."""
        if not self.running(subject):
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._waiters.append((subject, idle))
        return idle

    def _start(self, handler: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return self._settle(handler(*args, **kwargs))

    def _settle(self, result: Any) -> Any:
        """Whatever it takes to have the result: a Deferred for what can be awaited, else the value itself."""
        if inspect.iscoroutine(result):
            return drive(result, loop_of(self._reactor))
        if not isinstance(result, Deferred) and isinstance(result, Awaitable):
            return drive(_awaited(result), loop_of(self._reactor))
        return result

    def _enter(self, subject: Any) -> None:
        self._total += 1
        if subject is not None:
            self._busy[id(subject)] += 1

    def _left(self, result: Any, subject: Any) -> Any:
        self._leave(subject)
        return result

    def _leave(self, subject: Any) -> None:
        self._total -= 1
        if subject is not None:
            left = self._busy[id(subject)] - 1
            if left:
                self._busy[id(subject)] = left
            else:
                del self._busy[id(subject)]
        if self._waiters:
            idle = [waiter for waiter in self._waiters if not self.running(waiter[0])]
            self._waiters = [waiter for waiter in self._waiters if waiter not in idle]
            for _, waiting in idle:
                waiting.callback(None)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
