"""Chapter 10: stored values of plugins."""

from __future__ import annotations

import shutil
import sys
import textwrap
import unittest
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.contract import IS_ERRKLEIN
from tests.contract.kit import ContractTest


class PersistenceTests(ContractTest):
    """A plugin is a mapping of stored values."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            pass
        """

    def setUp(self) -> None:
        """Get the plugin's instance."""
        super().setUp()
        self.kept: Any = self.instance()

    def test_items(self) -> None:
        """A value can be read from its assignment until it is deleted; a missing key raises KeyError."""
        with self.assertRaises(KeyError):
            self.kept["a"]
        self.kept["a"] = [1]
        self.assertEqual(self.kept["a"], [1])
        del self.kept["a"]
        with self.assertRaises(KeyError):
            self.kept["a"]
        with self.assertRaises(KeyError):
            del self.kept["a"]

    def test_mapping(self) -> None:
        """All methods of a mapping work."""
        self.kept["a"] = 1
        self.kept.update({"b": 2})
        self.assertEqual(self.kept.setdefault("c", 3), 3)
        self.assertEqual(self.kept.get("d", 4), 4)
        self.assertIn("a", self.kept)
        self.assertNotIn("d", self.kept)
        self.assertEqual(sorted(self.kept), ["a", "b", "c"])
        self.assertEqual(sorted(self.kept.keys()), ["a", "b", "c"])
        self.assertEqual(sorted(self.kept.values()), [1, 2, 3])
        self.assertEqual(dict(self.kept.items()), {"a": 1, "b": 2, "c": 3})
        self.assertEqual(len(self.kept), 3)
        self.assertEqual(self.kept.pop("a"), 1)
        self.kept.clear()
        self.assertEqual(len(self.kept), 0)

    def test_mutable(self) -> None:
        """`mutable` stores the changed value at the end of the block."""
        self.kept["a"] = []
        with self.kept.mutable("a") as value:
            value.append(1)
        self.assertEqual(self.kept["a"], [1])

    def test_mutable_default(self) -> None:
        """If the key is missing, `mutable` returns and stores the default."""
        with self.kept.mutable("new", {}) as value:
            value["x"] = 1
        self.assertEqual(self.kept["new"], {"x": 1})
        with self.kept.mutable("nothing") as value:
            self.assertIsNone(value)

    def test_in_place(self) -> None:
        """A plugin is a MutableMapping and a StoreMixin."""
        from collections.abc import MutableMapping

        from errbot.storage import StoreMixin

        self.assertIsInstance(self.kept, MutableMapping)
        self.assertIsInstance(self.kept, StoreMixin)
        with self.assertRaises(KeyError):
            self.kept.pop("nothing")
        self.assertEqual(self.kept.pop("nothing", 5), 5)
        self.assertEqual(self.kept.setdefault("a", [1]), [1])
        self.assertEqual(self.kept.setdefault("a", [2]), [1])

    def test_mutable_in_a_block_that_replaces(self) -> None:
        """A dict that is changed in a `mutable` block is stored with its changes."""
        self.kept["a"] = {"n": 1}
        with self.kept.mutable("a") as value:
            value["n"] += 1
        self.assertEqual(self.kept["a"], {"n": 2})

    def test_namespaces(self) -> None:
        """The plugin manager, the repository manager and the bot have their own namespaces."""
        from errbot.storage import StoreMixin

        for owner, namespace in ((self.bot.plugin_manager, "core"), (self.bot.repo_manager, "repomgr")):
            self.assertIsInstance(owner, StoreMixin)
            self.assertEqual(owner.namespace, namespace)
            self.assertTrue(owner.is_open_storage())
        self.assertEqual(self.kept._bot.namespace, "test_backend")

    def test_plugins_share_nothing(self) -> None:
        """The namespace of a plugin is its name, and plugins don't share values."""
        self.kept["a"] = 1
        self.assertNotIn("a", self.instance("Kit"))
        self.assertEqual(self.kept.namespace, "Tried")

    def test_open_between_activate_and_deactivate(self) -> None:
        """Values can be used while the plugin is active, and are there again after its next activation."""
        self.kept["a"] = 1
        self.assertTrue(self.kept.is_open_storage())
        self.assertIn("deactivated", self.ask("!plugin deactivate Tried"))
        self.assertFalse(self.kept.is_open_storage())
        with self.assertRaises(AttributeError):
            self.kept["a"]
        self.assertIn("activated", self.ask("!plugin activate Tried"))
        self.assertEqual(self.instance()["a"], 1)

    def test_values_outlive_a_reload(self) -> None:
        """Values are kept when the plugin is reloaded."""
        self.kept["a"] = 1
        self.assertIn("reloaded", self.ask("!plugin reload Tried"))
        self.assertEqual(self.instance()["a"], 1)

    def test_closed_or_opened_twice(self) -> None:
        """Opening an open storage, or closing a closed one, raises an error."""
        from errbot.storage import StoreAlreadyOpenError, StoreNotOpenError

        with self.assertRaises(StoreAlreadyOpenError):
            self.kept.init_storage()
        self.kept.close_storage()
        with self.assertRaises(StoreNotOpenError):
            self.kept.close_storage()
        self.kept.init_storage()


class MutationTests(ContractTest):
    """`mutable` blocks that fail."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            pass
        """

    def test_mutable_with_an_error(self) -> None:
        """If the block raises an exception, nothing is stored."""
        kept = self.instance()
        kept["a"] = 1
        with self.assertRaises(RuntimeError), kept.mutable("b", 0):
            raise RuntimeError
        self.assertNotIn("b", kept)


class NeverOpenedTests(unittest.TestCase):
    """A StoreMixin without a storage."""

    def test_closed(self) -> None:
        """Reading or closing a StoreMixin without a storage raises an error."""
        from errbot.storage import StoreException, StoreMixin, StoreNotOpenError

        mixin = StoreMixin()
        self.assertFalse(mixin.is_open_storage())
        with self.assertRaises(AttributeError):
            mixin["a"]
        with self.assertRaises(StoreNotOpenError):
            mixin.close_storage()
        self.assertTrue(issubclass(StoreNotOpenError, StoreException))


class KeptTests(ContractTest):
    """Values in the default storage, Shelf."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            pass
        """
    config = {"STORAGE": "Shelf"}

    def setUp(self) -> None:
        """Store a value."""
        if sys.version_info >= (3, 13) and not IS_ERRKLEIN:
            self.skipTest("errbot opens a shelf in another thread than it uses it in, which Python 3.13 doesn't allow")
        super().setUp()
        self.kept: Any = self.instance()
        self.kept["a"] = [1]

    def test_changed_in_place(self) -> None:
        """A value that is changed in place isn't stored."""
        self.kept["a"].append(2)
        self.assertEqual(self.kept["a"], [1])

    def test_mutable(self) -> None:
        """A value that is changed in a `mutable` block is stored, unless the block fails."""
        with self.kept.mutable("a") as value:
            value.append(2)
        self.assertEqual(self.kept["a"], [1, 2])
        with self.assertRaises(RuntimeError), self.kept.mutable("a") as value:
            value.append(3)
            raise RuntimeError
        self.assertEqual(self.kept["a"], [1, 2])

    def test_reopened(self) -> None:
        """Values are there when the plugin is activated again."""
        self.kept["when"] = datetime(2020, 2, 29, 12, 0, tzinfo=UTC)
        self.ask("!plugin deactivate Tried")
        self.ask("!plugin activate Tried")
        again = self.instance()
        self.assertEqual((again["a"], again["when"].day), ([1], 29))


class OpenTests(ContractTest):
    """The time in which values can be used."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def __init__(self, bot, name=None):
                super().__init__(bot, name=name)
                self.refused = []
                self.tried()

            def tried(self):
                try:
                    self["a"] = 1
                except AttributeError:
                    self.refused.append(self.is_open_storage())

            def activate(self):
                self.tried()
                super().activate()
                self.tried()

            def deactivate(self):
                self.tried()
                super().deactivate()
        """

    def test_from_activate_to_deactivate(self) -> None:
        """Before the inherited `activate`, and after the inherited `deactivate`, values raise AttributeError."""
        tried = self.instance()
        self.assertEqual(tried.refused, [False, False])
        self.bot.plugin_manager.deactivate_plugin("Tried")
        self.assertEqual(tried.refused, [False, False])
        for use in (lambda: tried["a"], lambda: len(tried), lambda: list(tried), lambda: "a" in tried, tried.clear):
            with self.assertRaises(AttributeError):
                use()
        with self.assertRaises(AttributeError), tried.mutable("a"):
            pass


class ThirdPartyStorageTests(ContractTest):
    """A third-party storage."""

    storage = """
        from errbot.storage.base import StorageBase, StoragePluginBase

        KEPT = {}

        class Store(StorageBase):
            def __init__(self, namespace):
                self.values = KEPT.setdefault(namespace, {})

            def set(self, key, value):
                self.values[key] = value

            def get(self, key):
                return self.values[key]

            def remove(self, key):
                del self.values[key]

            def len(self):
                return len(self.values)

            def keys(self):
                return list(self.values)

            def close(self):
                pass

        class Contract(StoragePluginBase):
            def open(self, namespace):
                assert self._storage_config == {"host": "x"}, self._storage_config
                return Store(namespace)
        """
    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            pass
        """

    def start(self, **config: Any) -> None:
        """Start the bot with such a storage."""
        storages = Path(f"{self.directory}-storages")
        storages.mkdir()
        self.addCleanup(shutil.rmtree, storages)
        (storages / "contract.plug").write_text("[Core]\nName = Contract\nModule = contract_storage\n")
        (storages / "contract_storage.py").write_text(textwrap.dedent(self.storage))
        settings = {"STORAGE": "Contract", "STORAGE_CONFIG": {"host": "x"}}
        super().start(BOT_EXTRA_STORAGE_PLUGINS_DIR=str(storages), **settings, **config)

    def test_used(self) -> None:
        """The storage is found by the Name in its `.plug` file, gets STORAGE_CONFIG, and stores the values of
        plugins.
        """
        tried = self.instance()
        tried["a"] = [1]
        self.assertEqual(tried["a"], [1])
        self.assertEqual((len(tried), list(tried)), (1, ["a"]))
        with self.assertRaises(KeyError):
            tried["b"]
        self.assertIn("reloaded", self.ask("!plugin reload Tried"))
        self.assertEqual(self.instance()["a"], [1])


class OwnStoreTests(ContractTest):
    """Further stores of a plugin."""

    def test_storage_plugin(self) -> None:
        """A StoreMixin can open a namespace of `bot.storage_plugin`."""
        from errbot.storage import StoreMixin

        store = StoreMixin()
        store.open_storage(self.bot.storage_plugin, "contract-own")
        store["a"] = 1
        self.assertEqual(dict(store), {"a": 1})
        store.close_storage()
        self.assertIsInstance(self.bot, StoreMixin)

    def test_incomplete(self) -> None:
        """A subclass of StorageBase need not implement all methods."""
        from errbot.storage.base import StorageBase

        class Store(StorageBase):
            def get(self, key: str) -> str:
                return key

        self.assertEqual(Store().get("a"), "a")


class ShippedStorageTests(ContractTest):
    """Storages in installed distributions."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            pass
        """
    installed = {
        "shipped_storage/__init__.py": "",
        "shipped_storage/shipped.plug": "[Core]\nName = ShippedStorage\nModule = shipped_store\n",
        "shipped_storage/shipped_store.py": ThirdPartyStorageTests.storage,
        "shipped_storage-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: shipped-storage\nVersion: 1.0\n",
        "shipped_storage-1.0.dist-info/entry_points.txt": "[errbot.backend_plugins]\nstorage = shipped_storage\n",
        "shipped_storage-1.0.dist-info/RECORD": (
            "shipped_storage/__init__.py,,\nshipped_storage/shipped.plug,,\nshipped_storage/shipped_store.py,,\n"
        ),
    }

    def start(self, **config: Any) -> None:
        """Start the bot with such a storage."""
        place = Path(f"{self.directory}-installed")
        for name, text in self.installed.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip("\n"))
        self.addCleanup(shutil.rmtree, place)
        sys.path.insert(0, str(place))
        self.addCleanup(sys.path.remove, str(place))
        super().start(STORAGE="ShippedStorage", STORAGE_CONFIG={"host": "x"}, **config)

    def test_used(self) -> None:
        """Storages are found by the entry points in `errbot.backend_plugins` and the Name in their `.plug` files."""
        self.instance()["a"] = [1]
        self.assertEqual(dict(self.instance()), {"a": [1]})
        modules = [module for name, module in sys.modules.items() if name.endswith("shipped_store")]
        self.assertIn({"a": [1]}, [module.KEPT.get("Tried") for module in modules])


class ShelfTests(ContractTest):
    """ShelfStoragePlugin, the storage on disk."""

    def test_store(self) -> None:
        """Values are stored in BOT_DATA_DIR, and are there when the namespace is opened again."""
        from errbot.storage.shelf import ShelfStoragePlugin

        store = ShelfStoragePlugin(self.testbot.bot_config).open("contract-shelf")
        store.set("a", {"x": [1]})
        self.assertEqual((store.get("a"), store.len(), list(store.keys())), ({"x": [1]}, 1, ["a"]))
        for action in (store.get, store.remove):
            with self.assertRaises(KeyError):
                action("b")
        store.close()
        again = ShelfStoragePlugin(self.testbot.bot_config).open("contract-shelf")
        self.assertEqual(again.get("a"), {"x": [1]})
        again.remove("a")
        self.assertEqual(again.len(), 0)
        again.close()


class StoragePluginTests(unittest.TestCase):
    """MemoryStoragePlugin, the storage in memory."""

    def setUp(self) -> None:
        """Create a storage without settings."""
        from errbot.storage.memory import MemoryStoragePlugin

        self.storage = MemoryStoragePlugin(SimpleNamespace(STORAGE_CONFIG={}))

    def test_store(self) -> None:
        """`open` returns a store with `set`, `get`, `remove`, `len` and `keys`."""
        store = self.storage.open("contract-tests")
        self.addCleanup(store.close)
        store.set("a", 1)
        store.set("b", [2])
        self.assertEqual(store.get("a"), 1)
        self.assertEqual(store.len(), 2)
        self.assertEqual(sorted(store.keys()), ["a", "b"])
        store.remove("a")
        for action in (store.get, store.remove):
            with self.assertRaises(KeyError):
                action("a")
        store.remove("b")

    def test_one_for_all(self) -> None:
        """All instances share their values, which are the same objects."""
        from errbot.storage.memory import MemoryStoragePlugin

        value = [1]
        store = self.storage.open("contract-for-all")
        store.set("a", value)
        store.close()
        again = MemoryStoragePlugin(SimpleNamespace(STORAGE_CONFIG={})).open("contract-for-all")
        self.addCleanup(again.close)
        self.assertIs(again.get("a"), value)
        again.remove("a")

    def test_opened_twice(self) -> None:
        """A StoreMixin has one open namespace at a time."""
        from errbot.storage import StoreAlreadyOpenError, StoreMixin

        mixin = StoreMixin()
        mixin.open_storage(self.storage, "contract-one")
        with self.assertRaises(StoreAlreadyOpenError):
            mixin.open_storage(self.storage, "contract-two")
        mixin.close_storage()
        mixin.open_storage(self.storage, "contract-two")
        self.assertTrue(mixin.is_open_storage())
        self.assertEqual(mixin.namespace, "contract-two")
        mixin.close_storage()

    def test_mixin(self) -> None:
        """A StoreMixin opens a namespace and is a context manager that closes it."""
        from errbot.storage import StoreMixin

        mixin = StoreMixin()
        mixin.open_storage(self.storage, "contract-mixin")
        with mixin:
            mixin["x"] = 1
            self.assertEqual(dict(mixin), {"x": 1})
            del mixin["x"]
        self.assertFalse(mixin.is_open_storage())

    def test_third_party_storage(self) -> None:
        """StoragePluginBase stores STORAGE_CONFIG as `_storage_config`."""
        from errbot.storage.base import StoragePluginBase

        class Storage(StoragePluginBase):
            def open(self, namespace: str) -> Any:
                return namespace

        self.assertEqual(Storage(SimpleNamespace(STORAGE_CONFIG={"host": "x"}))._storage_config, {"host": "x"})
        self.assertEqual(Storage(SimpleNamespace())._storage_config, {})


class BotTests(ContractTest):
    """The bot as a mapping."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            pass
        """

    def test_mapping(self) -> None:
        """Plugins can store values of the network in `_bot`."""
        bot: Any = self.instance()._bot
        bot["of the network"] = [1]
        self.assertEqual(bot["of the network"], [1])
        self.assertIn("of the network", bot)
        self.assertEqual(bot.get("nothing", 5), 5)
        with bot.mutable("of the network") as value:
            value.append(2)
        self.assertEqual(dict(bot.items())["of the network"], [1, 2])
        del bot["of the network"]
        with self.assertRaises(KeyError):
            bot["of the network"]
