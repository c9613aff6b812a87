"""A counter of running work, which reports when there is none."""

from __future__ import annotations

from collections.abc import Hashable

from twisted.internet.defer import Deferred, succeed


class InFlightCounter:
    """Counts running work by key. Use it on the reactor only."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, list[Deferred[None]]] = {}

    def enter(self, key: Hashable = None) -> None:
        """Count one more."""
        self._counts[key] = self._counts.get(key, 0) + 1

    def leave(self, key: Hashable = None) -> None:
        """Count one less."""
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
            return
        del self._counts[key]
        if self._waiting:
            for waiting in self._waiting.pop(key, ()):
                waiting.callback(None)

    def count(self, key: Hashable = None) -> int:
        """Return the number of works running under the key."""
        return self._counts.get(key, 0)

    def when_none(self, key: Hashable = None) -> Deferred[None]:
        """Return a Deferred that fires when nothing is running under the key, which may be now."""
        if key not in self._counts:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.setdefault(key, []).append(waiting)
        return waiting
