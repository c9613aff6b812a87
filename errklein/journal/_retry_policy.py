"""When a delivery runs again after an attempt that failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """How the deliveries of a webhook are run. Times are in seconds.

    :param attempts: The number of attempts before a delivery is given up.
    :param first: The longest wait after the first attempt; it doubles after each further one.
    :param longest: The longest wait.
    :param ordered: Deliveries run one after the other, in order of receipt. One that is retried delays the later ones.
    """

    attempts: int = 8
    first: float = 10.0
    longest: float = 3600.0
    ordered: bool = False

    def wait_after(self, attempt: int, random: Callable[[], float]) -> float:
        """Return the wait after the attempt of that number: random between 0 and its maximum, so that retries spread.

        :param random: Returns a number from 0 to 1.
        """
        # The exponent is limited, since a float can't be arbitrarily large.
        return random() * min(self.longest, self.first * 2.0 ** min(attempt - 1, 64))
