"""Timeouts that don't cancel the work, and timers."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

T = TypeVar("T")


class TimedOut(Exception):
    """The result didn't arrive in time. The work continues."""


def cancel_timers(*timers: IDelayedCall | None) -> None:
    """Cancel those of the timers that have not ended."""
    for timer in timers:
        if timer is not None and timer.active():
            timer.cancel()


def result_within(reactor: Any, seconds: float, awaited: Deferred[T]) -> Deferred[T]:
    """Return a Deferred of the result of `awaited`. It fails with TimedOut after `seconds`.

    Unlike with `Deferred.addTimeout`, the work isn't cancelled, and `awaited` keeps its later result.
    """
    result: Deferred[T] = Deferred()

    def forward(outcome: Any) -> Any:
        if result.called:
            return outcome
        # A Failure makes this an errback.
        result.callback(outcome)
        return None

    def time_out(*_: object) -> T:
        raise TimedOut

    awaited.addBoth(forward)
    return result.addTimeout(seconds, reactor, time_out)


class Deadline:
    """A deadline, `seconds` from now, for several operations, each of which gets at least `least` seconds."""

    def __init__(self, reactor: Any, seconds: float, least: float = 0.0) -> None:
        self._reactor = reactor
        self._least = least
        self._end = reactor.seconds() + seconds

    @property
    def left(self) -> float:
        """The time for the next operation, in seconds."""
        remaining: float = self._end - self._reactor.seconds()
        return max(self._least, remaining)
