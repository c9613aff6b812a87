"""One timer for many deadlines, such as those of all connections and requests.

A timer for each request costs a quarter of the throughput. Instead, all objects with a deadline are in one set, which is checked
four times a second while it isn't empty.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

PERIOD = 0.25
_SHARE = 0.01

NEVER = float("inf")


class HasDeadline(Protocol):
    """An object with a deadline."""

    deadline: float
    """The deadline on the reactor's clock; NEVER if there is none at the moment."""

    def deadline_passed(self) -> None:
        """Handle the deadline. It must change `deadline`, or call `forget`."""


class DeadlineSweeper:
    """Calls `deadline_passed` of overdue objects, at most `PERIOD` seconds late, and for 10 ms in a turn of the reactor."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._watched: set[HasDeadline] = set()
        self._timer: IDelayedCall | None = None

    def watch(self, thing: HasDeadline) -> None:
        """Check the deadline of `thing` from now on."""
        self._watched.add(thing)
        if self._timer is None:
            self._timer = self._reactor.callLater(PERIOD, self._sweep)

    def forget(self, thing: HasDeadline) -> None:
        """Stop checking the deadline of `thing`."""
        self._watched.discard(thing)

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
