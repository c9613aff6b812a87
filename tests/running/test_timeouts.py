"""Tests for timeouts that don't cancel the work."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running._timeouts import TimedOut, result_within


class ResultWithinTests(SynchronousTestCase):
    """A Deferred is awaited for ten seconds."""

    def setUp(self) -> None:
        """Begin to wait."""
        self.clock = Clock()
        self.awaited: Deferred[str] = Deferred()
        self.waiting = self.wait(self.awaited)

    def wait(self, awaited: Deferred[str]) -> Deferred[str]:
        """Wait for the Deferred."""
        return result_within(self.clock, 10, awaited)

    def test_in_time(self) -> None:
        """A result in time is returned, and no timer is left."""
        self.clock.advance(9)
        self.awaited.callback("done")
        self.assertEqual(self.successResultOf(self.waiting), "done")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failed(self) -> None:
        """A failure in time is raised once."""
        self.awaited.errback(ValueError())
        self.failureResultOf(self.waiting, ValueError)
        self.assertIsNone(self.successResultOf(self.awaited))

    def test_too_late(self) -> None:
        """A late result isn't awaited, and may still arrive."""
        self.clock.advance(10)
        self.failureResultOf(self.waiting, TimedOut)
        self.awaited.callback("late")
        self.assertEqual(self.successResultOf(self.awaited), "late")

    def test_at_once(self) -> None:
        """An available result needs no time."""
        self.assertEqual(self.successResultOf(self.wait(succeed("there"))), "there")
        self.failureResultOf(self.wait(fail(ValueError())), ValueError)
        self.awaited.callback("done")
