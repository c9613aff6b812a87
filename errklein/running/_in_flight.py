"""A counter of running work, which reports when there is none."""

from __future__ import annotations

from collections.abc import Hashable

from twisted.internet.defer import Deferred, succeed


class InFlightCounter:
    """Counts running work by key; None is the key of other work. Use it on the reactor only."""

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
            self._fire_waiting(key)

    def count(self, key: Hashable = None) -> int:
        """Return the number of works running under the key; without a key, of all."""
        return sum(self._counts.values()) if key is None else self._counts.get(key, 0)

    def when_none(self, key: Hashable = None) -> Deferred[None]:
        """Return a Deferred that fires when nothing is running under the key, or at all, which may be now."""
        if not self.count(key):
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.setdefault(key, []).append(waiting)
        return waiting

    def _fire_waiting(self, key: Hashable) -> None:
        waiting = self._waiting.pop(key, []) if key is not None else []
        if not self._counts:
            waiting += self._waiting.pop(None, [])
        for one in waiting:
            one.callback(None)
