"""Tests for the counter of running work."""

from twisted.trial.unittest import SynchronousTestCase

from errklein.running._in_flight import InFlightCounter


class TallyTests(SynchronousTestCase):
    """Counts under keys, and who waits for them to be none."""

    def test_waiters_are_told_when_the_last_one_leaves(self) -> None:
        """Keys are counted separately, and each waiting Deferred fires once."""
        tally = InFlightCounter()
        tally.enter("a")
        tally.enter("a")
        tally.enter("b")
        waiting = tally.when_none("a")
        tally.leave("a")
        self.assertNoResult(waiting)
        self.assertEqual((tally.count("a"), tally.count("b")), (1, 1))
        tally.leave("a")
        self.successResultOf(waiting)

    def test_nothing_going_on_needs_no_waiting(self) -> None:
        """The Deferred for a key without running work has fired already."""
        self.successResultOf(InFlightCounter().when_none())
