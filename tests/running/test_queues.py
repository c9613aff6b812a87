"""Tests for queues of work on the reactor."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running import _runner
from errklein.running._runner import TIMEOUT, KeyedQueueFull, KeyedQueues, QueuedWork, SerialQueue, TimeSlices

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


class KeyedQueuesTests(SynchronousTestCase):
    """Work waits for the work before it."""

    def setUp(self) -> None:
        """Create queues with a clock."""
        self.clock = Clock()
        self.queues = KeyedQueues(self.clock)
        self.begun: list[str] = []
        self.going: dict[str, Deferred[Any]] = {}

    def stand(self, line: str, name: str, after: QueuedWork | None = None) -> QueuedWork:
        """Add work of that name to the queue; it runs until `end`."""

        def work() -> Deferred[Any]:
            self.begun.append(name)
            self.going[name] = Deferred()
            return self.going[name]

        return self.queues.run(line, work, after)

    def end(self, name: str, result: Any = None) -> None:
        """Let the work end."""
        self.going.pop(name).callback(result)
        self.clock.advance(0)

    def test_at_once(self) -> None:
        """The only work in a queue runs at once."""
        piece = self.queues.run("a", lambda: succeed("done"))
        self.assertEqual(self.successResultOf(piece.result), "done")

    def test_one_line(self) -> None:
        """Work of one key runs one at a time, in order; other keys don't wait."""
        first = self.stand("a", "a1")
        second = self.stand("a", "a2")
        self.stand("b", "b1")
        self.assertEqual(self.begun, ["a1", "b1"])
        self.end("a1", "one")
        self.assertEqual(self.begun, ["a1", "b1", "a2"])
        self.assertEqual(self.successResultOf(first.result), "one")
        self.assertNoResult(second.result)

    def test_full(self) -> None:
        """Work in a full queue fails at once; the work before it still runs."""
        self.patch(_runner, "QUEUE_LIMIT", 2)
        for name in ("a1", "a2", "a3"):
            self.stand("a", name)
        refused = self.stand("a", "a4")
        self.failureResultOf(refused.result, KeyedQueueFull)
        for name in ("a1", "a2", "a3"):
            self.end(name)
        self.assertEqual(self.begun, ["a1", "a2", "a3"])

    def test_failures(self) -> None:
        """The next work runs after one that fails."""
        first = self.stand("a", "a1")
        self.stand("a", "a2")
        self.going["a1"].errback(ValueError("first"))
        self.failureResultOf(first.result, ValueError)
        self.clock.advance(0)
        self.assertEqual(self.begun, ["a1", "a2"])

    def test_after_another(self) -> None:
        """Work runs after the named work of another key, whether or not that has ended."""
        first = self.stand("a", "a1")
        self.stand("b", "b1", first)
        self.assertEqual(self.begun, ["a1"])
        self.end("a1")
        self.assertEqual(self.begun, ["a1", "b1"])
        self.stand("c", "c1", first)
        self.assertEqual(self.begun, ["a1", "b1", "c1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_timeout(self) -> None:
        """Slow work delays another key once for the timeout, and its own key until it ends."""
        first = self.stand("a", "a1")
        self.stand("b", "b1", first)
        self.clock.advance(TIMEOUT)
        self.assertEqual(self.begun, ["a1", "b1"])
        self.end("b1")
        second = self.stand("a", "a2")
        self.stand("b", "b2", second)
        self.assertEqual(self.begun, ["a1", "b1", "b2"])
        self.end("a1")
        self.assertEqual(self.begun, ["a1", "b1", "b2", "a2"])

    def test_idle(self) -> None:
        """The Deferred for idle queues fires when the last work has ended."""
        self.stand("a", "a1")
        self.stand("a", "a2")
        idle = self.queues.when_idle()
        self.end("a1")
        self.assertNoResult(idle)
        self.end("a2")
        self.successResultOf(idle)

    def test_stopped(self) -> None:
        """Work that hasn't begun is dropped, and no timers are left."""
        first = self.stand("a", "a1")
        self.stand("a", "a2")
        self.stand("b", "b1", first)
        self.queues.stop()
        self.end("a1")
        self.clock.advance(TIMEOUT)
        self.assertEqual(self.begun, ["a1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])


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
