"""Tests for queues of work by key."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running._keyed_queues import TIMEOUT, KeyedQueueFull, KeyedQueues, QueuedWork


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
        self.assertTrue(piece.has_ended)

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
        self.queues = KeyedQueues(self.clock, limit=2)
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
