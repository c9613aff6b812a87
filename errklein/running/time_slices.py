"""Work that comes in bursts, done without holding the reactor for long."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall


class TimeSlices:
    """Does pieces of work in order: at once, unless this turn of the reactor has already given them `share` seconds.

    What is left then waits for the next turn, between which the reactor does everything else. No piece may raise.
    """

    def __init__(self, reactor: Any, share: float = 0.01) -> None:
        self._reactor = reactor
        self._share = share
        self._waiting: deque[Callable[[], object]] = deque()
        self._next: IDelayedCall | None = None
        self._until = 0.0

    def do(self, work: Callable[[], object]) -> None:
        """Do it now, or after everything that was to be done before."""
        if not self._waiting and self.has_time():
            work()
        else:
            self._waiting.append(work)

    def stop(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def has_time(self) -> bool:
        """Whether this turn of the reactor has time left for work."""
        if self._next is None:
            self._until = self._reactor.seconds() + self._share
            self._next = self._reactor.callLater(0, self._turn)
            return True
        return bool(self._reactor.seconds() < self._until)

    def _turn(self) -> None:
        self._next = None
        while self._waiting and self.has_time():
            self._waiting.popleft()()
