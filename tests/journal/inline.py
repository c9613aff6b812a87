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
