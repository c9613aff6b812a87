"""A limit for the frequency of warnings."""

from __future__ import annotations

from collections.abc import Callable, Hashable

INTERVAL = 60.0
"""The minimal time between two warnings about the same thing, in seconds."""


class RateLimit:
    """Allows each key once per `interval`; `seconds` returns the current time in seconds, such as `reactor.seconds`."""

    def __init__(self, seconds: Callable[[], float], interval: float = INTERVAL) -> None:
        self._seconds = seconds
        self._interval = interval
        self._allowed_at: dict[Hashable, float] = {}

    def allows(self, key: Hashable) -> bool:
        """Return whether `key` was not allowed within the interval. If so, a new interval begins."""
        now = self._seconds()
        if key in self._allowed_at and now - self._allowed_at[key] < self._interval:
            return False
        self._allowed_at[key] = now
        return True
