"""A queue of work that runs one at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall

T = TypeVar("T")

NOTICE_AFTER = 10.0
"""The time that work waits before `notice` is called, in seconds."""


class SerialQueue:
    """Runs work one after the other, each in the context of its caller.

    Work that had to wait begins in a reactor turn of its own, so a lot of short work neither blocks the reactor nor
    recurses. Twisted's DeferredLock recurses, and runs work in the context of the code that released the lock.

    With `hung_after`, work that has been running for so many seconds no longer holds up the next.
    """

    def __init__(self, reactor: Any, hung_after: float | None = None) -> None:
        self._reactor = reactor
        self._hung_after = hung_after
        self._waiting: deque[tuple[Context, Callable[[], Any], Deferred[Any]]] = deque()
        self._running: Deferred[Any] | None = None
        """The result of the work that holds up the next."""
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
        """Whether no work is running or waiting."""
        return self._running is None and self._next is None

    @property
    def waiting(self) -> int:
        """The number of works that haven't begun."""
        return len(self._waiting)

    def stop(self) -> None:
        """Forget the work that hasn't begun."""
        self._waiting.clear()
        while self._notices:
            self._notices.popitem()[1].cancel()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin(self) -> None:
        context, work, done = self._waiting.popleft()
        timer = self._notices.pop(done, None)
        if timer is not None:
            timer.cancel()
        self._running = done
        if self._hung_after is not None:
            self._next = self._reactor.callLater(self._hung_after, self._continue)
        context.run(maybeDeferred, work).addBoth(self._end, done)

    def _notify(self, done: Deferred[Any], notice: Callable[[], None]) -> None:
        del self._notices[done]
        notice()

    def _end(self, result: Any, done: Deferred[Any]) -> None:
        if self._running is done:
            if self._next is not None:
                self._next.cancel()
            self._running, self._next = None, self._reactor.callLater(0, self._continue) if self._waiting else None
        done.callback(result)

    def _continue(self) -> None:
        """Begin the next work, also if the running one hangs."""
        self._running = self._next = None
        if self._waiting:
            self._begin()
