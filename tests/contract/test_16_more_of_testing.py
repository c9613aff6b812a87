"""Chapter 16, continued: more of what tests of plugins are written with."""

from __future__ import annotations

import logging
import os
import queue
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from tests.contract.kit import ADMIN, ContractTest

PLUGIN = """
    from errbot import BotPlugin, botcmd

    class Tried(BotPlugin):
        def __init__(self, bot, name=None):
            super().__init__(bot, name=name)
            self.mentioned = []
            self.heard = []

        def callback_mention(self, message, people):
            self.mentioned.append([str(person) for person in people])

        def callback_message(self, message):
            self.heard.append((message.body, str(message.frm), message.is_direct))

        @botcmd
        def extras(self, msg, args):
            return repr(msg.extras)

        @botcmd
        def twice(self, msg, args):
            yield "one"
            yield "two"
    """


class TestBotTests(ContractTest):
    """`TestBot`."""

    plugin = PLUGIN

    def test_extras(self) -> None:
        """A message may be pushed with extras."""
        self.testbot.push_message("!extras", extras={"key": "value"})
        self.assertEqual(self.hear(), "{'key': 'value'}")

    def test_mentions(self) -> None:
        """`@` before a word is a mention, told after the message."""
        self.replies("hello @bob and @alice")
        self.assertEqual(len(self.instance().mentioned), 1)
        self.assertEqual([name.lstrip("@") for name in self.instance().mentioned[0]], ["bob", "alice"])

    def test_direct(self) -> None:
        """What is pushed is said to the bot by the first administrator."""
        self.replies("hello")
        self.assertIn(("hello", ADMIN, True), self.instance().heard)

    def test_empty_name(self) -> None:
        """`build_identifier` makes a person of any text that names no room, an empty one too."""
        from errbot.backends.test import TestPerson

        for name in ("", " ", "bob"):
            made = self.bot.build_identifier(name)
            self.assertIsInstance(made, TestPerson)
            self.assertEqual((made.person, made.aclattr), (name, name))
        self.assertEqual(self.instance().build_identifier("").person, "")

    def test_old_name(self) -> None:
        """`assertCommand` is the old name of assertInCommand."""
        self.testbot.assertCommand("!echo there", "ther")

    def test_one_message(self) -> None:
        """`exec_command` returns the first message; what else is said waits."""
        self.assertEqual(self.testbot.exec_command("!twice"), "one")
        self.assertEqual(self.testbot.pop_message(), "two")

    def test_timeouts(self) -> None:
        """Each of them may wait less long."""
        self.assertEqual(self.testbot.exec_command("!echo there", timeout=3), "there")
        with self.assertRaises(queue.Empty):
            self.testbot.exec_command("nothing to say to that", timeout=0.05)

    def test_queues(self) -> None:
        """The bot has two queues, of what it hears and what it has said."""
        self.assertTrue(self.bot.incoming_stanza_queue.empty())
        self.say("!echo there")
        self.assertEqual(self.bot.outgoing_message_queue.get(timeout=5), "there")

    def test_identity(self) -> None:
        """It is err, and its data is in a directory of its own."""
        self.assertEqual(self.testbot.bot_config.BOT_IDENTITY, {"username": "err"})
        self.assertEqual(self.bot.mode, "test")
        self.assertTrue(Path(self.testbot.bot_config.BOT_DATA_DIR).is_dir())


class ReplacedSendTests(ContractTest):
    """Tests that replace `testbot.bot.send_message`."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            def activate(self):
                super().activate()
                self.shown = []

            def callback_botmessage(self, message):
                self.shown.append(message.body)

            @botcmd
            def sends(self, msg, args):
                self.send(self.build_identifier("bob"), "to bob")
                self.send_card(title="Title", body="of a card", to=self.build_identifier("bob"))
                self.warn_admins("a warning")
                return "a reply"

            @botcmd
            def by_itself(self, msg, args):
                message = self._bot.build_message("raw")
                message.frm, message.to = self.bot_identifier, self.build_identifier("bob")
                self._bot.send_message(message)
        """

    def test_called(self) -> None:
        """It is called for replies and for all else that the bot sends; nothing is sent then."""
        sent: queue.Queue[Any] = queue.Queue()
        with mock.patch.object(self.bot, "send_message", sent.put):
            self.say("!sends")
            messages = [sent.get(timeout=5) for _ in range(4)]
        bodies = [message.body for message in messages]
        self.assertEqual((bodies[0], bodies[2], bodies[3]), ("to bob", "a warning", "a reply"))
        self.assertIn("of a card", bodies[1])
        self.assertEqual(str(messages[0].to), "bob")
        self.assertEqual(self.drain(), [])
        self.assertEqual(self.ask("!echo sent again"), "sent again")

    def test_by_plugin(self) -> None:
        """A plugin may call it, and plugins are shown what it sends."""
        self.assertEqual(self.replies("!by itself"), ["raw"])
        self.assertIn("raw", self.instance().shown)


class LogFileTests(unittest.TestCase):
    """The bot's log."""

    def test_written(self) -> None:
        """BOT_LOG_FILE, which is in the bot's data if a test doesn't say otherwise, has what is logged."""
        from errbot.backends.test import TestBot

        bot = TestBot(loglevel=logging.INFO)
        bot.start()
        self.addCleanup(bot.stop)
        path = Path(bot.bot_config.BOT_LOG_FILE)
        self.assertEqual(path.parent, Path(bot.bot_config.BOT_DATA_DIR))
        logging.getLogger("errbot.plugins.Tried").info("a line of the plugin's")
        self.assertIn("a line of the plugin's", path.read_text())


class TalkativeTests(ContractTest):
    """A plugin that speaks before anybody has asked."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            def callback_connect(self):
                for number in range(25):
                    self.send(self.build_identifier("gbin@localhost"), f"hello {number}")

            @botcmd
            def bold(self, msg, args):
                return "**bold** and [a link](http://localhost/)"
        """

    def test_forgotten(self) -> None:
        """What the bot says until it has started isn't popped by tests."""
        self.assertEqual(self.drain(), [])

    def test_rendered(self) -> None:
        """What is popped is text, without marks of Markdown."""
        self.assertEqual(self.ask("!bold"), "bold and a link (http://localhost/)")


class SetUpTests(unittest.TestCase):
    """`FullStackTest.setUp`."""

    def test_default_directory(self) -> None:
        """Plugins are looked for two levels above the current directory; settings and level may be given."""
        from errbot.backends.test import FullStackTest

        outer = self
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        below = directory / "one" / "two"
        below.mkdir(parents=True)
        (directory / "upstairs.plug").write_text("[Core]\nName = Upstairs\nModule = upstairs\n")
        (directory / "upstairs.py").write_text("from errbot import BotPlugin\nclass Upstairs(BotPlugin):\n    pass\n")

        class Tests(FullStackTest):
            def setUp(self, *args: Any, **kwargs: Any) -> None:
                super().setUp(loglevel=logging.ERROR, extra_config={"OF_MINE": 5})

            def test_it(self) -> None:
                outer.assertIn("Upstairs", self.bot.plugin_manager.get_all_active_plugin_names())
                outer.assertEqual(self.bot_config.OF_MINE, 5)
                with outer.assertRaises(AssertionError):
                    self.assertInCommand("!echo there", "here and there")

        here = Path.cwd()
        os.chdir(below)
        try:
            result = unittest.TestResult()
            Tests("test_it").run(result)
        finally:
            os.chdir(here)
        self.assertEqual((result.testsRun, result.errors, result.failures), (1, [], []))


class IdentifierTests(unittest.TestCase):
    """Persons and rooms of tests."""

    def test_equal(self) -> None:
        """Persons are equal by address."""
        from errbot.backends.test import TestOccupant, TestPerson

        self.assertEqual(TestPerson("a@b"), TestPerson("a@b"))
        self.assertNotEqual(TestPerson("a@b"), TestPerson("c@d"))
        occupant: Any = TestOccupant("a@b", "room")
        self.assertEqual(occupant.person, "a@b")
        self.assertEqual(occupant, TestOccupant("a@b", "room"))
        self.assertNotEqual(occupant, TestOccupant("c@d", "room"))
        self.assertNotEqual(occupant, TestOccupant("a@b", "other"))

    def test_constants(self) -> None:
        """What the bot may be told."""
        from errbot.backends.test import QUIT_MESSAGE, STZ_IQ, STZ_MSG, STZ_PRE

        self.assertEqual(len({STZ_MSG, STZ_PRE, STZ_IQ}), 3)
        self.assertIsInstance(QUIT_MESSAGE, str)


class StartAndStopTests(unittest.TestCase):
    """The life of a test bot."""

    def test_by_hand(self) -> None:
        """Started, perhaps with a time-out, asked, stopped."""
        from errbot.backends.test import TestBot

        bot = TestBot(loglevel=logging.ERROR, extra_config={"BOT_ADMINS": ("me@here",)})
        bot.start(timeout=5)
        self.addCleanup(bot.stop)
        self.assertIn("me@here", bot.exec_command("!whoami"))
