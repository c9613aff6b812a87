"""Replacements for the threads of a journal and their reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock


class InlineReactor(Clock):
    """A clock that also calls at once what threads pass to the reactor."""

    def callFromThread(self, callable: Callable[..., Any], *args: object) -> None:
        """Call the function."""
        callable(*args)


class InlineThreads:
    """Runs what a journal passes to its threads at once. `maintain` isn't called."""

    def __init__(self, reactor: object, maintain: Callable[[], bool]) -> None:
        pass

    def write(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Call the function."""
        return maybeDeferred(function)

    read = write

    def stop(self) -> None:
        """Do nothing."""


class WaitingThreads(InlineThreads):
    """Keeps writes until `turn`, so those that are passed meanwhile share a transaction."""

    def __init__(self, reactor: object, maintain: Callable[[], bool]) -> None:
        self._waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def write(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Keep the function."""
        done: Deferred[Any] = Deferred()
        self._waiting.append((function, done))
        return done

    def turn(self) -> None:
        """Call the functions until none is left."""
        while self._waiting:
            function, done = self._waiting.pop(0)
            done.callback(function())
