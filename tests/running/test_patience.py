"""Tests for waiting that comes to an end."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running.patience import ended_within


class EndedWithinTests(SynchronousTestCase):
    """Something is awaited for ten seconds."""

    def setUp(self) -> None:
        """Begin to wait."""
        self.clock = Clock()
        self.awaited: Deferred[str] = Deferred()
        self.waiting = Deferred.fromCoroutine(ended_within(self.clock, 10, self.awaited))

    def test_in_time(self) -> None:
        """What ends in time has its result still, and leaves no timer."""
        self.clock.advance(9)
        self.awaited.callback("done")
        self.assertTrue(self.successResultOf(self.waiting))
        self.assertEqual(self.successResultOf(self.awaited), "done")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failed(self) -> None:
        """A failure is an end too, and stays where it was."""
        self.awaited.errback(ValueError())
        self.assertTrue(self.successResultOf(self.waiting))
        self.failureResultOf(self.awaited, ValueError)

    def test_too_late(self) -> None:
        """What takes longer isn't waited for, and may end later."""
        self.clock.advance(10)
        self.assertFalse(self.successResultOf(self.waiting))
        self.awaited.callback("late")
        self.assertEqual(self.successResultOf(self.awaited), "late")

    def test_at_once(self) -> None:
        """What has ended before needs no time."""
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(ended_within(self.clock, 10, succeed(None)))))
        self.awaited.callback("done")
