"""Tests for work of which only one piece may go on at a time."""

from __future__ import annotations

from contextvars import ContextVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running._serial_queue import SerialQueue

name: ContextVar[str] = ContextVar("name", default="nobody")


class SerialQueueTests(SynchronousTestCase):
    """Pieces wait for those before them."""

    def setUp(self) -> None:
        """Have a clock whose turns come when the test says so."""
        self.clock = Clock()
        self.queue = SerialQueue(self.clock)

    def test_alone(self) -> None:
        """A piece that nothing is before begins at once."""
        self.assertEqual(self.successResultOf(self.queue.run(lambda: succeed("done"))), "done")

    def test_in_order(self) -> None:
        """The next piece begins in a turn of its own after the one before has ended, whether that failed or not."""
        first: Deferred[str] = Deferred()
        results = [
            self.queue.run(lambda: first),
            self.queue.run(lambda: succeed("second")),
            self.queue.run(lambda: succeed("third")),
        ]
        self.clock.advance(0)
        self.assertNoResult(results[1])
        first.errback(ValueError("first"))
        self.failureResultOf(results[0], ValueError)
        self.assertNoResult(results[1])
        self.clock.advance(0)
        self.assertEqual([self.successResultOf(result) for result in results[1:]], ["second", "third"])
        self.assertEqual(self.successResultOf(self.queue.run(lambda: succeed("fourth"))), "fourth")

    def test_each_in_its_own_context(self) -> None:
        """A piece that had to wait sees what its own caller had set."""
        first: Deferred[None] = Deferred()
        self.queue.run(lambda: first)
        token = name.set("caller")
        second = self.queue.run(lambda: succeed(name.get()))
        name.reset(token)
        first.callback(None)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(second), "caller")

    def test_many(self) -> None:
        """However many wait, they end without calling each other ever deeper."""
        first: Deferred[None] = Deferred()
        self.queue.run(lambda: first)
        results = [self.queue.run(lambda: succeed(None)) for _ in range(5000)]
        first.callback(None)
        self.clock.advance(0)
        for result in results:
            self.successResultOf(result)

    def test_stopped(self) -> None:
        """What hasn't begun is forgotten, and no call is left behind."""
        first: Deferred[None] = Deferred()
        self.queue.run(lambda: first)
        second = self.queue.run(lambda: succeed("second"))
        first.callback(None)
        self.queue.stop()
        self.clock.advance(0)
        self.assertNoResult(second)
        self.assertEqual(self.clock.getDelayedCalls(), [])
