"""Waiting for a limited time."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class TimedOut(Exception):
    """The result didn't arrive in time. The work goes on."""


def result_within(reactor: Any, seconds: float, awaited: Deferred[T]) -> Deferred[T]:
    """A Deferred of the result of `awaited`; it fails with TimedOut if that takes longer than so many seconds.

    Unlike with `Deferred.addTimeout`, the work isn't cancelled then, and `awaited` keeps its later result.
    """
    result: Deferred[T] = Deferred()

    def forward(outcome: Any) -> Any:
        if result.called:
            return outcome
        # An errback, if it is a Failure.
        result.callback(outcome)
        return None

    def time_out(*_: object) -> T:
        raise TimedOut

    awaited.addBoth(forward)
    return result.addTimeout(seconds, reactor, time_out)


class Deadline:
    """A deadline that several operations share: it is `seconds` from now, but each operation gets at least `least` seconds."""

    def __init__(self, reactor: Any, seconds: float, least: float = 0.0) -> None:
        self._reactor = reactor
        self._least = least
        self._end = reactor.seconds() + seconds

    @property
    def left(self) -> float:
        """The seconds that the next operation may take."""
        remaining: float = self._end - self._reactor.seconds()
        return max(self._least, remaining)
