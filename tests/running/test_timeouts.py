"""Tests for timeouts and deadlines."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running._timeouts import NEVER, PERIOD, DeadlineSweeper, TimedOut, result_within


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

    def test_none_is_watched(self) -> None:
        """Who waits until no object is watched is called when the last one is forgotten."""
        sweeper = DeadlineSweeper(Clock())
        self.successResultOf(sweeper.when_none())
        clients = [SlowClient(Clock(), 1.0, []) for _ in range(2)]
        for client in clients:
            sweeper.watch(client)
        waiting = sweeper.when_none()
        sweeper.forget(clients[0])
        self.assertNoResult(waiting)
        sweeper.forget(clients[1])
        self.successResultOf(waiting)
        sweeper.stop()
