"""Tests for RateLimit."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running.rate_limit import RateLimit


class RateLimitTests(SynchronousTestCase):
    """The frequency of warnings."""

    def test_once_per_interval_and_key(self) -> None:
        """A key is allowed once per interval; a refused call doesn't prolong it, and keys are independent."""
        clock = Clock()
        limit = RateLimit(clock.seconds, 10.0)
        self.assertTrue(limit.allows("a"))
        clock.advance(9.0)
        self.assertFalse(limit.allows("a"))
        self.assertTrue(limit.allows("b"))
        clock.advance(1.0)
        self.assertTrue(limit.allows("a"))
        self.assertFalse(limit.allows("b"))

    def test_number_of_keys(self) -> None:
        """No more than `most` keys are allowed within the interval, and others are forgotten after it."""
        clock = Clock()
        limit = RateLimit(clock.seconds, 10.0, most=2)
        self.assertEqual([limit.allows(key) for key in "abc"], [True, True, False])
        clock.advance(10.0)
        self.assertEqual([limit.allows(key) for key in "cdeab"], [True, True, False, False, False])
