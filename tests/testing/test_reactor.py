"""Tests for the asyncio event loop of a bot in memory."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd, on_reactor, webhook
from errklein.testing import LeftOver, PluginTestCase, TestBot, TestReactor


class Feed(BotPlugin):
    """Uses asyncio as plugins do: a queue, a background task, timers, timeouts and threads."""

    async def activate(self) -> None:
        super().activate()
        await asyncio.sleep(2)
        self.queue: asyncio.Queue[str] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.opened = asyncio.Event()
        self.gate: Deferred[str] = Deferred()
        self.task = asyncio.create_task(self.consume())

    async def deactivate(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await asyncio.sleep(0.1)
        super().deactivate()

    async def consume(self) -> None:
        while True:
            item = await self.queue.get()
            await asyncio.sleep(1)
            self.send(self.build_identifier("#testroom"), f"got {item}")

    @webhook
    async def put(self, payload: str) -> str:
        await self.queue.put(payload)
        return "queued"

    @webhook
    async def slow(self, payload: str) -> str:
        try:
            await asyncio.wait_for(asyncio.sleep(float(payload)), 3)
        except TimeoutError:
            return "timed out"
        return "in time"

    @webhook
    async def mixed(self, payload: str) -> str:
        return ", ".join(await asyncio.gather(self.deferred(), asyncio.to_thread(self.loops)))

    async def deferred(self) -> str:
        return await self.gate

    def loops(self) -> str:
        """Return what runs in this thread."""
        try:
            return repr(asyncio.get_running_loop())
        except RuntimeError as error:
            return str(error)

    @botcmd
    def blocking(self, msg: Any, args: str) -> str:
        """Run a loop of its own, as blocking commands may."""
        return asyncio.run(asyncio.sleep(0, "ran"))

    @botcmd
    def bridged(self, msg: Any, args: str) -> str:
        """Wait in a thread for a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(self.quick(), self.loop).result(5)

    async def quick(self) -> str:
        await asyncio.sleep(0)
        return "bridged"

    @botcmd
    async def steps(self, msg: Any, args: str) -> AsyncIterator[str]:
        """Reply twice."""
        yield "one"
        await asyncio.sleep(5)
        yield "two"

    @botcmd
    async def door(self, msg: Any, args: str) -> str:
        """Reply when it is open."""
        await self.opened.wait()
        return "open"

    @botcmd
    async def gated(self, msg: Any, args: str) -> str:
        """Reply with the result of a Deferred."""
        try:
            return await self.gate
        except ValueError as error:
            return f"no: {error}"

    @botcmd
    @on_reactor
    def spawn(self, msg: Any, args: str) -> str:
        """Start a task."""
        self.spawned = asyncio.get_running_loop().create_task(self.deferred())
        return "started"

    @botcmd
    async def connect(self, msg: Any, args: str) -> str:
        """Try to reach another host."""
        try:
            await asyncio.open_connection("example.org", 80)
        except OSError as error:
            return str(error)
        return "connected"

    @botcmd
    async def spin(self, msg: Any, args: str) -> str:
        """Never wait for time."""
        while not self.opened.is_set():
            await asyncio.sleep(0)
        return "spun"


class PluginWithAsyncioTests(PluginTestCase):
    """Plugins with asyncio, on virtual time."""

    plugins = (Feed,)

    def test_background_task(self) -> None:
        """A task takes what a webhook has put into a queue, and its timers follow `advance`."""
        self.assertEqual(self.post("/put", data="x").text, "queued")
        self.assertEqual(self.post("/put", data="y").text, "queued")
        self.bot.advance(0.5)
        self.assertEqual(self.bot.messages, [])
        self.bot.advance(0.5)
        self.assertEqual(self.bot.sent_to("#testroom"), ["got x"])
        self.bot.advance(1)
        self.assertEqual(self.bot.sent_to("#testroom"), ["got x", "got y"])

    def test_timers_in_a_row(self) -> None:
        """Timers that begin one after the other all end within one `advance`."""
        for item in "abc":
            self.post("/put", data=item)
        self.bot.advance(3)
        self.assertEqual(self.bot.sent_to("#testroom"), ["got a", "got b", "got c"])

    def test_timeouts(self) -> None:
        """A handler responds after its sleep, or after its timeout."""
        for seconds, text in ((2, "in time"), (20, "timed out")):
            waiting = self.bot.post("/slow", data=str(seconds))
            self.assertNoResult(waiting)
            self.bot.advance(3)
            self.assertEqual(self.successResultOf(waiting).text, text)

    def test_deferreds_and_threads(self) -> None:
        """Tasks await Deferreds, and functions for a thread run in place, where no loop runs."""
        waiting = self.bot.post("/mixed")
        self.assertNoResult(waiting)
        self.bot.plugin("Feed").gate.callback("fired")
        self.assertEqual(self.successResultOf(waiting).text, "fired, no running event loop")

    def test_fired_deferred_continues_at_once(self) -> None:
        """A coroutine that awaits a Deferred goes on when a test fires it, with its result or its error."""
        for fire, text in (
            (lambda gate: gate.callback("yes"), "yes"),
            (lambda gate: gate.errback(ValueError("closed")), "no: closed"),
        ):
            feed = self.bot.plugin("Feed")
            feed.gate = Deferred()
            self.assertEqual(self.bot.say("!gated"), [])
            fire(feed.gate)
            self.assertEqual(self.bot.messages[-1].text, text)

    def test_blocking_command(self) -> None:
        """A blocking command may run a loop of its own, as in a thread."""
        self.assertEqual(self.command("!blocking"), "ran")

    def test_blocking_command_waits_for_a_coroutine(self) -> None:
        """A blocking command may wait for a coroutine on the loop that takes no time."""
        self.assertEqual(self.command("!bridged"), "bridged")

    def test_call_from_another_thread(self) -> None:
        """A call from a thread of the plugin runs in the test's thread, in the next call of the bot."""
        threads: list[threading.Thread] = []
        call = functools.partial(self.bot.loop.call_soon_threadsafe, lambda: threads.append(threading.current_thread()))
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        self.assertEqual(threads, [])
        self.bot.advance(0)
        self.assertEqual(threads, [threading.current_thread()])

    def test_replies_over_time(self) -> None:
        """An asynchronous generator sends each reply when it yields it."""
        self.assertEqual(self.bot.say("!steps"), ["one"])
        self.bot.advance(5)
        self.assertEqual(self.bot.sent_to("@admin"), ["one", "two"])

    def test_event_of_a_test(self) -> None:
        """What a test sets itself takes effect in the next call of the bot, such as `advance(0)`."""
        self.assertEqual(self.bot.say("!door"), [])
        self.bot.plugin("Feed").opened.set()
        self.bot.advance(0)
        self.assertEqual(self.bot.sent_to("@admin"), ["open"])

    def test_task_of_a_plain_handler(self) -> None:
        """A plain handler on the reactor finds the running loop."""
        self.assertEqual(self.command("!spawn"), "started")
        feed = self.bot.plugin("Feed")
        feed.gate.callback("result")
        self.assertEqual(feed.spawned.result(), "result")

    def test_run_until_complete(self) -> None:
        """A test may call a coroutine of the plugin; the virtual time that it takes passes."""
        loop = self.bot.loop
        before = loop.time()
        self.assertEqual(loop.run_until_complete(asyncio.sleep(60, "slept")), "slept")
        self.assertEqual(loop.time() - before, 60)
        error = self.assertRaises(TimeoutError, loop.run_until_complete, self.bot.plugin("Feed").deferred())
        self.assertIn("deferred", str(error))

    def test_no_network(self) -> None:
        """A connection fails with a reason, since a test has no network."""
        self.assertIn("no network to connect to example.org:80", self.command("!connect"))
        error = self.assertRaises(OSError, self.bot.loop.run_until_complete, self.bot.loop.getaddrinfo("a.example", 1))
        self.assertIn("'a.example'", str(error))

    def test_task_that_never_waits(self) -> None:
        """A task that only yields to others doesn't hang the test."""
        self.assertEqual(self.bot.say("!spin"), [])
        self.bot.plugin("Feed").opened.set()
        self.bot.advance(0)
        self.assertEqual(self.bot.sent_to("@admin"), ["spun"])


class LoopTests(SynchronousTestCase):
    """The loop without a bot's plugins."""

    def test_order(self) -> None:
        """Delayed calls and timers run in the order of their times, each at its time."""
        reactor = TestReactor()
        seen: list[tuple[str, float]] = []
        reactor.callLater(2, lambda: seen.append(("call", reactor.seconds())))
        reactor.loop.call_later(1, lambda: seen.append(("timer", reactor.loop.time())))
        reactor.loop.call_later(3, lambda: seen.append(("timer", reactor.loop.time())))
        reactor.loop.call_later(1.5, seen.append).cancel()
        reactor.advance(10)
        self.assertEqual(seen, [("timer", 1), ("call", 2), ("timer", 3)])
        self.assertEqual(reactor.seconds(), 10)

    def test_repeated_calls(self) -> None:
        """A call that schedules itself again runs as often as the time allows."""
        reactor = TestReactor()
        times: list[float] = []

        def tick() -> None:
            times.append(reactor.seconds())
            reactor.callLater(10, tick)

        reactor.callLater(10, tick)
        reactor.advance(35)
        self.assertEqual(times, [10, 20, 30])

    def test_inside_another_loop(self) -> None:
        """A bot can be used in a test that runs in an event loop, as those of pytest-asyncio do."""

        async def test() -> str:
            bot = TestBot([Feed])
            bot.start()
            self.assertEqual(bot.say("!door"), [])
            bot.plugin("Feed").opened.set()
            bot.advance(0)
            self.assertIsNot(asyncio.get_running_loop(), bot.loop)
            self.assertIsNotNone(asyncio.current_task())
            bot.stop()
            await asyncio.sleep(0)
            return bot.messages[-1].text

        self.assertEqual(asyncio.run(test()), "open")

    def test_task_left_over(self) -> None:
        """A task that is left over is named."""

        class Leaky(BotPlugin):
            async def activate(self) -> None:
                super().activate()
                self.task = asyncio.create_task(self.watch())

            async def watch(self) -> None:
                await asyncio.sleep(3600)

        bot = TestBot([Leaky])
        bot.start()
        error = self.assertRaises(LeftOver, bot.stop)
        self.assertRegex(str(error), r"asyncio task \S*Leaky\.watch; end them")

    def test_failed_task_is_logged(self) -> None:
        """The error of a task that nothing awaits is in the bot's log."""

        class Careless(BotPlugin):
            @webhook
            async def start(self, payload: str) -> None:
                asyncio.create_task(self.fail())  # noqa: RUF006

            async def fail(self) -> None:
                raise ValueError("nobody sees this")

        bot = TestBot([Careless])
        bot.start()
        self.addCleanup(bot.stop)
        self.successResultOf(bot.post("/start"))
        gc.collect()
        self.assertIn("nobody sees this", bot.report())

    def test_handler_that_never_ends(self) -> None:
        """A handler that still waits when the bot stops isn't left over."""
        bot = TestBot([Feed])
        bot.start()
        bot.say("!gated")
        bot.stop()
