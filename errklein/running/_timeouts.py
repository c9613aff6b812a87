"""Timeouts that don't cancel the work, timers, and one timer for many deadlines."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T")

PERIOD = 0.25
_SHARE = 0.01

NEVER = float("inf")


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


class HasDeadline(Protocol):
    """An object with a deadline."""

    deadline: float
    """The deadline on the reactor's clock; NEVER if there is none at the moment."""

    def deadline_passed(self) -> None:
        """Handle the deadline. It must change `deadline`, or call `forget`."""


class DeadlineSweeper:
    """Calls `deadline_passed` of overdue objects, at most `PERIOD` seconds late, and for 10 ms in a turn of the reactor.

    A timer for each request costs a quarter of the throughput. Instead, all objects with a deadline are in one set, which is
    checked four times a second while it isn't empty.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._watched: set[HasDeadline] = set()
        self._timer: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []

    def watch(self, thing: HasDeadline) -> None:
        """Check the deadline of `thing` from now on."""
        self._watched.add(thing)
        if self._timer is None:
            self._timer = self._reactor.callLater(PERIOD, self._sweep)

    def forget(self, thing: HasDeadline) -> None:
        """Stop checking the deadline of `thing`."""
        self._watched.discard(thing)
        if self._waiting and not self._watched:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    def when_none(self) -> Deferred[None]:
        """Return a Deferred that fires when no object is watched, which may be now."""
        if not self._watched:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def stop(self) -> None:
        """Forget all objects, and stop the timer."""
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        pause = PERIOD
        for thing in [thing for thing in self._watched if thing.deadline <= now]:
            if self._reactor.seconds() - now > _SHARE:
                # Thousands of clients may exceed their deadlines at the same time.
                pause = 0
                break
            thing.deadline_passed()
        if self._watched and self._timer is None:
            self._timer = self._reactor.callLater(pause, self._sweep)
