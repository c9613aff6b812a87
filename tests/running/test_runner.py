"""Tests for calls of plugins' code, with a real reactor and real threads."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.python.threadable import isInIOThread
from twisted.trial.unittest import SkipTest, TestCase

from errklein.ports.receipts import Receipt
from errklein.running import Runner, WorkerPool, install_task_factory, loop_of, on_reactor
from errklein.running.context import origin

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


class Plugin:
    """Handlers of every kind, each of which returns where it ran."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.gate = threading.Event()
        self.shared: Deferred[str] = Deferred()

    def plain(self, value: str = "") -> tuple[str, bool]:
        return value + colour.get(), isInIOThread()

    def waits(self) -> bool:
        return self.gate.wait(10)

    def raises(self) -> None:
        raise RuntimeError("as it should")

    def leaves(self) -> None:
        raise SystemExit(1)

    def items(self) -> Iterator[tuple[str, bool]]:
        yield colour.get(), isInIOThread()
        yield colour.get(), isInIOThread()

    async def coroutine(self, value: str = "") -> tuple[str, bool]:
        await deferLater(self.reactor, 0)
        return value + colour.get(), isInIOThread()

    async def async_items(self) -> AsyncIterator[tuple[str, bool]]:
        await deferLater(self.reactor, 0)
        yield colour.get(), isInIOThread()
        yield colour.get(), isInIOThread()

    def hidden_deferred(self) -> Any:
        # Nothing here tells that the result is a Deferred.
        return self.reactor.later()

    @on_reactor
    def share(self) -> Any:
        return self.shared

    @on_reactor
    def deferred(self) -> Any:
        return deferLater(self.reactor, 0, isInIOThread)


class RunnerTests(TestCase):
    """Handlers run where they may, in their caller's context."""

    def setUp(self) -> None:
        """Create a runner with a small pool."""
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.pool = WorkerPool(reactor, "test", 2)  # type: ignore[arg-type]
        self.runner = Runner(reactor, self.pool)
        self.addCleanup(self.pool.stop)
        self.plugin = Plugin(reactor)
        self.addCleanup(self.plugin.gate.set)

    async def run_it(self, handler: Any, *args: Any) -> Any:
        """Return the handler's result."""
        colour.set("green")
        return await self.runner.run(handler, *args)

    async def test_plain_handlers_run_in_a_thread(self) -> None:
        """A plain handler runs in a thread with its arguments and its caller's context."""
        self.assertEqual(await self.run_it(self.plugin.plain, "dark"), ("darkgreen", False))

    def test_origin_of_the_context(self) -> None:
        """A handler in a thread belongs to the origin of the context that it runs in."""
        pool = WorkerPool(self.reactor, "test", 1, shared=True, start_thread=lambda target, name: None)
        context = contextvars.copy_context()
        context.run(origin.set, "route:Builds:report")
        self.runner.using(pool).call_in(lambda: str, context=context)
        self.assertEqual(pool.status().running, {"route:Builds:report": 1})

    async def test_coroutines_run_on_the_reactor(self) -> None:
        """A coroutine may await Deferreds and keeps its context."""
        self.assertEqual(await self.run_it(self.plugin.coroutine, "dark"), ("darkgreen", True))

    async def test_deferreds_are_waited_for(self) -> None:
        """The result of a handler on the reactor that returns a Deferred is the Deferred's result."""
        self.assertIs(await self.run_it(self.plugin.deferred), True)

    async def test_errors_arrive(self) -> None:
        """Every exception of a handler, including SystemExit, fails the Deferred."""
        for handler, error in ((self.plugin.raises, RuntimeError), (self.plugin.leaves, SystemExit)):
            await self.assertFailure(self.runner.run(handler), error)

    async def test_a_deferred_out_of_a_thread_is_continued(self) -> None:
        """A Deferred that a handler in a thread returns gives its result, with a warning in the log."""

        class Source:
            @staticmethod
            def later() -> Any:
                fired: Deferred[str] = Deferred()
                fired.callback("late")
                return fired

        self.plugin.reactor = Source()
        self.assertEqual(await self.run_it(self.plugin.hidden_deferred), "late")

    async def test_handles_count_as_none(self) -> None:
        """What `send` returns is None as a result, from a thread and from the reactor, and the network isn't waited for."""
        sent = Receipt("test/k1")
        self.addCleanup(sent.settle, sent.key)
        self.assertIs(await self.run_it(lambda: sent), None)

        async def later() -> Any:
            await deferLater(self.plugin.reactor, 0)
            return sent

        self.assertIs(await self.run_it(later), None)
        self.assertIs(await self.runner.call(lambda: sent), None)
        self.assertIs(await self.runner.result_of(later()), None)

    async def test_generators_deliver_each_item(self) -> None:
        """Items of both kinds of generators are delivered where the generator runs, in its context."""
        colour.set("green")
        for handler, expected in ((self.plugin.items, False), (self.plugin.async_items, True)):
            items: list[Any] = []
            where: list[bool] = []

            def deliver(item: Any, items: list[Any] = items, where: list[bool] = where) -> None:
                items.append(item)
                where.append(isInIOThread())

            await self.runner.run_generator(deliver, handler)
            self.assertEqual(items, [("green", expected)] * 2)
            self.assertEqual(where, [expected] * 2)

    async def test_knows_what_is_running(self) -> None:
        """Running handlers are counted by plugin and in total; waiting ones only in total."""
        jobs = [self.runner.run(self.plugin.waits) for _ in range(3)]
        self.assertEqual((self.runner.running(self.plugin), self.runner.running()), (2, 3))
        idle = self.runner.when_idle(self.plugin)
        self.assertNoResult(idle)
        self.plugin.gate.set()
        await idle
        for job in jobs:
            await job
        await self.runner.when_idle()
        self.assertEqual((self.runner.running(self.plugin), self.runner.running()), (0, 0))

    async def test_handlers_that_share_a_deferred(self) -> None:
        """Handlers that return the same Deferred get its result, and are counted until it fires."""
        first, second = (self.runner.call(self.plugin.share) for _ in range(2))
        self.assertEqual(self.runner.running(self.plugin), 2)
        self.plugin.shared.callback("result")
        self.assertEqual((await first, await second), ("result", "result"))
        self.assertEqual((self.runner.running(self.plugin), self.runner.running()), (0, 0))

    async def test_no_cyclic_garbage(self) -> None:
        """A handler that has run in a thread needs no run of the garbage collector."""
        await gatherResults([self.runner.run(self.plugin.plain) for _ in range(10)])
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        await gatherResults([self.runner.run(self.plugin.plain) for _ in range(10)])
        self.assertLess(gc.collect(), 10)

    async def test_asyncio_and_deferreds_in_one_coroutine(self) -> None:
        """With an asyncio reactor, a coroutine awaits both kinds, has a task, and catches the exceptions of both."""
        if loop_of(self.reactor) is None:
            raise SkipTest("needs --reactor=asyncio")

        def divide() -> float:
            return 1 / 0

        async def both() -> list[str]:
            seen = []
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
                seen.append("asyncio")
            try:
                await deferLater(self.reactor, 0, divide)
            except ZeroDivisionError:
                seen.append("deferred")
            assert asyncio.current_task() is not None
            return seen

        self.assertEqual(await self.run_it(both), ["asyncio", "deferred"])

    async def test_tasks_of_a_coroutine_await_deferreds(self) -> None:
        """`gather`, `wait_for` and `create_task` work with coroutines that await Deferreds."""
        loop = loop_of(self.reactor)
        if loop is None:
            raise SkipTest("needs --reactor=asyncio")
        install_task_factory(loop)
        self.addCleanup(loop.set_task_factory, None)

        async def late(value: int) -> int:
            await deferLater(self.reactor, 0)
            return value

        async def several() -> list[int]:
            together = await asyncio.gather(late(1), late(2))
            return [*together, await asyncio.wait_for(late(3), 5), await asyncio.create_task(late(4))]

        self.assertEqual(await self.run_it(several), [1, 2, 3, 4])

    async def test_cancelling_reaches_what_is_awaited(self) -> None:
        """Cancelling the Deferred of a coroutine cancels the Deferred that it awaits."""
        cancelled: list[bool] = []
        endless: Deferred[None] = Deferred(lambda _: cancelled.append(True))

        async def waits() -> None:
            await endless

        running = self.runner.run(waits)
        await deferLater(self.reactor, 0)
        running.cancel()
        running.addErrback(lambda _: None)
        await running
        await deferLater(self.reactor, 0)
        self.assertEqual(cancelled, [True])
