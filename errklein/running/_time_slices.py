"""Runs bursts of work in time slices, so that they don't block the reactor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall


class TimeSlices:
    """Runs work in order: at once, until it has used `share` seconds of this reactor turn, then in the next turn.

    Work must not raise exceptions. Twisted's Cooperator keeps no order between tasks, and begins none of them before
    the next turn.
    """

    def __init__(self, reactor: Any, share: float = 0.01) -> None:
        self._reactor = reactor
        self._share = share
        self._waiting: deque[Callable[[], object]] = deque()
        self._next: IDelayedCall | None = None
        self._until = 0.0

    def do(self, work: Callable[[], object]) -> None:
        """Run the work now, or after all waiting work."""
        if not self._waiting and self.has_time():
            work()
        else:
            self._waiting.append(work)

    def stop(self) -> None:
        """Forget the waiting work."""
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def has_time(self) -> bool:
        """Return whether this reactor turn has time left for work."""
        if self._next is None:
            self._until = self._reactor.seconds() + self._share
            self._next = self._reactor.callLater(0, self._turn)
            return True
        return bool(self._reactor.seconds() < self._until)

    def _turn(self) -> None:
        self._next = None
        while self._waiting and self.has_time():
            self._waiting.popleft()()
