"""Calls between the reactor's thread and other threads."""

from __future__ import annotations

import asyncio
import threading
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadable import isInIOThread

T = TypeVar("T")

_THREADS: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The threads of reactors. Twisted itself knows only one reactor's thread per process."""


_CALLS: WeakKeyDictionary[Any, _LoopCalls] = WeakKeyDictionary()


class Stopping(Exception):
    """A wait in a thread was ended because the bot is stopping."""


def loop_of(reactor: Any) -> AbstractEventLoop | None:
    """Return the event loop of the reactor; None if it isn't an asyncio reactor."""
    loop = getattr(reactor, "_asyncioEventloop", None)
    return loop if isinstance(loop, AbstractEventLoop) else None


def deferred_of(future: asyncio.Future[T]) -> Deferred[T]:
    """Return a Deferred of an asyncio future. If it is cancelled, it fails with Twisted's CancelledError, which is an Exception."""

    def failed(failure: Failure) -> NoReturn:
        failure.trap(asyncio.CancelledError)
        raise CancelledError

    return Deferred.fromFuture(future).addErrback(failed)


def register_reactor_thread(reactor: Any) -> None:
    """Register the calling thread as the thread of a reactor that isn't `twisted.internet.reactor`."""
    _THREADS[reactor] = threading.get_ident()


def in_reactor_thread(reactor: Any) -> bool:
    """Return whether the calling thread is the reactor's."""
    thread = _THREADS.get(reactor)
    return bool(isInIOThread() if thread is None else thread == threading.get_ident())


def in_any_reactor_thread() -> bool:
    """Return whether the calling thread is that of a reactor, and so must not wait for others."""
    return bool(isInIOThread() or threading.get_ident() in _THREADS.values())


def on_reactor_soon(reactor: Any, function: Callable[..., Any], *args: Any) -> None:
    """Call the function on the reactor: now in the reactor's thread, otherwise soon."""
    if in_reactor_thread(reactor):
        function(*args)
    else:
        call_from_thread(reactor, function, *args)


def call_from_thread(reactor: Any, function: Callable[..., Any], *args: Any) -> None:
    """Call the function on the reactor soon, after those that were passed before. May be called from any thread. An asyncio
    reactor is woken once for all that wait, without a timer for each. So they may overtake Twisted's `callFromThread`."""
    if not isinstance(reactor, AsyncioSelectorReactor):
        reactor.callFromThread(function, *args)
        return
    calls = _CALLS.get(reactor)
    if calls is None:
        calls = _CALLS.setdefault(reactor, _LoopCalls(reactor))
    calls.add(function, args)


class _LoopCalls:
    log = Logger()

    def __init__(self, reactor: AsyncioSelectorReactor) -> None:
        loop = loop_of(reactor)
        assert loop is not None
        self._loop: AbstractEventLoop = loop
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._is_due = False

    def add(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._waiting.append((function, args))
        # Only a thread that finds the flag cleared wakes the loop. What is appended after the loop has cleared it is called
        # by the run that this thread requests.
        if not self._is_due:
            try:
                self._is_due = True
                # Not in the context of the thread that happens to be first, nor in one that keeps what a call sets.
                self._loop.call_soon_threadsafe(self._run, context=Context())
            except BaseException:
                # The loop is closed, or the thread was interrupted. Later calls must not wait for this one.
                self._is_due = False
                raise

    def _run(self) -> None:
        self._is_due = False
        for _ in range(len(self._waiting)):
            function, args = self._waiting.popleft()
            try:
                function(*args)
            except BaseException:
                # As Twisted does: the others must not be lost, and SystemExit would end the loop.
                self.log.failure("A call from a thread failed")


def unwrapped(result: Any) -> Any:
    """Return the result of a Deferred. Raises the exception of a Failure."""
    if isinstance(result, Failure):
        result.raiseException()
    return result


class _Here(threading.local):
    blocking = False


_here = _Here()


@contextmanager
def blocking_here(blocking: bool = True) -> Iterator[None]:
    """Call blocking handlers in the reactor's thread, where they can't wait, during the `with` block. With False, the
    code in the block is the reactor's again, as in a function that such a handler hands over to it."""
    before, _here.blocking = _here.blocking, blocking
    try:
        yield
    finally:
        _here.blocking = before


def may_use_reactor(reactor: Any) -> bool:
    """Return whether the caller may use Twisted: it is in the reactor's thread, and isn't a blocking handler of a test."""
    return in_reactor_thread(reactor) and not _here.blocking


class ThreadWaits:
    """Lets plugins' threads wait for results of the reactor, until `stop` is called, since it never answers then."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def result_of(self, work: Callable[..., Any], *args: Any, seconds: float | None = None) -> Any:
        """Call `work` on the reactor in the caller's context, and return its result, or that of the Deferred that it
        returns. In a thread the call waits, for at most so many seconds, and raises the exception of `work`, Stopping
        or TimeoutError. On the reactor, which must not wait, it returns a Deferred. In `blocking_here`, which tests
        use, it returns a result that is available at once, and raises RuntimeError for any other."""
        if in_reactor_thread(self._reactor):
            is_waiting = _here.blocking
            with blocking_here(False):
                waited = maybeDeferred(work, *args)
            return _now(waited) if is_waiting else waited
        wait: Future[Any] = Future()
        with self._lock:
            if self._stopped:
                raise Stopping("the bot is stopping")
            self._waiting.add(wait)
        try:
            call_from_thread(self._reactor, copy_context().run, _begin, wait, work, args)
            return unwrapped(wait.result(seconds))
        finally:
            with self._lock:
                self._waiting.discard(wait)

    def stop(self) -> None:
        """Raise Stopping in the threads that wait now, and in those that would wait later."""
        with self._lock:
            self._stopped = True
        self.end_all()

    def end_all(self) -> None:
        """Raise Stopping in the threads that wait now. Later calls may wait."""
        with self._lock:
            waiting = list(self._waiting)
        for wait in waiting:
            _end(wait, Failure(Stopping("the bot is stopping")))


def _now(waited: Deferred[Any]) -> Any:
    results: list[Any] = []
    waited.addBoth(results.append)
    if not results:
        waited.cancel()
        raise RuntimeError(
            "A blocking handler waits for a result that isn't available at once. TestBot calls blocking handlers on "
            "the reactor, where they can't wait. Make the handler async def and use await, or test it with a bot that "
            "has threads."
        )
    return unwrapped(results[0])


def _begin(wait: Future[Any], work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    maybeDeferred(work, *args).addBoth(partial(_end, wait))


def _end(wait: Future[Any], result: Any) -> None:
    if not wait.done():
        wait.set_result(result)
