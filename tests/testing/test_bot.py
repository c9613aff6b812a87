"""Tests for the bot in memory that plugins are tested with."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd, webhook
from errklein.plugins.plugin import PluginError
from errklein.testing import ADMIN, LeftOver, TestBot


class Clockwork(BotPlugin):
    """Counts, greets, waits."""

    def activate(self) -> None:
        super().activate()
        self.ticks = 0
        self.start_poller(10, self.tick)

    def tick(self) -> None:
        self.ticks += 1
        self.send(self.build_identifier("#testroom"), f"tick {self.ticks}")

    @botcmd
    def thread(self, msg: Any, args: str) -> str:
        """Where this runs."""
        return threading.current_thread().name

    @botcmd(admin_only=True)
    def secret(self, msg: Any, args: str) -> str:
        """For admins."""
        return "hush"

    @botcmd
    def twice(self, msg: Any, args: str) -> Any:
        """Two answers."""
        yield "one"
        yield "two"

    @webhook
    def later(self, payload: Any) -> Deferred[str]:
        answer: Deferred[str] = Deferred()
        self._bot.reactor.callLater(5, answer.callback, "at last")
        return answer

    @webhook
    def noted(self, payload: Any) -> None:
        self.log.info("noted %s", payload)


class TestBotTests(SynchronousTestCase):
    """What a test may do with the bot."""

    def setUp(self) -> None:
        """Have a bot with the plugin."""
        self.bot = TestBot([Clockwork])
        self.bot.start()
        self.addCleanup(self.bot.stop)

    def test_commands(self) -> None:
        """A command is answered by the time the call is back, in the thread of the test."""
        self.assertEqual(self.bot.command("!thread"), threading.current_thread().name)

    def test_command_with_other_than_one_answer(self) -> None:
        """`command` insists on one answer, and shows what it got; `say` takes any number."""
        error = self.assertRaises(AssertionError, self.bot.command, "!twice")
        self.assertIn("got 2 replies: ['one', 'two']", str(error))
        self.assertEqual(self.bot.say("!twice"), ["one", "two"])
        self.assertEqual(self.bot.say("good morning"), [])

    def test_others_than_admins(self) -> None:
        """Whoever speaks is an admin, unless the test says somebody else."""
        self.assertEqual(self.bot.command("!secret"), "hush")
        self.assertIn("bot-admin", self.bot.command("!secret", frm="@mallory"))

    def test_rooms(self) -> None:
        """What is said in a room is answered there."""
        self.bot.say("!twice", frm="@alice", room="#testroom")
        self.assertEqual(self.bot.sent_to("#testroom"), ["one", "two"])
        self.assertEqual(self.bot.sent_to(ADMIN), [])

    def test_clock_moves_pollers(self) -> None:
        """Pollers tick when the test lets time pass, and not before."""
        self.bot.advance(9)
        self.assertEqual(self.bot.sent_to("#testroom"), [])
        self.bot.advance(1)
        self.assertEqual(self.bot.sent_to("#testroom"), ["tick 1"])
        self.bot.advance(10)
        self.assertEqual(self.bot.plugin("Clockwork").ticks, 2)

    def test_webhook_that_takes_time(self) -> None:
        """The answer to a request that takes time comes when that has passed."""
        answering = self.bot.post("/later")
        self.assertNoResult(answering)
        self.bot.advance(5)
        self.assertEqual(self.successResultOf(answering).text, "at last")

    def test_overdue_webhook(self) -> None:
        """A setting holds for this bot; who waits too long gets 504."""
        bot = TestBot([Clockwork], config={"WEBHOOK_TIMEOUT": 2.0})
        bot.start()
        self.addCleanup(bot.stop)
        answering = bot.post("/later")
        bot.advance(2)
        self.assertEqual(self.successResultOf(answering).status, 504)
        bot.advance(3)

    def test_log_and_routes(self) -> None:
        """What the plugin logs, and which routes there are, can be looked at; the report has both."""
        self.bot.post("/noted", json="a thing")
        self.assertIn("errbot.plugins.Clockwork: noted a thing", self.bot.log)
        self.assertIn("POST, GET, HEAD /later -> Clockwork.later", self.bot.routes)
        self.assertIn("noted a thing", self.bot.report())
        self.assertIn("Clockwork.later", self.bot.report())

    def test_unknown_plugin(self) -> None:
        """Asking for a plugin that there isn't lists those that there are."""
        error = self.assertRaises(PluginError, self.bot.plugin, "Clokwork")
        self.assertIn("- Clockwork", str(error))


class StartTests(SynchronousTestCase):
    """A bot that can't do what the test is about says so at once."""

    def test_plugin_that_fails(self) -> None:
        """A plugin that can't be activated fails the test, with its reason."""

        class Broken(BotPlugin):
            def activate(self) -> None:
                raise RuntimeError("the coffee is out")

        bot = TestBot([Broken])
        self.addCleanup(bot.stop)
        error = self.assertRaises(AssertionError, bot.start)
        self.assertIn("the coffee is out", str(error))
        self.flushLoggedErrors(RuntimeError)

    def test_plugin_that_cannot_be_imported(self) -> None:
        """A plugin in a directory that can't be loaded fails the test too."""
        directory = Path(tempfile.mkdtemp(dir=self.mktemp_parent()))
        (directory / "bad.plug").write_text("[Core]\nName = Bad\nModule = bad\n", "utf-8")
        (directory / "bad.py").write_text("import no_such_module_anywhere\n", "utf-8")
        bot = TestBot(plugin_dirs=[directory])
        self.addCleanup(bot.stop)
        error = self.assertRaises(AssertionError, bot.start)
        self.assertIn("no_such_module_anywhere", str(error))
        self.flushLoggedErrors()

    def test_directory_that_is_not_there(self) -> None:
        """A wrong directory is told at once, since a bot without the plugin would only answer 404."""
        error = self.assertRaises(ValueError, TestBot, plugin_dirs=["no/such/place"])
        self.assertIn("no/such/place", str(error))

    def mktemp_parent(self) -> str:
        """A directory of this test's own."""
        parent = Path(self.mktemp())
        parent.mkdir(parents=True)
        return str(parent)


class LeftOverTests(SynchronousTestCase):
    """What a plugin leaves behind fails the test."""

    def test_nothing_left(self) -> None:
        """A plugin with a poller leaves nothing, since pollers end with their plugin."""
        bot = TestBot([Clockwork])
        bot.start()
        bot.stop()

    def test_timer(self) -> None:
        """A timer that still runs is named."""

        class Forgetful(BotPlugin):
            def activate(self) -> None:
                super().activate()
                self._bot.reactor.callLater(60, self.wake_up)

            def wake_up(self) -> None:
                pass

        bot = TestBot([Forgetful])
        bot.start()
        self.assertIn("wake_up", str(self.assertRaises(LeftOver, bot.stop)))

    def test_thread(self) -> None:
        """A thread that still runs is named."""
        end = threading.Event()

        class Busy(BotPlugin):
            def activate(self) -> None:
                super().activate()
                threading.Thread(target=end.wait, args=(30,), name="busy-bee").start()

        bot = TestBot([Busy])
        bot.start()
        try:
            self.assertIn("thread busy-bee", str(self.assertRaises(LeftOver, bot.stop)))
        finally:
            end.set()


class Announcer(BotPlugin):
    """Speaks to rooms of different networks."""

    @webhook
    async def announce(self, payload: Any) -> None:
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), "hear, hear")


class NetworksTests(SynchronousTestCase):
    """Bots on several networks can be tested too."""

    def test_rooms_with_passwords(self) -> None:
        """Plugins may go through CHATROOM_PRESENCE whether or not a room there has a password."""
        bot = TestBot([Announcer], config={"CHATROOM_PRESENCE": ("#open", ("#closed", "sesame"))})
        bot.start()
        self.addCleanup(bot.stop)
        self.assertEqual(self.successResultOf(bot.post("/announce")).status, 200)
        self.assertEqual([sent.to for sent in bot.messages], ["#open", "#closed"])

    def test_several_networks(self) -> None:
        """Messages know their network, and are said and looked up there."""
        rooms = {"CHATROOM_PRESENCE": ("#ops",), "BOT_ADMINS": (ADMIN,)}
        closed = {"CHATROOM_PRESENCE": (("#ops", "sesame"),), "BOT_ADMINS": (ADMIN,)}
        bot = TestBot([Announcer], networks={"libera": rooms, "office": closed})
        bot.start()
        self.addCleanup(bot.stop)
        self.successResultOf(bot.post("/announce"))
        self.assertEqual([(sent.network, sent.to) for sent in bot.messages], [("libera", "#ops"), ("office", "#ops")])
        self.assertEqual(bot.sent_to("#ops", network="office"), ["hear, hear"])
        bot.say("!echo here", network="office")
        self.assertEqual((bot.messages[-1].network, bot.messages[-1].text), ("office", "here"))
