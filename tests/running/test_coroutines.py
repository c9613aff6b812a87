"""Tests for coroutines on an asyncio loop."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from errklein.running.reactors import start_coroutine

seen: ContextVar[str] = ContextVar("seen", default="nothing")


def on_a_loop(test: Coroutine[Any, Any, Any]) -> Any:
    """Run the coroutine on a new loop and return its result."""
    return asyncio.run(test)


def started(work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    """Return a Deferred of the coroutine's result."""
    return maybeDeferred(start_coroutine, work, asyncio.get_running_loop(), copy_context())


async def result_of(waited: Deferred[Any]) -> Any:
    """Return the Deferred's result, or raise its exception."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    waited.addCallbacks(future.set_result, lambda failure: future.set_exception(failure.value))
    return await future


async def begun(work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    """Return a Deferred of the coroutine's result when it has taken its first step."""
    running = started(work)
    if sys.version_info < (3, 12):
        await asyncio.sleep(0)
    return running


async def others_end() -> None:
    """Wait until all other tasks have ended, and the results have arrived."""
    while asyncio.all_tasks() != {asyncio.current_task()}:
        await asyncio.sleep(0)
    await asyncio.sleep(0)


class StartCoroutineTests(SynchronousTestCase):
    """Results, tasks, cancellation and variables of coroutines."""

    def test_nothing_to_wait_for(self) -> None:
        """A coroutine that awaits nothing, or only available results, has its result, or fails with its exception."""

        async def value() -> str:
            return "at once " + await succeed("already")

        async def fails() -> None:
            raise ValueError("no")

        async def leaves() -> None:
            raise SystemExit(3)

        async def test() -> None:
            running = [started(work()) for work in (value, fails, leaves)]
            if sys.version_info < (3, 12):
                await others_end()
            self.assertEqual(self.successResultOf(running[0]), "at once already")
            self.failureResultOf(running[1], ValueError)
            self.failureResultOf(running[2], SystemExit)
            self.assertEqual(asyncio.all_tasks(), {asyncio.current_task()})

        on_a_loop(test())

    def test_current_task(self) -> None:
        """A coroutine has a task of its own from its first step; its caller keeps its own task."""
        tasks: list[Any] = []

        async def work() -> None:
            tasks.append(asyncio.current_task())
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())

        async def test() -> None:
            mine = asyncio.current_task()
            running = started(work())
            self.assertIs(asyncio.current_task(), mine)
            await result_of(running)
            self.assertIs(tasks[0], tasks[1])
            self.assertIsNot(tasks[0], mine)

        on_a_loop(test())

    def test_time_limits(self) -> None:
        """asyncio's timeouts work, although they need the current task before anything is awaited."""

        async def work() -> str:
            try:
                async with asyncio.timeout(0.001):
                    await Deferred()
            except TimeoutError:
                return "too late"
            return "in time"

        async def test() -> None:
            self.assertEqual(await result_of(started(work())), "too late")

        on_a_loop(test())

    def test_task_that_is_used(self) -> None:
        """The current task can be named, cancelled, and asked to call a function at the end."""
        ended: list[Any] = []

        async def work() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.set_name("mine")
            task.add_done_callback(ended.append)
            asyncio.get_running_loop().call_soon(task.cancel)
            await Deferred()

        async def test() -> None:
            running = started(work())
            try:
                await result_of(running)
            except asyncio.CancelledError:
                ended.append("cancelled")
            self.assertEqual([ended[0].get_name(), ended[0].cancelled(), ended[1]], ["mine", True, "cancelled"])

        on_a_loop(test())

    def test_task_that_is_used_elsewhere_while_it_waits(self) -> None:
        """Other code can await and cancel a coroutine's task."""
        tasks: list[Any] = []

        async def work(awaited: Any) -> str:
            tasks.append(asyncio.current_task())
            await awaited
            return "done"

        async def test() -> None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            deferred: Deferred[None] = Deferred()
            for awaited, fire in ((deferred, deferred.callback), (future, future.set_result)):
                running = await begun(work(awaited))
                fire(None)
                self.assertEqual((await tasks[-1], await result_of(running)), ("done", "done"))
            for awaited in (Deferred(), future.get_loop().create_future(), asyncio.sleep(1)):
                running = await begun(work(awaited))
                tasks[-1].cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await tasks[-1]
                self.failureResultOf(running, asyncio.CancelledError)

        on_a_loop(test())

    def test_cancelled_while_it_waits(self) -> None:
        """Cancelling cancels the Deferred or future that is awaited, and the coroutine may continue."""
        seen: list[str] = []

        async def work(awaited: Any) -> None:
            try:
                await awaited
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                seen.append("continued")

        async def test() -> None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.add_done_callback(lambda _: seen.append("cancelled"))
            for awaited in (Deferred(lambda _: seen.append("cancelled")), future):
                running = await begun(work(awaited))
                running.cancel()
                self.failureResultOf(running, CancelledError)
                await others_end()
                self.assertEqual(seen, ["cancelled", "continued"])
                seen.clear()

        on_a_loop(test())

    def test_cancelled_before_the_loop_turns(self) -> None:
        """A coroutine that is cancelled as soon as it was started ends cleanly: it cleans up, or never begins."""
        ended: list[str] = []

        async def work() -> None:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            finally:
                ended.append("cleaned up")

        async def test() -> None:
            running = started(work())
            running.cancel()
            self.failureResultOf(running, CancelledError)
            await others_end()

        with warnings.catch_warnings(record=True) as warned:
            # Not ResourceWarning: collecting garbage may find what other tests left.
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", RuntimeWarning)
            on_a_loop(test())
            gc.collect()
        self.assertEqual(ended, ["cancelled", "cleaned up"] if sys.version_info >= (3, 12) else [])
        self.assertEqual([str(one.message) for one in warned], [])

    def test_cancelled_when_the_result_is_on_its_way(self) -> None:
        """A coroutine that is cancelled after its Deferred or future has fired gets the cancellation once."""
        seen: list[str] = []

        async def work(awaited: Any) -> None:
            try:
                await awaited
            except asyncio.CancelledError:
                seen.append("cancelled")
            await asyncio.sleep(0)
            seen.append("ended")

        async def test() -> None:
            deferred: Deferred[None] = Deferred()
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            for awaited, fire in ((deferred, deferred.callback), (future, future.set_result)):
                running = await begun(work(awaited))
                fire(None)
                running.cancel()
                self.failureResultOf(running, CancelledError)
                await others_end()
                self.assertEqual(seen, ["cancelled", "ended"])
                seen.clear()

        on_a_loop(test())

    def test_cancelled_by_its_own_step(self) -> None:
        """A coroutine that cancels its result gets the cancellation at its next await."""
        running: list[Deferred[None]] = []
        cancelled: list[Any] = []

        async def work(awaited: Any) -> None:
            await asyncio.sleep(0)
            running[-1].cancel()
            try:
                await awaited
            except asyncio.CancelledError:
                cancelled.append(awaited)

        async def test() -> None:
            for awaited in (Deferred[None](), asyncio.sleep(1000)):
                running.append(started(work(awaited)))
                await others_end()
                self.failureResultOf(running[-1], CancelledError)
                self.assertEqual(cancelled.pop(), awaited)

        on_a_loop(test())

    def test_what_cannot_be_awaited(self) -> None:
        """Awaiting something else, such as a future of another loop, raises RuntimeError in the coroutine."""
        other = asyncio.new_event_loop()
        self.addCleanup(other.close)

        class Strange:
            def __await__(self) -> Any:
                yield "something"

        async def work(awaited: Any) -> str:
            try:
                await awaited
            except RuntimeError:
                return "raised"
            return "no error"

        async def test() -> None:
            for awaited in (Strange(), other.create_future()):
                self.assertEqual(await result_of(started(work(awaited))), "raised")

        on_a_loop(test())

    def test_variables(self) -> None:
        """Context variables set in the first step are kept in later steps, and not visible elsewhere."""

        async def work() -> str:
            seen.set("mine")
            await asyncio.sleep(0)
            return seen.get()

        async def test() -> None:
            running = await begun(work())
            self.assertEqual(seen.get(), "nothing")
            self.assertEqual(await result_of(running), "mine")

        on_a_loop(test())

    def test_variables_are_not_visible_to_callbacks(self) -> None:
        """Callbacks of the result, which may begin another request, see the caller's variables."""

        async def work(awaited: Any) -> None:
            seen.set("mine")
            await awaited

        def fire(deferred: Deferred[None]) -> None:
            seen.set("those of the code that fires the Deferred")
            deferred.callback(None)

        async def test() -> None:
            deferred: Deferred[None] = Deferred()
            for awaited in (asyncio.sleep(0), deferred):
                running = (await begun(work(awaited))).addCallback(lambda _: seen.get())
                if awaited is deferred:
                    copy_context().run(fire, deferred)
                self.assertEqual(await result_of(running), "nothing")

        on_a_loop(test())

    def test_what_is_awaited_fires_before_the_loop_turns(self) -> None:
        """A Deferred or future that fires before the first turn of the loop is handled."""

        async def work(gate: Deferred[str], future: asyncio.Future[str]) -> list[str]:
            return [await gate, await future]

        async def test() -> None:
            gate: Deferred[str] = Deferred()
            future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            running = started(work(gate, future))
            gate.callback("gate")
            future.set_result("future")
            self.assertEqual(await result_of(running), ["gate", "future"])

        on_a_loop(test())

    def test_later_errors(self) -> None:
        """Later exceptions, including SystemExit, fail the Deferred and don't stop the loop."""

        async def work(error: BaseException) -> None:
            await asyncio.sleep(0)
            raise error

        async def test() -> None:
            for error in (ValueError("no"), SystemExit(3)):
                running = started(work(error))
                await others_end()
                self.assertIs(self.failureResultOf(running).value, error)

        on_a_loop(test())

    def test_no_cyclic_garbage(self) -> None:
        """A coroutine that has ended needs no run of the garbage collector, whether it waited or failed."""

        async def works() -> None:
            await asyncio.sleep(0)

        async def fails() -> None:
            await asyncio.sleep(0)
            raise ValueError

        async def at_once() -> None: ...

        async def several() -> None:
            for function in (works, fails, at_once) * 10:
                started(function()).addErrback(lambda _: None)
            await others_end()

        async def test() -> None:
            await several()
            gc.collect()
            gc.disable()
            try:
                await several()
                self.assertLess(gc.collect(), 10)
            finally:
                gc.enable()

        on_a_loop(test())

    def test_abandoned_while_it_waits(self) -> None:
        """A coroutine that waits for what nobody refers to is closed by the garbage collector, without a report of an error."""
        reported: list[Any] = []
        self.patch(sys, "unraisablehook", reported.append)

        async def waits(ended: list[str]) -> None:
            try:
                await Deferred()
            finally:
                ended.append("closed")

        async def test() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
            for _ in range(20):
                ended: list[str] = []
                await begun(waits(ended))
                gc.collect()
                self.assertEqual(ended, ["closed"])

        on_a_loop(test())
        self.assertEqual(reported, [])
