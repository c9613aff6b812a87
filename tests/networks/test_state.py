"""Tests of the durable state of networks."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks._state import DurableState, Seen
from errklein.storage import MemoryStorage, StorageError
from errklein.testing import TestReactor


class StateTests(SynchronousTestCase):
    """Values and positions, in a storage and in memory."""

    def test_values(self) -> None:
        """A value is found by a later process, and by no other network."""
        storage = MemoryStorage()
        for state in (DurableState("chat", storage), DurableState("chat", None)):
            self.assertEqual(self.successResultOf(state.get("token", "none")), "none")
            self.successResultOf(state.set("token", {"a": 1}))
            self.assertEqual(self.successResultOf(state.get("token")), {"a": 1})
        self.assertEqual(self.successResultOf(DurableState("chat", storage).get("token")), {"a": 1})
        self.assertIsNone(self.successResultOf(DurableState("other", storage).get("token")))
        self.assertEqual(storage.namespaces(), ["network:chat"])


class SeenTests(SynchronousTestCase):
    """Positions in streams of events."""

    def setUp(self) -> None:
        """Make a state."""
        super().setUp()
        self.reactor: Any = TestReactor()
        self.state = DurableState("chat", MemoryStorage())

    def loaded(self, most: int = 200) -> Seen:
        """Return what a new process knows."""
        seen = Seen(self.reactor, self.state, "sync", most)
        self.successResultOf(Deferred.fromCoroutine(seen.load()))
        return seen

    def test_restart(self) -> None:
        """A later process knows the position and the latest ids."""
        seen = self.loaded(3)
        self.assertIsNone(seen.position)
        self.assertEqual(
            [seen.is_new(id) for id in ("1", "2", "1", "3", "4", "", "")], [True, True, False] + [True] * 4
        )
        seen.position = "s1"
        self.assertIsNone(self.loaded().position)
        self.reactor.advance(1)
        again = self.loaded(3)
        self.assertEqual(again.position, "s1")
        self.assertEqual([again.is_new(id) for id in ("4", "3", "2", "1")], [False, False, False, True])

    def test_stored_once_a_second(self) -> None:
        """Many events are one write; what is left is written when the bot disconnects."""
        stored: list[Any] = []

        class Counted(DurableState):
            def set(self, key: str, value: Any) -> Deferred[None]:
                stored.append(value["position"])
                return super().set(key, value)

        self.state = Counted("chat", MemoryStorage())
        seen = self.loaded()
        for position in range(100):
            seen.position = position
        self.reactor.advance(1)
        seen.position = 100
        self.successResultOf(seen.flush())
        self.successResultOf(seen.flush())
        self.assertEqual(stored, [99, 100])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_ended_while_the_disk_is_slow(self) -> None:
        """A session that is cancelled while it waits for the disk ends, and no error is logged."""

        class Slow(DurableState):
            def set(self, key: str, value: Any) -> Deferred[None]:
                return Deferred()

        self.state = Slow("chat", None)
        seen = self.loaded()
        seen.position = 1
        stored = seen.flush()
        stored.cancel()
        self.failureResultOf(stored, CancelledError)

    def test_broken_disk(self) -> None:
        """A write that fails is logged, and the next one is tried."""

        class Broken(DurableState):
            def set(self, key: str, value: Any) -> Deferred[None]:
                return fail(StorageError("disk full"))

        self.state = Broken("chat", None)
        seen = self.loaded()
        seen.position = 1
        self.reactor.advance(1)
        seen.position = 2
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.successResultOf(seen.flush())
        self.assertEqual(len(self.flushLoggedErrors(StorageError)), 2)
