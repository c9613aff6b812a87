"""Tests for the timer of all deadlines."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running._deadlines import NEVER, PERIOD, DeadlineSweeper


class SlowClient:
    """An object whose deadline takes 4 ms to handle."""

    def __init__(self, clock: Clock, deadline: float, events: list[str]) -> None:
        self.clock = clock
        self.deadline = deadline
        self.events = events

    def deadline_passed(self) -> None:
        """Let time pass."""
        self.clock.rightNow += 0.004
        self.deadline = NEVER
        self.events.append("client")


class SweeperTests(SynchronousTestCase):
    """Many objects with a deadline."""

    def test_many_overdue_clients_share_turns(self) -> None:
        """If thousands of clients exceed their deadlines together, other work is done after 10 ms."""
        clock = Clock()
        sweeper = DeadlineSweeper(clock)
        events: list[str] = []
        for deadline in [1.0] * 9 + [2.0]:
            sweeper.watch(SlowClient(clock, deadline, events))
        clock.callLater(1.001, events.append, "other work")
        clock.pump([PERIOD] * 4)
        self.assertEqual(events, ["client"] * 3 + ["other work"] + ["client"] * 6)
        clock.pump([PERIOD] * 4)
        self.assertEqual(len(events), 11)
        sweeper.stop()
