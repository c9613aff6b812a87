"""Waiting, but not for ever."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class NotYet(Exception):
    """What was awaited takes longer than somebody would wait. It goes on."""


async def result_within(reactor: Any, seconds: float, awaited: Deferred[T]) -> T:
    """What the Deferred fires with, or fails with, within so many seconds; raises NotYet if it takes longer.

    It isn't cancelled then, and its result is left to it.
    """
    result: Deferred[T] = Deferred()
    timer = reactor.callLater(seconds, lambda: result.errback(NotYet()))

    def end(outcome: Any) -> Any:
        if not timer.active():
            return outcome
        timer.cancel()
        # An errback, if it is a Failure.
        result.callback(outcome)
        return None

    awaited.addBoth(end)
    return await result
