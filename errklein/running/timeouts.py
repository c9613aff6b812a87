"""Waiting, but not for ever."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class TimedOut(Exception):
    """What was awaited takes longer than somebody would wait. It goes on."""


async def result_within(reactor: Any, seconds: float, awaited: Deferred[T]) -> T:
    """What the Deferred fires with, or fails with, within so many seconds; raises TimedOut if it takes longer.

    It isn't cancelled then, and its result is left to it.
    """
    result: Deferred[T] = Deferred()
    timer = reactor.callLater(seconds, lambda: result.errback(TimedOut()))

    def end(outcome: Any) -> Any:
        if not timer.active():
            return outcome
        timer.cancel()
        # An errback, if it is a Failure.
        result.callback(outcome)
        return None

    awaited.addBoth(end)
    return await result


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
