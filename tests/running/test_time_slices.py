"""Tests for bursts of work in time slices."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running._time_slices import TimeSlices


class TimeSlicesTests(SynchronousTestCase):
    """Each work takes 4 ms, and a turn has 10 ms for them."""

    def setUp(self) -> None:
        """Create time slices with a clock that advances while work runs."""
        self.clock = Clock()
        self.turns = TimeSlices(self.clock, share=0.01)
        self.done: list[int] = []

    def work(self, number: int) -> None:
        """Run work that takes 4 ms."""
        self.done.append(number)
        self.clock.rightNow += 0.004

    def test_little_work_is_done_at_once(self) -> None:
        """Work runs at once while the turn has time."""
        self.turns.do(lambda: self.work(1))
        self.assertEqual(self.done, [1])

    def test_much_work_is_done_in_turns_and_in_order(self) -> None:
        """After its share, a burst waits for the next turn, and later work waits behind it."""
        self.clock.callLater(0, self.done.append, -1)
        for number in range(7):
            self.turns.do(lambda number=number: self.work(number))  # type: ignore[misc]
        self.assertEqual(self.done, [0, 1, 2])
        self.turns.do(lambda: self.work(7))
        self.clock.advance(0)
        self.assertEqual(self.done, [0, 1, 2, -1, 3, 4, 5, 6, 7])

    def test_stopped(self) -> None:
        """Waiting work is dropped, and no timers are left."""
        for number in range(5):
            self.turns.do(lambda number=number: self.work(number))  # type: ignore[misc]
        self.turns.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(1)
        self.assertEqual(self.done, [0, 1, 2])
