"""Limits of rates by the token bucket algorithm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial


class TokenBucket:
    """A bucket that is full at the beginning, and gets a token in each interval.

    :param seconds: Returns the current time in seconds, such as `reactor.seconds`.
    :param interval: Seconds until the next token. Zero for no limit.
    :param burst: Number of tokens in a full bucket, which may be taken at once after a pause.
    """

    __slots__ = ("_seconds", "_since", "_tokens", "burst", "interval")

    def __init__(self, seconds: Callable[[], float], interval: float, burst: int) -> None:
        self.interval = interval
        self.burst = burst
        self._seconds = seconds
        self._tokens = float(burst)
        self._since = seconds()

    def take(self, part: object = None) -> float:
        """Take a token and return 0.0 if there is one; else return the seconds until the next token.

        `part` is what the token is for; it has no effect.
        """
        now = self._seconds()
        if self.interval > 0:
            # A clock that is set back adds nothing.
            self._tokens = min(self.burst, self._tokens + max(0.0, now - self._since) / self.interval)
            self._since = now
            # Rounding leaves sums of fractions slightly below one.
            if self._tokens < 1 - 1e-6:
                return (1 - self._tokens) * self.interval
            self._tokens = max(0.0, self._tokens - 1)
        return 0.0

    def give_back(self) -> None:
        """Put a token back that was taken."""
        self._tokens += 1

    def spend(self) -> None:
        """Take a token even if there is none. `take` waits for it, then."""
        self._tokens -= 1


class TokenBuckets:
    """A token bucket for each key, such as a client's address. Those used last are kept, so the memory is bounded.

    A forgotten bucket is full again when its key returns. A bucket is forgotten after `limit` other keys were used.

    :param seconds: Returns the current time in seconds.
    :param interval: Seconds until the next token of a bucket.
    :param burst: Number of tokens in a full bucket.
    :param limit: The number of buckets.
    """

    def __init__(self, seconds: Callable[[], float], interval: float, burst: int, limit: int = 10_000) -> None:
        self._make = partial(TokenBucket, seconds, interval, burst)
        self._limit = limit
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def bucket(self, key: str) -> TokenBucket:
        """Return the bucket of a key."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._limit:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = self._make()
        self._buckets.move_to_end(key)
        return bucket
