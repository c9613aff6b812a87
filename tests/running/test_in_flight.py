"""Tests for the counter of running work."""

from twisted.trial.unittest import SynchronousTestCase

from errklein.running import InFlightCounter


class InFlightCounterTests(SynchronousTestCase):
    """Counts under keys, and Deferreds that wait for zero."""

    def test_waiters_continue_when_the_last_one_leaves(self) -> None:
        """Keys are counted separately, and each waiting Deferred fires once."""
        counter = InFlightCounter()
        counter.enter("a")
        counter.enter("a")
        counter.enter("b")
        waiting = counter.when_none("a")
        counter.leave("a")
        self.assertNoResult(waiting)
        self.assertEqual((counter.count("a"), counter.count("b")), (1, 1))
        counter.leave("a")
        self.successResultOf(waiting)

    def test_without_a_key_all_work_counts(self) -> None:
        """The number of all works, and the Deferred that waits for them, include those of each key."""
        counter = InFlightCounter()
        counter.enter()
        counter.enter("a")
        waiting = counter.when_none()
        self.assertEqual(counter.count(), 2)
        counter.leave()
        self.assertNoResult(waiting)
        counter.leave("a")
        self.successResultOf(waiting)

    def test_nothing_going_on_needs_no_waiting(self) -> None:
        """The Deferred for a key without running work has fired already."""
        self.successResultOf(InFlightCounter().when_none())
