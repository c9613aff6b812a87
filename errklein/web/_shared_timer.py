"""One timer for the deadlines of all connections and requests.

A timer for each request would cost a quarter of the throughput. Whatever has a deadline is put into one set instead,
which is looked through four times a second for as long as there is anything in it.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

PERIOD = 0.25

NEVER = float("inf")


class HasDeadline(Protocol):
    """Something with a deadline."""

    deadline: float
    """When it is due, on the reactor's clock; NEVER if it isn't at the moment."""

    def deadline_passed(self) -> None:
        """Called once `deadline` has passed. Must move `deadline`, or have itself forgotten."""


class DeadlineSweeper:
    """Tells what is overdue, at most `PERIOD` seconds too late."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._watched: set[HasDeadline] = set()
        self._timer: IDelayedCall | None = None

    def watch(self, thing: HasDeadline) -> None:
        """Look at `thing` from now on."""
        self._watched.add(thing)
        if self._timer is None:
            self._timer = self._reactor.callLater(PERIOD, self._sweep)

    def forget(self, thing: HasDeadline) -> None:
        """Look at `thing` no more."""
        self._watched.discard(thing)

    def stop(self) -> None:
        """Forget everything."""
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        for thing in [thing for thing in self._watched if thing.deadline <= now]:
            thing.deadline_passed()
        if self._watched and self._timer is None:
            self._timer = self._reactor.callLater(PERIOD, self._sweep)
