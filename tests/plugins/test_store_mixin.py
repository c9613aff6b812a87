"""Plugins' values: a mapping that is open between activation and deactivation."""

from __future__ import annotations

from collections.abc import Callable, KeysView

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.compat.storages.base import StoragePluginBase
from errklein.compat.storages.bundled import MemoryStorage as MemoryValues
from errklein.plugins.store_mixin import StoreAlreadyOpenError, StoreException, StoreMixin, StoreNotOpenError
from errklein.storage import MemoryStorage, StorageError
from tests.storage.test_pickling import PluginCase


class Greeter(StoreMixin):
    """Stands for a plugin."""


USES: list[Callable[[Greeter], object]] = [
    lambda plugin: plugin["key"],
    lambda plugin: plugin.__setitem__("key", 1),
    lambda plugin: plugin.__delitem__("key"),
    lambda plugin: plugin.get("key", "default"),
    lambda plugin: "key" in plugin,
    lambda plugin: list(plugin),
    lambda plugin: len(plugin),
    lambda plugin: plugin.clear(),
    lambda plugin: plugin.mutable("key").__enter__(),
]


def opened(storage: MemoryStorage | None = None) -> Greeter:
    """A plugin with an open storage."""
    plugin = Greeter()
    plugin.open_storage(storage or MemoryStorage(), "Greeter")
    return plugin


class MappingTests(SynchronousTestCase):
    def test_items(self) -> None:
        """Values are assigned, read, deleted and counted as in a dict."""
        plugin = opened()
        plugin["a"] = 1
        plugin["b"] = 2
        del plugin["a"]
        self.assertEqual(
            (plugin["b"], len(plugin), list(plugin), "a" in plugin, "b" in plugin), (2, 1, ["b"], False, True)
        )

    def test_missing(self) -> None:
        """Reading and deleting a key that isn't there raise KeyError."""
        plugin = opened()
        with self.assertRaises(KeyError):
            plugin["a"]
        with self.assertRaises(KeyError):
            del plugin["a"]

    def test_methods_of_mappings(self) -> None:
        """What dicts have besides: get, setdefault, update, pop, keys, values, items, clear."""
        plugin = opened()
        plugin.update({"a": 1}, b=2)
        self.assertEqual((plugin.get("a"), plugin.get("c"), plugin.get("c", 3)), (1, None, 3))
        self.assertEqual((plugin.setdefault("a", 5), plugin.setdefault("c", 6)), (1, 6))
        self.assertEqual((plugin.pop("c"), plugin.pop("c", None)), (6, None))
        self.assertEqual(
            (list(plugin.keys()), list(plugin.values()), dict(plugin.items())), (["a", "b"], [1, 2], dict(plugin))
        )
        plugin.clear()
        self.assertEqual(dict(plugin), {})

    @settings(deadline=None)
    @given(st.dictionaries(st.text(), st.integers()))
    def check_equal(self, values: dict[str, int]) -> None:
        """Check that a plugin that was given `values` equals them."""
        plugin = opened()
        plugin.update(values)
        self.assertEqual(plugin, values)

    def test_equal_to_a_dict(self) -> None:
        """A plugin equals the dict of its values."""
        self.check_equal()

    def test_two_plugins(self) -> None:
        """Two plugins are two, though they hold the same, and can be put into sets."""
        storage = MemoryStorage()
        one, two = opened(storage), opened(storage)
        self.assertNotEqual(one, two)
        self.assertEqual(len({one, two, one}), 2)


class MutableTests(SynchronousTestCase):
    def test_change_in_place(self) -> None:
        """What the block does to the value is stored at its end."""
        plugin = opened()
        plugin["seen"] = ["alice"]
        with plugin.mutable("seen") as seen:
            seen.append("bob")
        self.assertEqual(plugin["seen"], ["alice", "bob"])

    def test_default(self) -> None:
        """A key that isn't there begins with the default, which is stored; without one with None."""
        plugin = opened()
        with plugin.mutable("seen", []) as seen:
            seen.append("alice")
        with plugin.mutable("other") as other:
            self.assertIs(other, None)
        self.assertEqual(dict(plugin), {"seen": ["alice"], "other": None})


class SQLiteTests(PluginCase):
    def opened(self) -> Greeter:
        """A plugin whose values are in a file."""
        plugin = Greeter()
        plugin.open_storage(self.storage, "Greeter")
        return plugin

    def test_mutable_stores_at_the_end(self) -> None:
        """Only `mutable` stores what was changed in place."""
        plugin = self.opened()
        plugin["seen"] = []
        plugin["seen"].append("alice")
        self.assertEqual(plugin["seen"], [])
        with plugin.mutable("seen") as seen:
            seen.append("bob")
        self.assertEqual(plugin["seen"], ["bob"])

    def test_mutable_with_an_error(self) -> None:
        """If the block raises, nothing is stored, and the error comes out."""
        plugin = self.opened()
        plugin["seen"] = ["alice"]
        with self.assertRaises(ZeroDivisionError), plugin.mutable("seen") as seen:
            seen.append(1 / 0)
        with self.assertRaises(ZeroDivisionError), plugin.mutable("new", []):
            1 / 0
        self.assertEqual(dict(plugin), {"seen": ["alice"]})

    def test_unreadable_values(self) -> None:
        """A value whose class is gone is not mistaken for a missing one, and `clear` forgets it too."""
        plugin = self.opened()
        plugin["note"] = self.load(1).Note("hello")
        self.unload()
        self.assertRaises(StorageError, plugin.get, "note", "default")
        with self.assertRaises(StorageError), plugin.mutable("note", []):
            self.fail("the block must not run, its default would replace the value")
        plugin.clear()
        self.assertEqual(list(plugin), [])


class LifeTests(SynchronousTestCase):
    def test_open_and_close(self) -> None:
        """The plugin can tell whether its storage is open; values are there again when it is opened again."""
        storage = MemoryStorage()
        plugin = Greeter()
        self.assertFalse(plugin.is_open_storage())
        plugin.open_storage(storage, "Greeter")
        self.assertTrue(plugin.is_open_storage())
        self.assertEqual(plugin.namespace, "Greeter")
        plugin["key"] = "value"
        plugin.close_storage()
        self.assertFalse(plugin.is_open_storage())
        plugin.open_storage(storage, "Greeter")
        self.assertEqual(plugin["key"], "value")

    def test_not_open(self) -> None:
        """Without a storage every access raises what names the plugin, and is an AttributeError too, as in errbot."""
        closed = opened()
        closed.close_storage()
        for plugin in (Greeter(), closed):
            for use in USES:
                error = self.assertRaises(StoreNotOpenError, use, plugin)
                self.assertIsInstance(error, AttributeError)
                self.assertIn("Greeter", str(error))

    def test_open_twice(self) -> None:
        """To open what is open is an error, and changes nothing."""
        plugin = opened()
        plugin["key"] = 1
        error = self.assertRaises(StoreAlreadyOpenError, plugin.open_storage, MemoryStorage(), "Other")
        self.assertIsInstance(error, StoreException)
        self.assertEqual((plugin["key"], plugin.namespace), (1, "Greeter"))

    def test_close_twice(self) -> None:
        """To close what is closed is an error."""
        plugin = opened()
        plugin.close_storage()
        self.assertRaises(StoreNotOpenError, plugin.close_storage)

    def test_failing_storage(self) -> None:
        """A storage that can't be opened leaves the plugin closed."""
        storage = MemoryStorage()
        storage.close()
        plugin = Greeter()
        self.assertRaises(StorageError, plugin.open_storage, storage, "Greeter")
        self.assertFalse(plugin.is_open_storage())

    def test_context_manager(self) -> None:
        """As a context manager the plugin closes its storage at the end of the block."""
        with opened() as plugin:
            plugin["key"] = 1
        self.assertFalse(plugin.is_open_storage())

    def test_storages_of_errbot(self) -> None:
        """Any storage that was written for errbot can be opened; its keys may be a view that changes."""
        plugin = Greeter()
        plugin.open_storage(ViewPlugin(None), "Greeter")
        with plugin.mutable("names", []) as names:
            names.append("alice")
        plugin["other"] = 1
        for key in plugin:
            plugin[key + "2"] = plugin[key]
        self.assertEqual((sorted(plugin), plugin["names"]), (["names", "names2", "other", "other2"], ["alice"]))
        plugin.clear()
        self.assertEqual(len(plugin), 0)


class ViewPlugin(StoragePluginBase):
    """Opens namespaces whose keys are a live view."""

    def open(self, namespace: str) -> View:
        return View()


class View(MemoryValues):
    """Keeps its values to itself."""

    def __init__(self) -> None:
        self.root = {}

    def keys(self) -> KeysView[str]:
        return self.root.keys()
