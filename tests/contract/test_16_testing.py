"""Chapter 16: what tests of plugins are written with."""

from __future__ import annotations

import logging
import queue
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from tests.contract.kit import ADMIN, ContractTest, decided

PLUGIN = """
    import json
    import helper
    from errbot import BotPlugin, botcmd

    def where():
        return "really"

    class Tried(BotPlugin):
        attribute = "own"

        @botcmd
        def hello(self, msg, args):
            return f"hello {args}"

        @botcmd
        def lines(self, msg, args):
            return "  one\\n  two"

        @botcmd
        def shown(self, msg, args):
            return self.attribute

        @botcmd
        def method(self, msg, args):
            return self.answer()

        def answer(self):
            return "own answer"

        @botcmd
        def dumped(self, msg, args):
            return json.dumps([1])

        @botcmd
        def opened(self, msg, args):
            with open("/nowhere/at/all") as file:
                return file.read()

        @botcmd
        def helped(self, msg, args):
            return helper.help_out()

        @botcmd
        def file(self, msg, args):
            import io
            self.send_stream_request(msg.frm, io.BytesIO(b"content"), name="file", size=7)
    """


class TestBotTests(ContractTest):
    """`TestBot`."""

    plugin = PLUGIN
    files = {"helper.py": "def help_out():\n    return 'helped'\n"}

    def test_push_and_pop(self) -> None:
        """What is pushed is heard, what is said is popped, as plain text."""
        self.testbot.push_message("!hello you")
        self.assertEqual(self.testbot.pop_message(), "hello you")

    def test_nothing_to_pop(self) -> None:
        """queue.Empty, after the time-out or at once."""
        with self.assertRaises(queue.Empty):
            self.testbot.pop_message(timeout=0.1)
        with self.assertRaises(queue.Empty):
            self.testbot.pop_message(block=False)

    def test_exec_command(self) -> None:
        """Both in one."""
        self.assertEqual(self.testbot.exec_command("!hello you"), "hello you")

    def test_assert_in_command(self) -> None:
        """A part of the answer."""
        self.testbot.assertInCommand("!hello you", "lo yo")
        with self.assertRaises(AssertionError):
            self.testbot.assertInCommand("!hello you", "goodbye")

    def test_assert_command_found(self) -> None:
        """Any answer but that there is no such command."""
        self.testbot.assertCommandFound("!hello you")
        with self.assertRaises(AssertionError):
            self.testbot.assertCommandFound("!goodbye")

    def test_dedent(self) -> None:
        """The command may be an indented text that begins on the line below its quotes."""
        self.testbot.assertInCommand("\n    !hello you", "hello you", dedent=True)

    def test_zap(self) -> None:
        """What was said and not popped is forgotten."""
        for text in ("one", "two"):
            self.bot.outgoing_message_queue.put(text)
        self.testbot.zap_queues()
        self.assertEqual(self.drain(), [])
        self.assertEqual(self.ask("!hello three"), "hello three")

    def test_mocks(self) -> None:
        """A plugin's attributes can be replaced."""
        self.testbot.inject_mocks("Tried", {"attribute": "mocked", "answer": mock.Mock(return_value="mocked answer")})
        self.assertEqual(self.ask("!shown"), "mocked")
        self.assertEqual(self.ask("!method"), "mocked answer")

    def test_mocks_of_nothing(self) -> None:
        """The plugin and the attribute have to be there."""
        with self.assertRaisesRegex(Exception, "Nothing"):
            self.testbot.inject_mocks("Nothing", {"attribute": 1})
        with self.assertRaises(ValueError):
            self.testbot.inject_mocks("Tried", {"nothing": 1})

    def test_patches(self) -> None:
        """mock.patch works on builtins, on modules that the plugin imported, and on the plugin itself."""
        with mock.patch("builtins.open", mock.mock_open(read_data="patched")):
            self.assertEqual(self.ask("!opened"), "patched")
        with mock.patch("json.dumps", return_value="patched"):
            self.assertEqual(self.ask("!dumped"), "patched")
        with mock.patch.object(self.instance(), "answer", return_value="patched"):
            self.assertEqual(self.ask("!method"), "patched")
        with mock.patch("helper.help_out", return_value="patched"):
            self.assertEqual(self.ask("!helped"), "patched")

    def test_bot(self) -> None:
        """The bot, its thread, its settings."""
        self.assertIs(self.testbot.bot, self.testbot._bot)
        self.assertTrue(self.testbot.bot_thread.is_alive())
        self.assertEqual(self.testbot.bot_config.BOT_ADMINS, (ADMIN,))
        self.assertEqual(self.testbot.bot_config.CHATROOM_PRESENCE, ("testroom",))
        self.assertEqual(self.testbot.bot_config.STORAGE, "Memory")
        self.assertTrue(Path(self.testbot.bot_config.BOT_DATA_DIR).is_dir())

    def test_sender(self) -> None:
        """Who speaks can be changed."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("somebody@host", self.ask("!whoami"))

    def test_streams(self) -> None:
        """A stream's bytes are what is popped."""
        self.testbot.push_message("!file")
        self.assertEqual(self.testbot.bot.pop_message(timeout=5), b"content")

    def test_notices(self) -> None:
        """What administrators are told is popped too."""
        self.instance().warn_admins("beware")
        self.assertIn("beware", self.hear())

    @decided("the bot's thread ends")
    def test_presence(self) -> None:
        """A presence is told to plugins, and the bot goes on."""
        from errbot.backends.base import ONLINE, Presence

        self.testbot.push_presence(Presence(self.bot.build_identifier("a@b"), ONLINE))
        self.assertEqual(self.testbot.exec_command("!hello you", timeout=2), "hello you")

    def test_rooms(self) -> None:
        """Rooms are made when they are asked for, and can be forgotten."""
        room = self.bot.query_room("#new")
        self.assertEqual(room, self.bot.query_room("#new"))
        self.assertFalse(room.exists)
        room.create()
        self.assertTrue(self.bot.query_room("#new").exists)
        self.bot.reset_rooms()
        self.assertFalse(self.bot.query_room("#new").exists)


class ConfiguredTests(unittest.TestCase):
    """How a test bot is made."""

    def test_settings(self) -> None:
        """`extra_config` are settings; `extra_plugin_dir` may be left out."""
        from errbot.backends.test import TestBot

        bot = TestBot(loglevel=logging.ERROR, extra_config={"BOT_PREFIX": "!", "OF_MINE": 5})
        bot.start()
        self.addCleanup(bot.stop)
        self.assertEqual(bot.bot_config.OF_MINE, 5)
        self.assertEqual(bot.exec_command("!echo there"), "there")

    def test_one_after_the_other(self) -> None:
        """Nothing of a bot is left for the next."""
        from errbot.backends.test import TestBot

        for _ in range(2):
            bot = TestBot(loglevel=logging.ERROR)
            bot.start()
            utils = bot.bot.plugin_manager.get_plugin_obj_by_name("Utils")
            bot.stop()
            self.assertIsNotNone(utils)


class FullStackTests(unittest.TestCase):
    """`FullStackTest`."""

    def test_run(self) -> None:
        """A TestCase whose methods are the bot's."""
        from errbot.backends.test import FullStackTest

        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        outer = self

        class Tests(FullStackTest):
            def setUp(self, *args: Any, **kwargs: Any) -> None:
                super().setUp(extra_plugin_dir=directory.name, loglevel=logging.ERROR)

            def test_echo(self) -> None:
                """It says what it is told."""
                self.push_message("!echo there")
                outer.assertEqual(self.pop_message(), "there")
                self.assertInCommand("!echo there", "ther")
                self.assertCommandFound("!echo there")

        result = unittest.TestResult()
        Tests("test_echo").run(result)
        self.assertEqual((result.testsRun, result.errors, result.failures), (1, [], []))
