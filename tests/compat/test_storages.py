"""STORAGE names one of errklein's storages or a third-party one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat import storages as finding
from errklein.compat.storages import ShelfStoragePlugin, check_storage, database_of, make_storage
from errklein.config import Config, ConfigError, load_config
from errklein.ports.values import Storage
from errklein.storage import AdaptedStorage, MemoryStorage, SQLiteStorage, StorageError
from errklein.testing.store_contract import StoreContract

STORAGE = """
from errbot.storage.base import StorageBase, StoragePluginBase
from beside import KEPT

class Values(StorageBase):
    def __init__(self, values):
        self.values = values

    def set(self, key, value):
        self.values[key] = value

    def get(self, key):
        return self.values[key]

    def remove(self, key):
        del self.values[key]

    def len(self):
        return len(self.values)

    def keys(self):
        return self.values.keys()

    def close(self):
        pass

class DictStorage(StoragePluginBase):
    def __init__(self, bot_config):
        super().__init__(bot_config)
        if self._storage_config.get("password") == "wrong":
            raise RuntimeError("no login with wrong")
        self.kept = {}

    def open(self, namespace):
        return Values(self.kept.setdefault(namespace, {}))
"""


class StorageCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Create a directory with a third-party storage beside other files."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.write("dicts.plug", "[Core]\nName = Dicts\nModule = dicts\n")
        self.write("dicts.py", STORAGE)
        self.write("beside.py", "KEPT = 1\n")
        self.write("backend.plug", "[Core]\nName = SomeBackend\nModule = backend\n")
        self.write("backend.py", "raise RuntimeError('not to be loaded')\n")
        self.write("broken.plug", "nonsense")

    def write(self, name: str, text: str) -> None:
        """Write a file into the directory."""
        (self.directory / name).write_text(text)

    def config(self, **settings: Any) -> Config:
        """Return a configuration with these settings."""
        data = {"BOT_DATA_DIR": str(self.directory), "BOT_EXTRA_STORAGE_PLUGINS_DIR": str(self.directory)}
        return load_config(None, {"BACKEND": "Null", **data, **settings})


class MakeStorageTests(StorageCase):
    def made(self, **settings: Any) -> Storage:
        """Return the storage of the configuration; it is closed after the test."""
        storage = make_storage(self.config(**settings))
        self.addCleanup(storage.close)
        return storage

    def test_own(self) -> None:
        """Shelf is a file in BOT_DATA_DIR or in the `basedir` of STORAGE_CONFIG; Memory has no file."""
        self.assertIsInstance(self.made(STORAGE="Memory"), MemoryStorage)
        self.assertIsInstance(self.made(), SQLiteStorage)
        self.assertTrue((self.directory / "errklein.sqlite").exists())
        elsewhere = self.config(STORAGE_CONFIG={"basedir": "/elsewhere"})
        self.assertEqual(database_of(elsewhere), Path("/elsewhere/errklein.sqlite"))

    def test_written_for_errbot(self) -> None:
        """A third-party storage is found by the Name in its `.plug` file and used."""
        storage = self.made(STORAGE="Dicts")
        self.assertIsInstance(storage, AdaptedStorage)
        storage.open("Greeter").set("a", [1])
        self.assertEqual(storage.open("Greeter").get("a"), [1])

    def test_unknown(self) -> None:
        """The error about an unknown storage lists the known ones; no code is executed."""
        config = self.config(STORAGE="Redis", STORAGE_CONFIG={"password": "s3cret"})
        for call in (check_storage, make_storage):
            text = str(self.assertRaises(ConfigError, call, config))
            self.assertIn("'Redis'", text)
            self.assertIn("Shelf, Memory, Dicts", text)
            self.assertNotIn("SomeBackend", text)
            self.assertNotIn("s3cret", text)
        for name in ("Shelf", "Memory", "Dicts"):
            check_storage(self.config(STORAGE=name))

    def test_installed(self) -> None:
        """Storages of installed distributions are found by their entry points."""
        asked: list[Any] = []
        self.patch(finding, "entry_point_roots", lambda groups: asked.append(groups) or [self.directory])
        config = self.config(STORAGE="Dicts", BOT_EXTRA_STORAGE_PLUGINS_DIR=None)
        check_storage(config)
        self.assertEqual(asked, [("errbot.backend_plugins", "errklein.storages")])

    def test_broken_code(self) -> None:
        """The error about a storage that can't be imported has its location."""
        self.write("dicts.py", "StoragePluginBase\n")
        text = str(self.assertRaises(StorageError, make_storage, self.config(STORAGE="Dicts")))
        self.assertIn("dicts.py, line 1: NameError", text)

    def test_refuses_its_configuration(self) -> None:
        """The error about a storage that can't be created has no text of the exception, which may contain a password."""
        config = self.config(STORAGE="Dicts", STORAGE_CONFIG={"password": "wrong"})
        text = str(self.assertRaises(StorageError, make_storage, config))
        self.assertIn("'Dicts' failed to start (DictStorage raised RuntimeError)", text)
        self.assertNotIn("wrong", text)


class LoadedContractTests(StoreContract, StorageCase):
    def make_storage(self) -> Storage:
        """Return the third-party storage as it is created for a configuration."""
        return make_storage(self.config(STORAGE="Dicts"))


class BundledTests(StorageCase):
    """errbot's bundled storages, for code that opens them itself."""

    def test_shelf_is_the_bots_file(self) -> None:
        """A value that is stored with ShelfStoragePlugin can be read by the bot."""
        store = ShelfStoragePlugin(self.config()).open("Greeter")
        store.set("a", 1)
        store.close()
        storage = make_storage(self.config())
        self.addCleanup(storage.close)
        self.assertEqual(storage.open("Greeter").get("a"), 1)
