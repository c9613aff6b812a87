"""Programs that start a bot with errbot.bootstrap."""

from __future__ import annotations

import shelve
import subprocess
import sys
import types
from pathlib import Path
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from errklein import bootstrap
from errklein.bootstrap import get_storage_plugin, restore_bot_from_backup
from errklein.compat.storages import MemoryStoragePlugin, ShelfStoragePlugin
from errklein.config import load_config
from errklein.storage import MemoryStorage, StorageError
from errklein.storage._backup import write_backup
from errklein.storage._storages import rows_of
from errklein.storage.pickling import dumps
from tests.compat.test_storages import StorageCase
from tests.plugin_files import PluginFilesTestCase
from tests.storage.hostile_pickles import hostile_pickles


class DefaultsTests(PluginFilesTestCase):
    """Missing settings of a configuration."""

    def test_they_are_filled_in(self) -> None:
        """Missing settings get errbot's defaults; missing administrators are an error."""
        config = types.SimpleNamespace(BOT_ADMINS=("me",), BOT_PREFIX="?")
        bootstrap.bot_config_defaults(config)
        self.assertEqual((config.BOT_PREFIX, config.CHATROOM_FN, config.BOT_ASYNC), ("?", "Errbot", True))
        self.assertEqual(config.BOT_ADMINS_NOTIFICATIONS, ("me",))
        self.assertRaises(ValueError, bootstrap.bot_config_defaults, types.SimpleNamespace())

    def test_a_bot_without_twistd(self) -> None:
        """`setup_bot` returns a bot that runs until `shutdown` is called."""
        self.write(
            "program.py",
            f"""
            import logging, threading, types
            import errklein.compat
            errklein.compat.install(force=True)
            from errbot.bootstrap import setup_bot
            config = types.SimpleNamespace(
                BOT_ADMINS=("me",), BOT_DATA_DIR={str(self.directory)!r}, STORAGE="Memory", CORE_PLUGINS=(), BACKEND="Null",
                BOT_LOG_FILE={str(self.directory / "log.txt")!r}, BOT_LOG_LEVEL=logging.INFO,
            )
            bot = setup_bot("Null", logging.getLogger(), config)
            bot.reactor.callWhenRunning(lambda: bot.reactor.callLater(0, lambda: print(bot.mode, sorted(bot.backends))))
            threading.Timer(0.3, bot.shutdown).start()
            logging.getLogger("errbot.plugins.X").info("a plugin's\\nwords")
            bot.serve_forever()
            print("over")
            """,
        )
        ran = self.run_program()
        self.assertEqual((ran.stdout, ran.returncode), ("null ['null']\nover\n", 0), ran.stderr)
        log = (self.directory / "log.txt").read_text()
        self.assertIn("[errbot.plugins.X#info] a plugin's\\nwords\n", log)
        self.assertIn("Connected to null", log)

    def test_shelves_that_were_not_imported(self) -> None:
        """If the data directory has errbot's values, the program runs, and the log names the import command."""
        with shelve.open(str(self.directory / "Greeter.db")) as shelf:
            shelf["a"] = 1
        self.write(
            "program.py",
            f"""
            import logging, threading, types
            from errklein.bootstrap import setup_bot
            config = types.SimpleNamespace(
                BOT_ADMINS=("me",), BOT_DATA_DIR={str(self.directory)!r}, CORE_PLUGINS=(), BACKEND="Null",
                BOT_LOG_FILE={str(self.directory / "log.txt")!r}, BOT_LOG_LEVEL=logging.INFO,
            )
            bot = setup_bot("Null", logging.getLogger(), config)
            threading.Timer(0.1, bot.shutdown).start()
            bot.serve_forever()
            print("over")
            """,
        )
        ran = self.run_program()
        self.assertEqual((ran.stdout, ran.returncode), ("over\n", 0), ran.stderr)
        self.assertIn(f"`errklein import-errbot --data-dir {self.directory}`", (self.directory / "log.txt").read_text())

    def run_program(self) -> subprocess.CompletedProcess[str]:
        """Run program.py in a process."""
        return subprocess.run(
            [sys.executable, str(self.directory / "program.py")],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=Path(__file__).parents[2],
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
        )


class GetStoragePluginTests(StorageCase):
    def test_by_name(self) -> None:
        """`get_storage_plugin` returns the storage of each name, by default Shelf."""
        self.assertIsInstance(get_storage_plugin(self.config(STORAGE="Memory")), MemoryStoragePlugin)
        self.assertIsInstance(get_storage_plugin(self.config(STORAGE="Shelf")), ShelfStoragePlugin)
        self.assertIsInstance(get_storage_plugin(SimpleNamespace(BOT_DATA_DIR="x")), ShelfStoragePlugin)
        values = get_storage_plugin(self.config(STORAGE="Dicts")).open("Greeter")
        values.set("a", 1)
        self.assertEqual(values.get("a"), 1)


class RestoreTests(SynchronousTestCase):
    def test_restore(self) -> None:
        """A backup of errklein or errbot is restored; values that are left out are logged."""
        bot = SimpleNamespace(storage=MemoryStorage(), bot_config=load_config(None))
        bot.storage.open("A").set("x", 1)
        path = Path(self.mktemp())
        write_backup(path, rows_of(bot.storage))
        bot.storage.open("A").set("x", 2)
        restore_bot_from_backup(path, bot=bot)
        self.assertEqual(bot.storage.open("A").get("x"), 1)
        path.write_text("bot.plugin_manager['configs'] = {'A': 1}\nbot.plugin_manager['odd'] = <odd>\n")
        with self.assertLogs("errbot") as logged:
            restore_bot_from_backup(str(path), bot=bot)
        self.assertEqual(bot.storage.open("core").get("configs"), {"A": 1})
        self.assertIn("line 2", logged.output[0])

    def test_hostile(self) -> None:
        """A backup with a value that could run code isn't restored, and the error names the value."""
        bot = SimpleNamespace(storage=MemoryStorage(), bot_config=load_config(None))
        path = Path(self.mktemp()).absolute()
        ran = path.with_name("ran")
        for hostile in hostile_pickles(ran):
            write_backup(path, [("A", "x", dumps(1)), ("A", "y", hostile.data)])
            error = self.assertRaises(StorageError, restore_bot_from_backup, path, bot=bot)
            self.assertIn("A: 'y' uses ", str(error))
            self.assertNotIn("\n", str(error))
        self.assertEqual((bot.storage.open("A").len(), ran.exists()), (0, False))
