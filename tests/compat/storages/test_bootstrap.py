"""errbot's bootstrap, as far as it is about storages."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat.backends.manager import BackendPluginManager, enumerate_backend_plugins
from errklein.compat.storages.base import StoragePluginBase
from errklein.compat.storages.bootstrap import CORE_STORAGE, get_storage_plugin, restore_bot_from_backup
from errklein.compat.storages.bundled import MemoryStoragePlugin, ShelfStoragePlugin
from errklein.config import load_config
from errklein.config.settings import STORAGES
from errklein.storage import MemoryStorage, StorageError
from errklein.storage.backup import write_backup
from errklein.storage.pickling import dumps
from errklein.storage.transfer import rows_of
from tests.compat.storages.test_finding import StorageCase
from tests.storage.hostile_pickles import hostile_pickles


class GetStoragePluginTests(StorageCase):
    def test_by_name(self) -> None:
        """Each name leads to a storage whose namespaces can be opened; without a name it is the shelf."""
        self.assertIsInstance(get_storage_plugin(self.config(STORAGE="Memory")), MemoryStoragePlugin)
        self.assertIsInstance(get_storage_plugin(self.config(STORAGE="Shelf")), ShelfStoragePlugin)
        self.assertIsInstance(get_storage_plugin(SimpleNamespace(BOT_DATA_DIR="x")), ShelfStoragePlugin)
        values = get_storage_plugin(self.config(STORAGE="Dicts")).open("Greeter")
        values.set("a", 1)
        self.assertEqual(values.get("a"), 1)

    def test_place(self) -> None:
        """Tools find errklein's own storages by .plug files, and load one by its name."""
        self.assertEqual(sorted(info.name for info in enumerate_backend_plugins([CORE_STORAGE])), sorted(STORAGES))
        for name in STORAGES:
            config = self.config(STORAGE=name)
            manager = BackendPluginManager(config, "errbot.storage", name, StoragePluginBase, CORE_STORAGE)
            self.assertIs(type(manager.load_plugin()), type(get_storage_plugin(config)))


class RestoreTests(SynchronousTestCase):
    def test_restore(self) -> None:
        """A backup of either kind is put into the bot; what is left out is logged."""
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
        """A backup with a value that could run code isn't restored, and the error names it."""
        bot = SimpleNamespace(storage=MemoryStorage(), bot_config=load_config(None))
        path = Path(self.mktemp()).absolute()
        ran = path.with_name("ran")
        for hostile in hostile_pickles(ran):
            write_backup(path, [("A", "x", dumps(1)), ("A", "y", hostile.data)])
            error = self.assertRaises(StorageError, restore_bot_from_backup, path, bot=bot)
            self.assertIn("A: 'y' uses ", str(error))
            self.assertNotIn("\n", str(error))
        self.assertEqual((bot.storage.open("A").len(), ran.exists()), (0, False))
