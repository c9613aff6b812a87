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
