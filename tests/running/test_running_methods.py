"""Tests for the list of running methods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running import Runner, WorkerPool
from errklein.running.threads import register_reactor_thread


class Plugin:
    """Handlers of each kind, which end when the test lets them."""

    def __init__(self) -> None:
        self.gate: Deferred[None] = Deferred()

    def plain(self) -> None:
        """End at once."""

    async def waits(self) -> None:
        """End when the gate opens."""
        await self.gate

    async def yields(self) -> AsyncIterator[int]:
        """Yield once the gate is open."""
        await self.gate
        yield 1

    async def fails(self) -> None:
        """Raise an exception when the gate opens."""
        await self.gate
        raise ValueError("no")


class Reactor(Clock):
    """A clock that also accepts calls from threads."""

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        """Call it soon."""
        self.callLater(0, function, *args)


class RunningMethodsTests(SynchronousTestCase):
    """The methods that are running, and their start times."""

    def setUp(self) -> None:
        """Create a runner, and a pool whose threads begin when the test lets them."""
        self.reactor = Reactor()
        register_reactor_thread(self.reactor)
        self.plugin = Plugin()
        self.threads: list[Callable[[], None]] = []
        self.pool = WorkerPool(self.reactor, "test", 1, start_thread=lambda target, _: self.threads.append(target))
        self.runner = Runner(self.reactor, self.pool)

    def going(self) -> list[tuple[str, float]]:
        """Return the names of the running methods with their start times."""
        self.assertTrue(all(going.subject is self.plugin for going in self.runner.running_methods()))
        return [(going.name, going.since) for going in self.runner.running_methods()]

    def test_on_the_reactor(self) -> None:
        """A handler on the reactor is listed until it has ended, also by an exception."""
        self.reactor.advance(5)
        running = self.runner.run(self.plugin.waits)
        self.reactor.advance(5)
        failing = self.runner.run(self.plugin.fails)
        yielding = self.runner.run_generator(lambda item: None, self.plugin.yields)
        self.assertEqual(self.going(), [("waits", 5.0), ("fails", 10.0), ("yields", 10.0)])
        self.plugin.gate.callback(None)
        self.successResultOf(running)
        self.failureResultOf(failing, ValueError)
        self.successResultOf(yielding)
        self.assertEqual(self.going(), [])

    def test_in_a_thread(self) -> None:
        """A handler in a thread is listed while it runs, and not while it waits for a thread."""
        first = self.runner.run(self.plugin.plain)
        self.reactor.advance(1)
        second = self.runner.run(self.plugin.plain)
        self.assertEqual(self.going(), [("plain", 0.0)])
        self.pool.stop()
        (work,) = self.threads
        work()
        self.reactor.advance(0)
        self.successResultOf(first)
        self.failureResultOf(second)
        self.assertEqual(self.going(), [])

    def test_functions(self) -> None:
        """Functions that aren't methods are not listed."""

        async def nobody() -> None:
            await self.plugin.gate

        running = self.runner.run(nobody)
        self.assertEqual(self.going(), [])
        self.plugin.gate.callback(None)
        self.successResultOf(running)
