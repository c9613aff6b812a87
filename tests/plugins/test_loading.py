"""Tests for the choice of the files that are loaded as plugins."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.testing import TestBot


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
