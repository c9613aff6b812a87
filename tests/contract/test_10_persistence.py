"""Chapter 10: values that plugins keep."""

from __future__ import annotations

import shutil
import textwrap
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.contract.kit import ContractTest


class PersistenceTests(ContractTest):
    """A plugin is a mapping whose values are kept."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            pass
        """

    def setUp(self) -> None:
        """Have the plugin's instance."""
        super().setUp()
        self.kept: Any = self.instance()

    def test_items(self) -> None:
        """A value is there after it was assigned, until it is deleted."""
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
        """Everything that mappings have is there."""
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
        """A value that is changed in the block is kept when the block ends well."""
        self.kept["a"] = []
        with self.kept.mutable("a") as value:
            value.append(1)
        self.assertEqual(self.kept["a"], [1])

    def test_mutable_default(self) -> None:
        """Without a value the default is taken, and kept."""
        with self.kept.mutable("new", {}) as value:
            value["x"] = 1
        self.assertEqual(self.kept["new"], {"x": 1})
        with self.kept.mutable("nothing") as value:
            self.assertIsNone(value)

    def test_in_place(self) -> None:
        """A plugin is a MutableMapping; nothing is taken that isn't there."""
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
        """What a block adds to a value is there after it, and not before the assignment of another."""
        self.kept["a"] = {"n": 1}
        with self.kept.mutable("a") as value:
            value["n"] += 1
        self.assertEqual(self.kept["a"], {"n": 2})

    def test_namespaces(self) -> None:
        """The bot's own values are in namespaces of their own."""
        from errbot.storage import StoreMixin

        for owner, namespace in ((self.bot.plugin_manager, "core"), (self.bot.repo_manager, "repomgr")):
            self.assertIsInstance(owner, StoreMixin)
            self.assertEqual(owner.namespace, namespace)
            self.assertTrue(owner.is_open_storage())

    def test_plugins_share_nothing(self) -> None:
        """Each plugin has a namespace of its own."""
        self.kept["a"] = 1
        self.assertNotIn("a", self.instance("Kit"))
        self.assertEqual(self.kept.namespace, "Tried")

    def test_open_between_activate_and_deactivate(self) -> None:
        """The values can be used while the plugin is active; they are there again when it is active again."""
        self.kept["a"] = 1
        self.assertTrue(self.kept.is_open_storage())
        self.assertIn("deactivated", self.ask("!plugin deactivate Tried"))
        self.assertFalse(self.kept.is_open_storage())
        with self.assertRaises(AttributeError):
            self.kept["a"]
        self.assertIn("activated", self.ask("!plugin activate Tried"))
        self.assertEqual(self.instance()["a"], 1)

    def test_values_outlive_a_reload(self) -> None:
        """What was kept is there for the new code."""
        self.kept["a"] = 1
        self.assertIn("reloaded", self.ask("!plugin reload Tried"))
        self.assertEqual(self.instance()["a"], 1)

    def test_closed_or_opened_twice(self) -> None:
        """Opening what is open and closing what is closed are errors."""
        from errbot.storage import StoreAlreadyOpenError, StoreNotOpenError

        with self.assertRaises(StoreAlreadyOpenError):
            self.kept.init_storage()
        self.kept.close_storage()
        with self.assertRaises(StoreNotOpenError):
            self.kept.close_storage()
        self.kept.init_storage()


class MutationTests(ContractTest):
    """Values that are changed in place."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            pass
        """

    def test_mutable_with_an_error(self) -> None:
        """What a block that fails did to the value isn't assigned."""
        kept = self.instance()
        kept["a"] = 1
        with self.assertRaises(RuntimeError), kept.mutable("b", 0):
            raise RuntimeError
        self.assertNotIn("b", kept)


class NeverOpenedTests(unittest.TestCase):
    """A StoreMixin without a storage."""

    def test_closed(self) -> None:
        """Nothing can be read or closed."""
        from errbot.storage import StoreException, StoreMixin, StoreNotOpenError

        mixin = StoreMixin()
        self.assertFalse(mixin.is_open_storage())
        with self.assertRaises(AttributeError):
            mixin["a"]
        with self.assertRaises(StoreNotOpenError):
            mixin.close_storage()
        self.assertTrue(issubclass(StoreNotOpenError, StoreException))


class ThirdPartyStorageTests(ContractTest):
    """A storage that somebody else wrote."""

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
        """It is found by the name in its .plug file, gets STORAGE_CONFIG, and keeps what plugins assign."""
        tried = self.instance()
        tried["a"] = [1]
        self.assertEqual(tried["a"], [1])
        self.assertEqual((len(tried), list(tried)), (1, ["a"]))
        with self.assertRaises(KeyError):
            tried["b"]
        self.assertIn("reloaded", self.ask("!plugin reload Tried"))
        self.assertEqual(self.instance()["a"], [1])


class ShelfTests(ContractTest):
    """The bundled storage on disk."""

    def test_store(self) -> None:
        """What is kept is in BOT_DATA_DIR, and there again when it is opened again."""
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
    """The bundled storage in memory, as storage plugins are used."""

    def setUp(self) -> None:
        """A storage of a configuration without settings of its own."""
        from errbot.storage.memory import MemoryStoragePlugin

        self.storage = MemoryStoragePlugin(SimpleNamespace(STORAGE_CONFIG={}))

    def test_store(self) -> None:
        """`open` returns a store of a namespace, with set, get, remove, len and keys."""
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

    def test_mixin(self) -> None:
        """A StoreMixin opens its values in such a storage, and is a context manager."""
        from errbot.storage import StoreMixin

        mixin = StoreMixin()
        mixin.open_storage(self.storage, "contract-mixin")
        with mixin:
            mixin["x"] = 1
            self.assertEqual(dict(mixin), {"x": 1})
            del mixin["x"]
        self.assertFalse(mixin.is_open_storage())

    def test_third_party_storage(self) -> None:
        """`StoragePluginBase` keeps STORAGE_CONFIG for its subclasses."""
        from errbot.storage.base import StoragePluginBase

        class Storage(StoragePluginBase):
            def open(self, namespace: str) -> Any:
                return namespace

        self.assertEqual(Storage(SimpleNamespace(STORAGE_CONFIG={"host": "x"}))._storage_config, {"host": "x"})
        self.assertEqual(Storage(SimpleNamespace())._storage_config, {})


class BotTests(ContractTest):
    """The bot is a mapping too."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            pass
        """

    def test_mapping(self) -> None:
        """Plugins may keep values with the network that they are on."""
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
