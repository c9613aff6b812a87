"""Tests for pollers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from errklein import BotPlugin
from errklein.bot import Bot
from errklein.testing import PluginTestCase
from tests import needs_network
from tests.processes import write_plugin
from tests.real_bot import RealBotCase


class Ticker(BotPlugin):
    """A plugin that counts its calls."""

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self.ticks: list[Any] = []
        self.slow: Deferred[None] | None = None

    def tick(self, word: str = "tick") -> None:
        self.ticks.append(word)

    async def lingers(self) -> None:
        self.ticks.append("began")
        self.slow = Deferred()
        await self.slow


class PollerTests(PluginTestCase):
    """Pollers with a clock, so that each call is made exactly when it is due."""

    plugins = (Ticker,)

    def setUp(self) -> None:
        """Get the plugin's instance."""
        super().setUp()
        self.ticker: Ticker = self.bot.plugin("Ticker")

    def test_first_call_comes_after_one_interval(self) -> None:
        """The first call is made after one interval, and calls don't drift."""
        self.ticker.start_poller(5, self.ticker.tick)
        self.bot.advance(4.9)
        self.assertEqual(self.ticker.ticks, [])
        self.bot.advance(0.1)
        self.assertEqual(self.ticker.ticks, ["tick"])
        for _ in range(10):
            self.bot.advance(1)
        self.assertEqual(self.ticker.ticks, ["tick"] * 3)

    def test_arguments_that_are_not_a_tuple(self) -> None:
        """`args=(90)` starts the poller; each call fails and is logged, until the same arguments stop it."""
        for arguments in ({"args": 90}, {"kwargs": 5}, {"args": (1, 2, 3)}, {"kwargs": {"unknown": 1}}):
            with self.subTest(**arguments):
                self.ticker.start_poller(1, self.ticker.tick, **arguments)
                self.bot.advance(1)
                self.bot.advance(1)
                self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2)
                self.assertIn("Ticker: the poller tick failed; it continues", "\n".join(self.bot.log))
                self.ticker.stop_poller(self.ticker.tick, **arguments)
                self.assertEqual(self.ticker.current_pollers, [])
        self.assertEqual(self.ticker.ticks, [])

    def test_odd_intervals_and_times(self) -> None:
        """An invalid interval is logged, and the plugin is activated nevertheless."""
        for interval in (None, "5", -1):
            self.ticker.start_poller(interval, self.ticker.tick)
            self.assertIn(f"its interval must be a number of seconds, not {interval!r}", self.bot.log[-1])
            self.ticker.stop_poller(self.ticker.tick)
        self.assertEqual(len(self.flushLoggedErrors(TypeError, ValueError)), 3)
        self.ticker.start_poller(1, self.ticker.tick, times="3")
        self.bot.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(self.ticker.ticks, [])

    def test_no_method(self) -> None:
        """An object that isn't callable is an error at once."""
        for method in (None, "tick", self.ticker.tick()):
            error = self.assertRaises(TypeError, self.ticker.start_poller, 1, method)
            self.assertIn("Ticker: start_poller() requires a callable", str(error))

    def test_calls_never_overlap(self) -> None:
        """No call is made while another lasts; afterwards the intervals are as before."""
        self.ticker.start_poller(1, self.ticker.lingers)
        for _ in range(3):
            self.bot.advance(1)
        self.assertEqual(self.ticker.ticks, ["began"])
        self.bot.advance(0.5)
        assert self.ticker.slow is not None
        self.ticker.slow.callback(None)
        self.bot.advance(0.5)
        self.assertEqual(self.ticker.ticks, ["began", "began"])
        self.ticker.slow.callback(None)

    def test_a_call_that_hangs_is_logged(self) -> None:
        """After a minute the log names the plugin and the method that has not returned, once."""
        self.ticker.start_poller(1, self.ticker.lingers)
        self.bot.advance(1)
        self.bot.advance(59.9)
        self.assertNotIn("has not returned", "\n".join(self.bot.log))
        self.bot.advance(0.1)
        self.bot.advance(600)
        line = "Ticker: the poller lingers has not returned for 60 s; it isn't called again until it does"
        self.assertEqual("\n".join(self.bot.log).count(line), 1)
        assert self.ticker.slow is not None
        self.ticker.slow.callback(None)
        self.bot.advance(1)
        self.assertEqual(self.ticker.ticks, ["began", "began"])
        self.ticker.slow.callback(None)

    def test_a_call_that_hangs_leaves_no_timer_behind(self) -> None:
        """Deactivating the plugin cancels the timer for a call that hangs."""
        self.ticker.start_poller(1, self.ticker.lingers)
        self.bot.advance(1)
        self.command("!plugin deactivate Ticker")
        self.bot.advance(600)
        self.assertNotIn("has not returned", "\n".join(self.bot.log))
        assert self.ticker.slow is not None
        self.ticker.slow.callback(None)


HANGING = """
import threading
from twisted.internet import reactor
from errklein import BotPlugin, botcmd

class Hanging(BotPlugin):
    gate = threading.Event()
    begun = []

    def activate(self):
        super().activate()
        for number in range(10):
            self.start_poller(0.01, self.hang, args=(number,))

    def hang(self, number):
        self.begun.append(number)
        if len(self.begun) == self._bot.plugin_pool.size:
            reactor.callFromThread(self._bot.all_hang.callback, None)
        self.gate.wait()
"""

OTHER = """
from errklein import BotPlugin, botcmd

class Other(BotPlugin):
    @botcmd
    def plain(self, msg, args):
        return "answered"

    def callback_message(self, message):
        if message.body == "hello":
            self.send(message.frm, "hello back")
"""


class HangingPollerTests(RealBotCase):
    """Pollers that never return, in real threads."""

    async def setUp(self) -> None:
        """Start a bot with a plugin that occupies all threads for plugins, and another plugin."""
        needs_network()
        directory = Path(self.mktemp())
        write_plugin(directory, "Hanging", HANGING)
        write_plugin(directory, "Other", OTHER)
        all_hang: Deferred[None] = Deferred()
        Bot.all_hang = all_hang  # type: ignore[attr-defined]
        self.addCleanup(delattr, Bot, "all_hang")
        await self.start_bot(directory)
        gate = self.bot.plugin_manager.instance("Hanging").gate  # type: ignore[attr-defined]
        gate.clear()
        self.addCleanup(gate.set)
        await all_hang

    async def test_commands_are_answered(self) -> None:
        """Commands work while pollers occupy all threads of their pool."""
        self.assertEqual(await self.command("!plain"), "answered")

    async def test_callbacks_of_other_plugins_are_called(self) -> None:
        """Other plugins' callbacks and administration are delayed, and then get additional threads."""
        self.bot.plugin_pool.overdue = 0.05
        self.assertEqual(await self.command("hello"), "hello back")
        self.assertEqual(await self.command("!plugin reload Other"), "Plugin Other reloaded.")
