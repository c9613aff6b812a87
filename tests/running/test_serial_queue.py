"""Tests for work that runs one at a time."""

from __future__ import annotations

from contextvars import ContextVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running._serial_queue import SerialQueue

name: ContextVar[str] = ContextVar("name", default="nobody")


class SerialQueueTests(SynchronousTestCase):
    """Work waits for the work before it."""

    def setUp(self) -> None:
        """Create a queue with a clock."""
        self.clock = Clock()
        self.queue = SerialQueue(self.clock)

    def test_alone(self) -> None:
        """The only work runs at once."""
        self.assertEqual(self.successResultOf(self.queue.run(lambda: succeed("done"))), "done")

    def test_in_order(self) -> None:
        """The next work begins in a later turn after the previous one has ended or failed."""
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

    def test_hanging_work_is_passed(self) -> None:
        """With `hung_after`, the next work begins when the running one has taken so long, which may end later."""
        queue = SerialQueue(self.clock, hung_after=60)
        hanging: Deferred[str] = Deferred()
        results = [queue.run(lambda: hanging), queue.run(lambda: succeed("second"))]
        self.clock.advance(59.9)
        self.assertNoResult(results[1])
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(results[1]), "second")
        third: Deferred[str] = Deferred()
        results += [queue.run(lambda: third), queue.run(lambda: succeed("fourth"))]
        hanging.callback("first")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(results[0]), "first")
        self.assertNoResult(results[3])
        third.callback("third")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(results[3]), "fourth")
        self.assertTrue(queue.idle)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_in_its_own_context(self) -> None:
        """Work that had to wait has the context of its own caller."""
        first: Deferred[None] = Deferred()
        self.queue.run(lambda: first)
        token = name.set("caller")
        second = self.queue.run(lambda: succeed(name.get()))
        name.reset(token)
        first.callback(None)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(second), "caller")

    def test_many(self) -> None:
        """A lot of waiting work ends without recursion."""
        first: Deferred[None] = Deferred()
        self.queue.run(lambda: first)
        results = [self.queue.run(lambda: succeed(None)) for _ in range(5000)]
        first.callback(None)
        self.clock.advance(0)
        for result in results:
            self.successResultOf(result)

    def test_stopped(self) -> None:
        """Work that hasn't begun is dropped, and no timers are left."""
        first: Deferred[None] = Deferred()
        self.queue.run(lambda: first)
        second = self.queue.run(lambda: succeed("second"))
        first.callback(None)
        self.queue.stop()
        self.clock.advance(0)
        self.assertNoResult(second)
        self.assertEqual(self.clock.getDelayedCalls(), [])
