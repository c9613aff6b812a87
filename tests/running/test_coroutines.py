"""Tests for the first steps of coroutines on an asyncio loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from errklein.running._coroutines import start_coroutine

seen: ContextVar[str] = ContextVar("seen", default="nothing")


def on_a_loop(test: Coroutine[Any, Any, Any]) -> Any:
    """Run the coroutine on a new loop and return its result."""
    return asyncio.run(test)


def started(work: Coroutine[Any, Any, Any]) -> Any:
    """Return the coroutine's result, or a Deferred of it."""
    return start_coroutine(work, asyncio.get_running_loop(), copy_context())


async def result_of(waited: Deferred[Any]) -> Any:
    """Return the Deferred's result, or raise its exception."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    waited.addCallbacks(future.set_result, lambda failure: future.set_exception(failure.value))
    return await future


class StartCoroutineTests(SynchronousTestCase):
    """Behaviour of a coroutine before and after the first turn of the loop."""

    def test_nothing_to_wait_for(self) -> None:
        """A coroutine that awaits nothing, or only available results, ends at once and raises its exception at once."""

        async def value() -> str:
            return "at once " + await succeed("already")

        async def fails() -> None:
            raise ValueError("no")

        async def leaves() -> None:
            raise SystemExit(3)

        async def test() -> None:
            self.assertIn(started(value()), ("at once already",))
            self.assertRaises(ValueError, started, fails())
            self.assertRaises(SystemExit, started, leaves())

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

    def test_task_that_is_first_used_in_a_later_step(self) -> None:
        """asyncio's timeouts work after a Deferred or future was awaited, and the task stays the same."""
        tasks: list[Any] = []

        async def work() -> str:
            tasks.append(asyncio.current_task())
            await asyncio.sleep(0)
            fired: Deferred[None] = Deferred()
            asyncio.get_running_loop().call_soon(fired.callback, None)
            await fired
            try:
                async with asyncio.timeout(0.001):
                    tasks.append(asyncio.current_task())
                    await Deferred()
            except TimeoutError:
                tasks.append(asyncio.current_task())
                return "too late"
            return "in time"

        async def test() -> None:
            self.assertEqual(await result_of(started(work())), "too late")
            self.assertEqual(len({id(task) for task in tasks}), 1)
            self.assertTrue(tasks[0].done())

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
        """Other code can await and cancel a coroutine's task, which has not used its task itself."""
        tasks: list[Any] = []
        ended: list[str] = []

        async def work(awaited: Any) -> str:
            tasks.append(asyncio.current_task())
            try:
                await awaited
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            await asyncio.sleep(0)
            return "done"

        async def test() -> None:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            deferred: Deferred[None] = Deferred()
            for awaited in (Deferred(), loop.create_future(), asyncio.sleep(1)):
                running = started(work(awaited))
                loop.call_soon(tasks[-1].cancel)
                with self.assertRaises(asyncio.CancelledError):
                    await tasks[-1]
                self.failureResultOf(running, asyncio.CancelledError)
            self.assertEqual(ended, ["cancelled"] * 3)
            for awaited in (deferred, future):
                running = started(work(awaited))
                loop.call_soon(awaited.callback if awaited is deferred else awaited.set_result, None)
                self.assertEqual(await tasks[-1], "done")
                self.assertEqual(await result_of(running), "done")

        on_a_loop(test())

    def test_task_that_is_used_in_another_thread(self) -> None:
        """The loop hands the coroutine over to its task in its own thread, before it waits or later."""
        tasks: list[Any] = []
        handed: list[int] = []

        class Noting(asyncio.Future[None]):
            def remove_done_callback(self, callback: Any) -> int:
                handed.append(threading.get_ident())
                return super().remove_done_callback(callback)

        def cancel() -> threading.Thread:
            loop = asyncio.get_running_loop()
            thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(tasks[0].cancel))
            thread.start()
            return thread

        async def work(early: bool) -> str:
            tasks[:] = [asyncio.current_task()]
            if early:
                cancel()
            try:
                await Noting()
            except asyncio.CancelledError:
                return "cancelled"
            return "not cancelled"

        async def test() -> None:
            for early in (True, False):
                running = started(work(early))
                if not early:
                    cancel()
                self.assertEqual(await result_of(running), "cancelled")

        on_a_loop(test())
        self.assertEqual(handed, [threading.get_ident()] * 2)

    def test_task_that_is_cancelled_at_once(self) -> None:
        """A task that is cancelled before the loop turns cancels what its coroutine awaits."""
        tasks: list[Any] = []
        cancelled: list[bool] = []

        async def work() -> None:
            tasks.append(asyncio.current_task())
            await Deferred(lambda _: cancelled.append(True))

        async def test() -> None:
            running = started(work())
            tasks[0].cancel()
            while not running.called:
                await asyncio.sleep(0)
            self.failureResultOf(running, asyncio.CancelledError)
            self.assertEqual(cancelled, [True])

        on_a_loop(test())

    def test_task_of_a_coroutine_that_has_ended(self) -> None:
        """A task that is used after its coroutine has ended is done, whether the coroutine has waited or not."""

        async def work(awaited: Any) -> asyncio.Task[Any] | None:
            await awaited
            return asyncio.current_task()

        async def test() -> None:
            for use in (
                lambda task: self.assertTrue(task.done()),
                lambda task: self.assertFalse(task.cancel()),
                lambda task: self.assertIsNone(task.result()),
                lambda task: self.assertIsNone(task.exception()),
            ):
                at_once = started(work(succeed(None)))
                use(at_once)
                self.assertTrue(at_once.done())
                await at_once
                waited = await result_of(started(work(asyncio.sleep(0))))
                use(waited)
                self.assertTrue(waited.done())
                await waited

        on_a_loop(test())

    def test_cancelled_while_a_deferred_is_awaited(self) -> None:
        """Cancelling cancels the Deferred, and the coroutine may continue."""
        seen: list[str] = []

        async def work() -> None:
            try:
                await Deferred(lambda _: seen.append("cancelled"))
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                seen.append("continued")

        async def test() -> None:
            running = started(work())
            await asyncio.sleep(0)
            running.cancel()
            self.failureResultOf(running, CancelledError)
            while len(seen) < 2:
                await asyncio.sleep(0)

        on_a_loop(test())
        self.assertEqual(seen, ["cancelled", "continued"])

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
                running = started(work(awaited))
                await asyncio.sleep(0)
                fire(None)
                running.cancel()
                self.failureResultOf(running, CancelledError)
                while "ended" not in seen:
                    await asyncio.sleep(0)
                self.assertEqual(seen, ["cancelled", "ended"])
                seen.clear()

        on_a_loop(test())

    def test_cancelled_by_its_own_step(self) -> None:
        """A coroutine that cancels its result gets the cancellation at its next await, whether or not its task is used."""
        running: list[Deferred[None]] = []
        cancelled: list[bool] = []

        async def work(use: bool, awaited: Any) -> None:
            await asyncio.sleep(0)
            running[-1].cancel()
            if use:
                asyncio.current_task().get_name()  # type: ignore[union-attr]
            try:
                await awaited
            except asyncio.CancelledError:
                cancelled.append(use)

        async def test() -> None:
            for use in (False, True):
                for awaited in (Deferred[None](), asyncio.sleep(1000)):
                    running.append(started(work(use, awaited)))
                    for _ in range(5):
                        await asyncio.sleep(0)
                    self.failureResultOf(running[-1], CancelledError)

        on_a_loop(test())
        self.assertEqual(cancelled, [False, False, True, True])

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
            except RuntimeError as error:
                return str(error)
            return "no error"

        async def test() -> None:
            for awaited in (Strange(), other.create_future()):
                self.assertIn("can't be awaited", await result_of(started(work(awaited))))

        on_a_loop(test())

    def test_variables(self) -> None:
        """Context variables set in the first step are kept in later steps, and not visible elsewhere."""

        async def work() -> str:
            seen.set("mine")
            await asyncio.sleep(0)
            return seen.get()

        async def test() -> None:
            running = started(work())
            self.assertEqual(seen.get(), "nothing")
            self.assertEqual(await result_of(running), "mine")

        on_a_loop(test())

    def test_variables_are_not_visible_to_callbacks(self) -> None:
        """Callbacks of the result, which may begin another request, see the caller's variables."""

        async def work(use: bool, awaited: Any) -> None:
            seen.set("mine")
            if use:
                asyncio.current_task().get_name()  # type: ignore[union-attr]
            await awaited
            await asyncio.sleep(0)

        def fire(deferred: Deferred[None]) -> None:
            seen.set("those of the code that fires the Deferred")
            deferred.callback(None)

        async def test() -> None:
            for use in (False, True):
                deferred: Deferred[None] = Deferred()
                for awaited in (asyncio.sleep(0), deferred):
                    running = started(work(use, awaited)).addCallback(lambda _: seen.get())
                    if awaited is deferred:
                        copy_context().run(fire, deferred)
                    self.assertEqual(await result_of(running), "nothing")

        on_a_loop(test())

    def test_cancelled_before_the_loop_turns(self) -> None:
        """A coroutine that is cancelled right after its first step ends cleanly."""
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
            while asyncio.all_tasks() != {asyncio.current_task()}:
                await asyncio.sleep(0)

        on_a_loop(test())
        self.assertEqual(ended, ["cancelled", "cleaned up"])

    def test_what_is_awaited_fires_before_the_loop_turns(self) -> None:
        """A Deferred or future that fires before the first turn of the loop is handled."""

        async def test() -> None:
            gate: Deferred[str] = Deferred()
            future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

            async def work() -> list[str]:
                return [await gate, await future]

            async def other() -> str:
                return await future

            running, too = started(work()), started(other())
            gate.callback("gate")
            future.set_result("future")
            self.assertEqual(await result_of(running), ["gate", "future"])
            self.assertEqual(await result_of(too), "future")

        on_a_loop(test())

    def test_later_errors(self) -> None:
        """Later exceptions, including SystemExit, fail the Deferred and don't stop the loop."""

        async def work(error: BaseException) -> None:
            await asyncio.sleep(0)
            raise error

        async def test() -> None:
            for error in (ValueError("no"), SystemExit(3)):
                failures: list[Any] = []
                running = started(work(error))
                running.addErrback(failures.append)
                while not failures:
                    await asyncio.sleep(0)
                self.assertIs(failures[0].value, error)

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
                running = started(function())
                if running is not None:
                    running.addErrback(lambda _: None)
            for _ in range(3):
                await asyncio.sleep(0)

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

    def test_nothing_is_left(self) -> None:
        """A coroutine that ended at once leaves no task after a turn of the loop."""

        async def value() -> int:
            return 7

        async def test() -> None:
            for _ in range(3):
                self.assertEqual(started(value()), 7)
            await asyncio.sleep(0)
            self.assertEqual(asyncio.all_tasks(), {asyncio.current_task()})

        on_a_loop(test())
