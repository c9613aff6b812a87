"""Tests for the bot in memory, with which plugins are tested."""

from __future__ import annotations

import logging
import tempfile
import threading
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd, webhook
from errklein.http_client import BodyTooLarge
from errklein.plugins.plugin import PluginError
from errklein.testing import ADMIN, LeftOver, PluginTestCase, Sent, TestBot


class Clockwork(BotPlugin):
    """Has a poller, commands and slow webhooks."""

    def activate(self) -> None:
        super().activate()
        self.ticks = 0
        self.start_poller(10, self.tick)

    def tick(self) -> None:
        self.ticks += 1
        self.send(self.build_identifier("#testroom"), f"tick {self.ticks}")

    @botcmd
    def thread(self, msg: Any, args: str) -> str:
        """Return the name of the thread."""
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

    @botcmd
    def announce(self, msg: Any, args: str) -> str:
        """Send messages to others, too."""
        self.only_others(msg, args)
        self.warn_admins("the disk is full")
        return "announced"

    @botcmd
    def only_others(self, msg: Any, args: str) -> None:
        """Send no reply."""
        self.send(self.build_identifier("#testroom"), "for all")

    @webhook
    def later(self, payload: Any) -> Deferred[str]:
        answer: Deferred[str] = Deferred()
        self._bot.reactor.callLater(5, answer.callback, "at last")
        return answer

    @webhook
    def noted(self, payload: Any) -> None:
        self.log.info("noted %s", payload)


class TestBotTests(SynchronousTestCase):
    """The methods of the bot."""

    def setUp(self) -> None:
        """Have a bot with the plugin."""
        self.bot = TestBot([Clockwork])
        self.bot.start()
        self.addCleanup(self.bot.stop)

    def test_commands(self) -> None:
        """The reply to a command is there when the call returns, and blocking commands run in the test's thread."""
        self.assertEqual(self.bot.command("!thread"), threading.current_thread().name)

    def test_command_with_other_than_one_answer(self) -> None:
        """`command` requires exactly one reply and shows the others; `say` accepts any number."""
        error = self.assertRaises(AssertionError, self.bot.command, "!twice")
        self.assertIn("2 replies instead of one; bot.say() returns any number of them", str(error))
        self.assertIn("messages: [Sent('@admin', 'one'), Sent('@admin', 'two')]", str(error))
        self.assertEqual(self.bot.say("!twice"), ["one", "two"])
        self.assertEqual(self.bot.say("good morning"), [])

    def test_messages_to_others(self) -> None:
        """The reply of `command` is the message to the sender; messages to rooms and notices to administrators don't count."""
        self.assertEqual(self.bot.command("!announce"), "announced")
        self.assertEqual(self.bot.command("!announce", frm="@alice"), "announced")
        self.assertEqual(self.bot.sent_to(ADMIN), ["the disk is full", "announced", "the disk is full"])
        error = self.assertRaises(AssertionError, self.bot.command, "!only others")
        self.assertIn("no replies instead of one", str(error))
        self.assertIn("Sent('#testroom', 'for all')", str(error))

    def test_messages_are_texts(self) -> None:
        """`say` and `messages` have the same objects: texts with recipient and network."""
        said = self.bot.say("!twice", frm="@alice")
        self.assertEqual(said, self.bot.messages)
        self.assertEqual([one.to for one in said], ["@alice", "@alice"])
        self.assertEqual((said[0].text, said[0].network), ("one", "test"))
        self.assertIs(type(said[0].text), str)
        self.assertEqual(said[0], Sent("@alice", "one"))
        for other in (Sent("@bob", "one"), Sent("@alice", "two"), Sent("@alice", "one", "libera"), "two", 1):
            self.assertNotEqual(said[0], other)
            self.assertFalse(said[0] == other)
        self.assertIn("one", self.bot.messages)
        self.assertEqual(repr(Sent("#a", "b", "libera")), "Sent('#a', 'b', 'libera')")

    def test_others_than_admins(self) -> None:
        """The sender is an administrator unless the test names another one."""
        self.assertEqual(self.bot.command("!secret"), "hush")
        self.assertIn("bot-admin", self.bot.command("!secret", frm="@mallory"))

    def test_rooms(self) -> None:
        """The reply to a message in a room goes to the room."""
        self.bot.say("!twice", frm="@alice", room="#testroom")
        self.assertEqual(self.bot.sent_to("#testroom"), ["one", "two"])
        self.assertEqual(self.bot.sent_to(ADMIN), [])

    def test_clock_moves_pollers(self) -> None:
        """Pollers run when the test advances the time, and only then."""
        self.bot.advance(9)
        self.assertEqual(self.bot.sent_to("#testroom"), [])
        self.bot.advance(1)
        self.assertEqual(self.bot.sent_to("#testroom"), ["tick 1"])
        self.bot.advance(10)
        self.assertEqual(self.bot.plugin("Clockwork").ticks, 2)

    def test_webhook_that_takes_time(self) -> None:
        """The response of a handler that waits arrives when the time has passed."""
        answering = self.bot.post("/later")
        self.assertNoResult(answering)
        self.bot.advance(5)
        self.assertEqual(self.successResultOf(answering).text, "at last")

    def test_overdue_webhook(self) -> None:
        """A setting applies to this bot: a handler over its timeout gets 504."""
        bot = TestBot([Clockwork], config={"WEBHOOK_TIMEOUT": 2.0})
        bot.start()
        self.addCleanup(bot.stop)
        answering = bot.post("/later")
        bot.advance(2)
        self.assertEqual(self.successResultOf(answering).status, 504)
        bot.advance(3)

    def test_log_and_routes(self) -> None:
        """`log` and `webhooks` have the log and the webhooks, and `report` has both."""
        self.bot.post("/noted", json="a thing")
        self.assertIn("errbot.plugins.Clockwork: noted a thing", self.bot.log)
        self.assertIn("POST, GET, HEAD /later -> Clockwork:later", self.bot.webhooks)
        self.assertIn("noted a thing", self.bot.report())
        self.assertIn("Clockwork:later", self.bot.report())

    def test_unknown_plugin(self) -> None:
        """An unknown plugin name raises an error that lists the known ones."""
        error = self.assertRaises(PluginError, self.bot.plugin, "Clokwork")
        self.assertIn("- Clockwork", str(error))


class Changing(BotPlugin):
    """Changes its messages."""

    @botcmd
    def post(self, message: Any, args: str) -> None:
        room = self.build_identifier("#testroom")
        self.one, self.two = self.send(room, "*one*"), self.send(room, "two", thread=message)
        self.react(message, "👀")
        self.react(self.one, "👍")

    @botcmd
    async def change(self, message: Any, args: str) -> None:
        self.edit(self.one, "**first**")
        self.react(message, "👀")
        await self.react(message, "👀", remove=True)
        await self.delete(self.two)

    @botcmd
    def wait(self, message: Any, args: str) -> str:
        sent = self.send(message.frm, "waiting")
        return f"{sent.wait(5) == sent}, {sent.stored}"

    @botcmd
    def lengths(self, message: Any, args: str) -> str:
        return ", ".join(f"{one.name}: {len(one.read(3))} {one.type}" for one in message.attachments)


class ChatTests(PluginTestCase):
    """Messages with ids, threads and files."""

    plugins = (Changing,)

    def test_chat(self) -> None:
        """`chat` has what people see in the end, and `messages` each text."""
        self.bot.say("!post", room="#testroom")
        self.assertEqual(self.bot.chat("#testroom"), ["!post 👀", "one 👍", "two"])
        self.bot.say("!change", room="#testroom")
        self.assertEqual(self.bot.chat("#testroom", "test"), ["!post 👀", "first 👍", "!change"])
        self.assertEqual(
            [(str(sent), sent.edited, sent.thread) for sent in self.bot.messages],
            [("one", False, ""), ("two", False, "m1"), ("first", True, "")],
        )

    def test_waiting(self) -> None:
        """A plain handler waits for the network and the disk as in a thread, and both are there at once."""
        self.assertEqual(self.bot.say("!wait"), ["waiting", "True, None"])

    def test_people(self) -> None:
        """People edit and delete their messages, too."""
        backend = self.bot.backend
        one, two = (backend.receive(text, frm="@alice", to="#testroom") for text in ("one", "two"))
        backend.receive_edit(one, "first")
        backend.receive_deletion(two)
        self.assertEqual(self.bot.chat("#testroom"), ["first"])

    def test_files(self) -> None:
        """`say` sends files, which handlers read up to a limit."""
        self.assertEqual(self.bot.say("!lengths", files={"a.csv": b"1,2", "b": b""}), ["a.csv: 3 text/csv, b: 0 "])
        self.bot.say("!lengths", files={"a.csv": b"1,2,3"})
        self.assertEqual(len(self.flushLoggedErrors(BodyTooLarge)), 1)

    def test_threads(self) -> None:
        """The reply to a command in a thread is sent to that thread."""
        sent = self.bot.say("!lengths", room="#testroom", thread="m1", files={"b": b""})
        self.assertEqual([one.thread for one in sent], ["m1"])


class StartTests(SynchronousTestCase):
    """A bot that can't start as the test specifies raises an error at once."""

    def test_plugin_that_fails(self) -> None:
        """A plugin that can't be activated fails the start, with the reason."""

        class Broken(BotPlugin):
            def activate(self) -> None:
                raise RuntimeError("the coffee is out")

        bot = TestBot([Broken])
        self.addCleanup(bot.stop)
        error = self.assertRaises(AssertionError, bot.start)
        self.assertIn("the coffee is out", str(error))
        self.flushLoggedErrors(RuntimeError)

    def test_plugin_that_cannot_be_imported(self) -> None:
        """A plugin in a directory that can't be loaded fails the start, with the reason."""
        directory = Path(tempfile.mkdtemp(dir=self.mktemp_parent()))
        (directory / "bad.plug").write_text("[Core]\nName = Bad\nModule = bad\n", "utf-8")
        (directory / "bad.py").write_text("import no_such_module_anywhere\n", "utf-8")
        bot = TestBot(plugin_dirs=[directory])
        self.addCleanup(bot.stop)
        error = self.assertRaises(AssertionError, bot.start)
        self.assertIn("no_such_module_anywhere", str(error))
        self.flushLoggedErrors()

    def test_invalid_plug_file(self) -> None:
        """An invalid `.plug` file in one of the directories fails the start, with the reason."""
        directory = Path(tempfile.mkdtemp(dir=self.mktemp_parent())).absolute()
        path = directory / "folder" / "weather.plug"
        path.parent.mkdir()
        path.write_text("[Core]\nName = Weather\n", "utf-8")
        bot = TestBot(plugin_dirs=[directory])
        self.addCleanup(bot.stop)
        error = self.assertRaises(AssertionError, bot.start)
        self.assertTrue(str(error).startswith(f"{path}: [Core] has no Module; expected Module = "), error)
        self.assertEqual(str(error).count("\n"), 0)

    def test_directory_that_is_not_there(self) -> None:
        """A missing directory is an error at once; without it the bot would only respond with 404."""
        error = self.assertRaises(ValueError, TestBot, plugin_dirs=["no/such/place"])
        self.assertIn("no/such/place", str(error))

    def mktemp_parent(self) -> str:
        """Return a directory for this test."""
        parent = Path(self.mktemp())
        parent.mkdir(parents=True)
        return str(parent)


class LogTests(SynchronousTestCase):
    """The log of a bot in memory."""

    def test_web_server(self) -> None:
        """The log has no line about missing ports, which a test never has."""
        bot = TestBot()
        self.addCleanup(bot.stop)
        bot.start()
        self.assertEqual([line for line in bot.log if "Webserver" in line], [])

    def test_level_after_several_bots(self) -> None:
        """When all bots have stopped, in whatever order, the plugins' log has the level that it had."""
        log = logging.getLogger("errbot")
        before, bots = log.level, [TestBot(), TestBot()]
        for bot in bots:
            bot.start()
        for bot in bots:
            self.assertEqual(log.level, logging.DEBUG)
            bot.stop()
        self.assertEqual(log.level, before)


class LeftOverTests(SynchronousTestCase):
    """Timers and threads that a plugin leaves behind fail the test."""

    def test_nothing_left(self) -> None:
        """A poller of a deactivated plugin isn't left over."""
        bot = TestBot([Clockwork])
        bot.start()
        bot.stop()

    def test_timer(self) -> None:
        """A delayed call that is left over is named."""

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
        """A thread that is left over is named."""
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
    """Sends to rooms of several networks."""

    @webhook
    async def announce(self, payload: Any) -> None:
        for room in self.bot_config.CHATROOM_PRESENCE:
            self.send(self.build_identifier(room), "hear, hear")


class NetworksTests(SynchronousTestCase):
    """A bot on several networks."""

    def test_rooms_with_passwords(self) -> None:
        """CHATROOM_PRESENCE contains names of rooms only, also for rooms with a password."""
        bot = TestBot([Announcer], config={"CHATROOM_PRESENCE": ("#open", ("#closed", "sesame"))})
        bot.start()
        self.addCleanup(bot.stop)
        self.assertEqual(self.successResultOf(bot.post("/announce")).status, 200)
        self.assertEqual([sent.to for sent in bot.messages], ["#open", "#closed"])

    def test_several_networks(self) -> None:
        """Messages are sent on a network, and can be looked up by network."""
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
