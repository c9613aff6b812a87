"""Chapter 16: start, configuration and stop of TestBot."""

from __future__ import annotations

import logging
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any

from tests.contract.kit import LONGEST, ContractTest


class ConfiguredTests(unittest.TestCase):
    """Arguments of TestBot."""

    def test_settings(self) -> None:
        """`extra_config` has settings, and `extra_plugin_dir` is optional."""
        from errbot.backends.test import TestBot

        bot = TestBot(loglevel=logging.ERROR, extra_config={"BOT_PREFIX": "!", "OF_MINE": 5})
        bot.start()
        self.addCleanup(bot.stop)
        self.assertEqual(bot.bot_config.OF_MINE, 5)
        self.assertEqual(bot.exec_command("!echo there"), "there")

    def test_one_after_the_other(self) -> None:
        """Several bots can run one after the other."""
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
        """FullStackTest is a TestCase with the methods of TestBot."""
        from errbot.backends.test import FullStackTest

        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        outer = self

        class Tests(FullStackTest):
            def setUp(self, *args: Any, **kwargs: Any) -> None:
                super().setUp(extra_plugin_dir=directory.name, loglevel=logging.ERROR)

            def test_echo(self) -> None:
                """The bot replies."""
                self.push_message("!echo there")
                outer.assertEqual(self.pop_message(), "there")
                self.assertInCommand("!echo there", "ther")
                self.assertCommandFound("!echo there")

        result = unittest.TestResult()
        Tests("test_echo").run(result)
        self.assertEqual((result.testsRun, result.errors, result.failures), (1, [], []))


class SetUpTests(unittest.TestCase):
    """`FullStackTest.setUp`."""

    def test_default_directory(self) -> None:
        """By default plugins are searched two levels above the current directory."""
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


class TalkativeTests(ContractTest):
    """A plugin that sends messages when the bot starts."""

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
        """Messages from the start are discarded."""
        self.assertEqual(self.drain(), [])

    def test_rendered(self) -> None:
        """Replies are plain text without marks of Markdown."""
        self.assertEqual(self.ask("!bold"), "bold and a link (http://localhost/)")


class LogFileTests(unittest.TestCase):
    """The bot's log."""

    def test_written(self) -> None:
        """Log lines are written to BOT_LOG_FILE, by default in the data directory."""
        from errbot.backends.test import TestBot

        bot = TestBot(loglevel=logging.INFO)
        bot.start()
        self.addCleanup(bot.stop)
        path = Path(bot.bot_config.BOT_LOG_FILE)
        self.assertEqual(path.parent, Path(bot.bot_config.BOT_DATA_DIR))
        logging.getLogger("errbot.plugins.Tried").info("a line of the plugin's")
        self.assertIn("a line of the plugin's", path.read_text())


class StartAndStopTests(unittest.TestCase):
    """`start` and `stop`."""

    def test_by_hand(self) -> None:
        """`start` takes a timeout, and `stop` ends the bot."""
        from errbot.backends.test import TestBot

        bot = TestBot(loglevel=logging.ERROR, extra_config={"BOT_ADMINS": ("me@here",)})
        bot.start(timeout=LONGEST)
        self.addCleanup(bot.stop)
        self.assertIn("me@here", bot.exec_command("!whoami"))
