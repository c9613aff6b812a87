"""Tests for the warning about plain handlers that block the reactor."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from errklein.testing import TestBot

SOURCE = """\
import time
import treq
from errbot import BotPlugin, arg_botcmd, botcmd, cmdfilter, webhook

class Mixed(BotPlugin):
    @webhook
    def mixed(self, request):
        time.sleep(3)
        self._notify()

    @botcmd
    def harmless(self, msg, args):
        self._notify()

    @webhook(threaded=True)
    def marked(self, request):
        time.sleep(3)
        self._notify()

    @arg_botcmd("name")
    def slow(self, msg, name):
        self._notify()
        time.sleep(3)

    def callback_message(self, msg):
        return self.mixed(msg) if msg.body == "mix" else None

    def not_called_by_errklein(self):
        self.mixed(None)

    def _notify(self):
        treq.post("http://127.0.0.1:1/")
"""


class WarningTests(SynchronousTestCase):
    """A plugin with a helper that uses treq, and handlers that sleep."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        (self.directory / "mixed.plug").write_text("[Core]\nName = Mixed\nModule = mixed\n")
        (self.directory / "mixed.py").write_text(dedent(SOURCE))
        self.bot = TestBot(plugin_dirs=[self.directory])
        self.bot.start()
        self.addCleanup(self.bot.stop)

    def warnings(self) -> list[str]:
        """Return the warnings in the log."""
        return [line for line in self.bot.log if "would block it" in line]

    def test_logged(self) -> None:
        """Loading logs a warning with both line numbers for each blocking handler on the reactor."""
        callback, mixed, slow = self.warnings()
        self.assertEqual(
            mixed,
            "Mixed.mixed runs on the reactor, since it names treq in _notify, and would block it: it uses "
            "time.sleep. Mark it with threaded=True, or call the blocking function with deferToThread",
        )
        self.assertIn("Mixed.slow runs on the reactor, since it names treq in _notify", slow)
        self.assertIn("time.sleep", slow)
        self.assertIn("Mixed.callback_message", callback)
        self.assertIn("time.sleep in mixed", callback)

    def test_after_a_change(self) -> None:
        """A reload checks again: a handler that no longer blocks causes no warning."""
        path = self.directory / "mixed.py"
        path.write_text(path.read_text().replace("time.sleep(3)", "pass"))
        before = len(self.warnings())
        self.bot.command("!plugin reload Mixed")
        self.assertEqual(len(self.warnings()), before)


class StorageTests(SynchronousTestCase):
    """Storages beside plugins."""

    def test_no_plugin(self) -> None:
        """The `.plug` file of a storage is not loaded as a plugin and causes no error."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "files.plug").write_text("[Core]\nName = Files\nModule = files\n")
        (directory / "files.py").write_text(
            "from errbot.storage.base import StoragePluginBase\nclass Files(StoragePluginBase): ...\n"
        )
        (directory / "hello.plug").write_text("[Core]\nName = Hello\nModule = hello\n")
        (directory / "hello.py").write_text("from errbot import BotPlugin\nclass Hello(BotPlugin): ...\n")
        bot = TestBot(plugin_dirs=[directory])
        bot.start()
        self.addCleanup(bot.stop)
        names = [plugin.name for plugin in bot.bot.plugin_manager.found]
        self.assertIn("Hello", names)
        self.assertNotIn("Files", names)
