"""A limit for the frequency of warnings."""

from __future__ import annotations

from collections.abc import Callable, Hashable

INTERVAL = 60.0
"""The minimal time between two warnings about the same thing, in seconds."""


MOST = 1000
"""The maximal number of warnings about different things within the interval."""


class RateLimit:
    """Allows each key once per `interval`, and at most `most` keys within it.

    `seconds` returns the current time in seconds, such as `reactor.seconds`.
    """

    def __init__(self, seconds: Callable[[], float], interval: float = INTERVAL, most: int = MOST) -> None:
        self._seconds = seconds
        self._interval = interval
        self._most = most
        self._allowed_at: dict[Hashable, float] = {}

    def allows(self, key: Hashable) -> bool:
        """Return whether `key` was not allowed within the interval, and few enough other keys were. If so, its interval begins."""
        now = self._seconds()
        if key in self._allowed_at and now - self._allowed_at[key] < self._interval:
            return False
        if len(self._allowed_at) >= self._most:
            self._allowed_at = {one: at for one, at in self._allowed_at.items() if now - at < self._interval}
            if len(self._allowed_at) >= self._most:
                return False
        self._allowed_at[key] = now
        return True
