"""Work of which only one piece may go on at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall

T = TypeVar("T")


class SerialQueue:
    """Runs pieces of work one after the other, each in the context of who asked for it.

    A piece that had to wait begins in a turn of the reactor of its own, so that many short ones neither hold the reactor
    nor call each other ever deeper, as they would with Twisted's DeferredLock.
    """

    PATIENCE = 10.0
    """Seconds that a piece waits before somebody is told."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: deque[tuple[Context, Callable[[], Any], Deferred[Any]]] = deque()
        self._busy = False
        self._next: IDelayedCall | None = None
        self._notices: dict[Deferred[Any], IDelayedCall] = {}

    def run(self, work: Callable[[], Deferred[T]], tell: Callable[[], None] | None = None) -> Deferred[T]:
        """Do the work, now or after what was asked for before; fires with its result.

        `tell` is called if it hasn't begun after PATIENCE.
        """
        done: Deferred[T] = Deferred()
        self._waiting.append((copy_context(), work, done))
        if not self._busy:
            self._busy = True
            self._begin()
        elif tell is not None:
            self._notices[done] = self._reactor.callLater(self.PATIENCE, copy_context().run, self._told, done, tell)
        return done

    @property
    def idle(self) -> bool:
        """Whether nothing goes on or waits."""
        return not self._busy

    @property
    def waiting(self) -> int:
        """How many pieces haven't begun."""
        return len(self._waiting)

    def stop(self) -> None:
        """Forget what hasn't begun."""
        self._waiting.clear()
        while self._notices:
            self._notices.popitem()[1].cancel()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin(self) -> None:
        self._next = None
        context, work, done = self._waiting.popleft()
        notice = self._notices.pop(done, None)
        if notice is not None:
            notice.cancel()
        context.run(maybeDeferred, work).addBoth(self._end, done)

    def _told(self, done: Deferred[Any], tell: Callable[[], None]) -> None:
        del self._notices[done]
        tell()

    def _end(self, result: Any, done: Deferred[Any]) -> None:
        if self._waiting:
            self._next = self._reactor.callLater(0, self._begin)
        else:
            self._busy = False
        done.callback(result)
