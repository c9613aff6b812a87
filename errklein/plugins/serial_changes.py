"""A queue of changes to plugins, which are made one at a time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred

from errklein.running import SerialQueue
from errklein.running.context import running_change

M = TypeVar("M", bound="Changing")
P = ParamSpec("P")
T = TypeVar("T")


class Changes:
    """Makes changes one after the other.

    A change that is requested by a change is made at once, since that one waits for it.

    :param after: Called after each change that no other change has requested. It must not raise an exception.
    """

    def __init__(self, reactor: Any, after: Callable[[], None]) -> None:
        self._turns = SerialQueue(reactor)
        self._current: object = None
        self._after = after

    def make(self, change: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        """Make the change, now or after those before it. The Deferred fires with its result."""
        if self._current is not None and running_change.get() is self._current:
            return Deferred.fromCoroutine(change())
        return self._turns.run(lambda: Deferred.fromCoroutine(self._make(change)))

    async def _make(self, change: Callable[[], Coroutine[Any, Any, T]]) -> T:
        # Everything called from here on, in any thread, runs in a copy of this context.
        self._current = object()
        running_change.set(self._current)
        try:
            return await change()
        finally:
            self._current = None
            self._after()


class Changing(Protocol):
    """An object with methods that are changes."""

    _changes: Changes


def change(
    method: Callable[Concatenate[M, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[M, P], Deferred[T]]:
    """Decorate a method so that a call is a change in its object's `_changes`."""

    @wraps(method)
    def begin(self: M, /, *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        return self._changes.make(partial(method, self, *args, **kwargs))

    return begin
