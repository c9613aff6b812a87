"""Calls between the reactor's thread and other threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.python.threadable import isInIOThread

_THREADS: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The threads of reactors. Twisted itself knows only one reactor's thread per process."""


class Stopping(Exception):
    """A wait in a thread was ended because the bot is stopping."""


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
        reactor.callFromThread(function, *args)


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
    """Call blocking handlers in the reactor's thread, where they can't wait, during the `with` block.

    With False, the code in the block is the reactor's again, as in a function that such a handler hands over to it.
    """
    before, _here.blocking = _here.blocking, blocking
    try:
        yield
    finally:
        _here.blocking = before


def may_use_reactor(reactor: Any) -> bool:
    """Return whether the caller may use Twisted: it is in the reactor's thread, and isn't a blocking handler of a test."""
    return in_reactor_thread(reactor) and not _here.blocking


class ThreadWaits:
    """Lets plugins' threads wait for results of the reactor, until `stop` is called.

    Without that, threads would wait without end for a reactor that has stopped.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def result_of(self, work: Callable[..., Any], *args: Any) -> Any:
        """Call `work` on the reactor in the caller's context, and return its result, or that of the Deferred that it
        returns.

        In a thread the call waits, and raises the exception of `work`, or Stopping. On the reactor, which must not
        wait, it returns a Deferred. In `blocking_here`, which tests use, it returns a result that is available at
        once, and raises RuntimeError for any other.
        """
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
            self._reactor.callFromThread(copy_context().run, _begin, wait, work, args)
            return unwrapped(wait.result())
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
