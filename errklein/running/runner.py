"""The one place that calls plugins' code."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.running.coroutines import begin, loop_of
from errklein.running.in_flight import InFlightCounter
from errklein.running.placement import Placement, place
from errklein.running.pool import WorkerPool

# What handlers return most; no need to ask these whether they can be awaited.
_VALUES = frozenset({type(None), str, bytes, dict, list, tuple, int, bool})

Prepare = Callable[[], Callable[[], Any]]


@dataclass(frozen=True)
class Going:
    """A method that is running: whose, its name, and since when on the reactor's clock, in seconds."""

    subject: Any
    name: str
    since: float


class Runner:
    """Runs handlers of every kind where each is safe, and knows which are running.

    Each handler runs in a copy of its caller's context, in whichever thread.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._tally = InFlightCounter()
        self._going: dict[object, Going] = {}

    def run(self, handler: Callable[..., Any], *args: Any, pool: WorkerPool, **kwargs: Any) -> Deferred[Any]:
        """Call the handler with the arguments, on the reactor or in `pool`, and wait for what it returns.

        The Deferred fires on the reactor with the result (of the coroutine or Deferred, if the handler returned one),
        or fails with whatever the handler raised, with Overloaded or with PoolStopped.
        """
        if place(handler) is Placement.REACTOR:
            return self.call(handler, *args, **kwargs)
        return self.call_in(pool, lambda: partial(handler, *args, **kwargs))

    def each(
        self, deliver: Callable[[Any], Any], handler: Callable[..., Any], *args: Any, pool: WorkerPool
    ) -> Deferred[None]:
        """As `run`, for a generator function, plain or `async`: `deliver` gets each item as soon as it is yielded.

        `deliver` is called where the generator runs, in its context. On the reactor it gets what an item that can be
        awaited has come to; in a thread, where nothing can be awaited, the item itself.
        """
        if place(handler) is Placement.REACTOR:
            return self.call(_drain_on_reactor, handler, deliver, args)
        return self.call_in(pool, lambda: partial(_drain, handler, deliver, args))

    def settle(self, awaitable: Awaitable[Any]) -> Deferred[Any]:
        """What a coroutine, a Deferred or anything else that can be awaited comes to. Called on the reactor."""
        settled = self._settle(awaitable)
        return settled if isinstance(settled, Deferred) else succeed(settled)

    def call(self, handler: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """As `run`, for a handler that is known to be placed on the reactor."""
        try:
            result = self.begin(handler, *args, **kwargs)
        except BaseException:
            return fail(Failure())
        return result if isinstance(result, Deferred) else succeed(result)

    def begin(self, handler: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As `call`, but what is there at once is returned as it is, and what is raised at once is raised."""
        subject = _subject(partial(handler, *args) if handler in _DRAINS else handler)
        self._enter(subject)
        try:
            result = copy_context().run(self._start, handler, args, kwargs)
        except BaseException:
            self._leave(subject)
            raise
        if isinstance(result, Deferred):
            self._note(result, subject, handler if handler not in _DRAINS else args[0])
            return result.addBoth(self._left, subject, result)
        self._leave(subject)
        return result

    def call_in(self, pool: WorkerPool, prepare: Prepare, *, admitted: bool = False) -> Deferred[Any]:
        """As `run`, for a handler that is known to be placed in a thread.

        `prepare` is called on the reactor when a thread of the pool is free, and returns what to call there; so the
        handler can be chosen at the last moment. `admitted` is as for `WorkerPool.run`.
        """
        context = copy_context()
        subject: Any = None
        key = object()

        def prepared() -> Callable[[], Any]:
            nonlocal subject
            job = prepare()
            subject = _subject(job)
            if subject is not None:
                self._tally.enter(id(subject))
                self._note(key, subject, _method(job))
            return partial(context.run, job)

        def end(result: Any) -> Any:
            if inspect.iscoroutine(result) or isinstance(result, Deferred):
                self.log.warn(
                    "{plugin}: a handler that ran in a thread returned {result}, which is now continued on the "
                    "reactor; mark the handler with @on_reactor, or make it async def",
                    plugin=type(subject).__name__,
                    result=type(result).__name__,
                )
                result = context.run(self._settle, result)
            if isinstance(result, Deferred):
                return result.addBoth(self._left, subject, key)
            self._going.pop(key, None)
            self._leave(subject)
            return result

        def name() -> str:
            return describe(self._going[key]) if key in self._going else "a function that isn't a plugin's method"

        self._tally.enter()
        return pool.run(prepared, admitted=admitted, name=name).addBoth(end)

    def running(self, subject: Any = None) -> int:
        """How many handlers of `subject`, a plugin's instance, run now; without one, of all, those that wait for a
        thread included."""
        return self._tally.count(None if subject is None else id(subject))

    def going_on(self) -> list[Going]:
        """The methods that run now, in the order in which they began."""
        return list(self._going.values())

    def when_idle(self, subject: Any = None) -> Deferred[None]:
        """Fires as soon as no handler of `subject`, a plugin's instance, or none at all, is running or waiting."""
        return self._tally.when_none(None if subject is None else id(subject))

    def _start(self, handler: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return self._settle(handler(*args, **kwargs))

    def _settle(self, result: Any) -> Any:
        """Whatever it takes to have the result: a Deferred for what can be awaited, else the value itself."""
        if type(result) in _VALUES:
            return result
        if inspect.iscoroutine(result):
            return begin(result, loop_of(self._reactor))
        if not isinstance(result, Deferred) and isinstance(result, Awaitable):
            return begin(_awaited(result), loop_of(self._reactor))
        return result

    def _enter(self, subject: Any) -> None:
        self._tally.enter()
        if subject is not None:
            self._tally.enter(id(subject))

    def _note(self, key: object, subject: Any, handler: Any) -> None:
        if subject is not None:
            self._going[key] = Going(subject, getattr(handler, "__name__", repr(handler)), self._reactor.seconds())

    def _left(self, result: Any, subject: Any, key: object) -> Any:
        self._going.pop(key, None)
        self._leave(subject)
        return result

    def _leave(self, subject: Any) -> None:
        if subject is not None:
            self._tally.leave(id(subject))
        self._tally.leave()


def describe(going: Going) -> str:
    """The name of the method for the log: the plugin's name, or the class of another object, a dot, and the method's name."""
    return f"{getattr(going.subject, 'name', None) or type(going.subject).__name__}.{going.name}"


def _function(handler: Any) -> Any:
    return handler.__func__ if inspect.ismethod(handler) else handler


def _method(job: Any) -> Any:
    """What is called in the end."""
    while isinstance(job, partial):
        job = job.args[0] if job.func in _DRAINS else job.func
    return job


def _subject(job: Any) -> Any:
    """The plugin's instance whose method the job is; None for anything else."""
    return getattr(_method(job), "__self__", None)


def _drain(handler: Callable[..., Any], deliver: Callable[[Any], Any], args: Any) -> None:
    for item in handler(*args):
        deliver(item)


async def _drain_on_reactor(handler: Callable[..., Any], deliver: Callable[[Any], Any], args: Any) -> None:
    if inspect.isasyncgenfunction(_function(handler)):
        async for item in handler(*args):
            deliver(await item if isinstance(item, Awaitable) else item)
    else:
        for item in handler(*args):
            deliver(await item if isinstance(item, Awaitable) else item)


_DRAINS = (_drain, _drain_on_reactor)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
