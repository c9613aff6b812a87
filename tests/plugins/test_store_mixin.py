"""Tests for the mapping in which plugins store values."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.store_mixin import StoreMixin
from errklein.storage import MemoryStorage, StorageError
from tests.storage.test_adapter import ShakyPlugin
from tests.storage.test_pickling import PluginCase


class Greeter(StoreMixin):
    """A replacement for a plugin."""


def opened(storage: MemoryStorage | None = None) -> Greeter:
    """A plugin with an open storage."""
    plugin = Greeter()
    plugin.open_storage(storage or MemoryStorage(), "Greeter")
    return plugin


class MappingTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(st.dictionaries(st.text(), st.integers()))
    def check_equal(self, values: dict[str, int]) -> None:
        """Check that a plugin with `values` equals them."""
        plugin = opened()
        plugin.update(values)
        self.assertEqual(plugin, values)

    def test_equal_to_a_dict(self) -> None:
        """A plugin equals the dict of its values."""
        self.check_equal()

    def test_two_plugins(self) -> None:
        """Two plugins with the same values differ, and can be members of a set."""
        storage = MemoryStorage()
        one, two = opened(storage), opened(storage)
        self.assertNotEqual(one, two)
        self.assertEqual(len({one, two, one}), 2)


class SQLiteTests(PluginCase):
    def opened(self) -> Greeter:
        """A plugin whose values are in a file."""
        plugin = Greeter()
        plugin.open_storage(self.storage, "Greeter")
        return plugin

    def test_unreadable_values(self) -> None:
        """A value of a removed class isn't treated as missing, and `clear` removes it."""
        plugin = self.opened()
        plugin["note"] = self.load(1).Note("hello")
        self.unload()
        self.assertRaises(StorageError, plugin.get, "note", "default")
        with self.assertRaises(StorageError), plugin.mutable("note", []):
            self.fail("the block must not run, its default would replace the value")
        plugin.clear()
        self.assertEqual(list(plugin), [])


class LifeTests(SynchronousTestCase):
    def test_failing_storage(self) -> None:
        """A plugin stays closed if its storage can't be opened."""
        storage = MemoryStorage()
        storage.close()
        plugin = Greeter()
        self.assertRaises(StorageError, plugin.open_storage, storage, "Greeter")
        self.assertFalse(plugin.is_open_storage())

    def test_storages_of_errbot(self) -> None:
        """Storages written for errbot work, even if their keys are a view."""
        plugin = Greeter()
        plugin.open_storage(ShakyPlugin(), "Greeter")
        with plugin.mutable("names", []) as names:
            names.append("alice")
        plugin["other"] = 1
        for key in plugin:
            plugin[key + "2"] = plugin[key]
        self.assertEqual((sorted(plugin), plugin["names"]), (["names", "names2", "other", "other2"], ["alice"]))
        plugin.clear()
        self.assertEqual(len(plugin), 0)
