"""The values of plugins in a PostgreSQL database."""

from __future__ import annotations

from contextlib import closing
from time import monotonic
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein.config.databases import find_databases
from errklein.database import Access
from errklein.ports.values import Storage
from errklein.storage import SQLiteStorage, StorageError, UnreadableValue, dumps, rows_of
from errklein.testing.store_contract import StoreContract
from tests.postgres.server import new_bot_database


class PostgresStorageTests(StoreContract, SynchronousTestCase):
    def make_storage(self) -> Storage:
        """Return the storage of a new database."""
        return self.storage_at(new_bot_database(self))

    def storage_at(self, url: str, access: Access = Access.OWN) -> SQLiteStorage:
        storage = find_databases(url).open_database(url).storage(access=access)
        self.addCleanup(storage.close)
        assert isinstance(storage, SQLiteStorage)
        return storage

    def test_values_of_several_processes(self) -> None:
        """A value that another process has changed isn't replaced, and both read what is stored."""
        url = new_bot_database(self)
        first, second = self.storage_at(url).open("Counter"), self.storage_at(url).open("Counter")
        first.set("count", 1)
        version, _ = first.read("count")
        second.set("count", 2)
        self.assertFalse(first.prepare("count", 10, version)())
        self.assertEqual(first.get("count"), 2)

    def test_locked_table(self) -> None:
        """A value waits for a lock for less time than an owner may hang."""
        url = new_bot_database(self)
        store: Any = self.storage_at(url).open("Shop")
        locker: Any = self.storage_at(url)
        with locker._database.transaction() as connection:
            connection.execute("LOCK TABLE stored IN ACCESS EXCLUSIVE MODE")
            began = monotonic()
            error = self.assertRaises(StorageError, store.get, "prices")
            self.assertIn("lock timeout", str(error))
            self.assertLess(monotonic() - began, 5)

    def test_own_values_of_the_bot(self) -> None:
        """The bot's own values can be read while the server is absent. Those of another process are seen after a notice."""
        url = new_bot_database(self)
        storage: Any = self.storage_at(url)
        store, other = storage.open("core"), self.storage_at(url).open("core")
        store.set("plugins", ["Shop"])
        self.assertEqual(store.get("plugins"), ["Shop"])
        self.assertRaises(KeyError, store.get, "missing")
        other.set("plugins", ["Shop", "Builds"])
        self.assertEqual(store.get("plugins"), ["Shop"])
        version, _ = store.read("plugins")
        self.assertFalse(store.prepare("plugins", [], version)())
        self.assertEqual(store.get("plugins"), ["Shop", "Builds"])
        other.remove("plugins")
        storage.forget()
        self.assertRaises(KeyError, store.get, "plugins")
        store.set("plugins", [1])
        self.assertEqual(store.get("plugins"), [1])
        self.assertRaises(KeyError, store.get, "missing")
        with self.patch_absent(storage):
            self.assertEqual(store.get("plugins"), [1])
            self.assertRaises(KeyError, store.get, "missing")
            self.assertRaises(StorageError, store.set, "plugins", [2])
            self.assertRaises(StorageError, store.get, "plugins")

    def patch_absent(self, storage: SQLiteStorage) -> Any:
        """Return a context in which the server is absent."""
        absent = mock.Mock(side_effect=StorageError("absent"))
        return mock.patch.multiple(storage._database, read=absent, write=absent)

    def test_values_of_a_backup(self) -> None:
        """Values of a backup are restricted until the bot stores them, and are replaced only if they haven't changed."""
        storage = self.storage_at(new_bot_database(self))
        storage.put([("Shop", "order", dumps(PostgresStorageTests)), ("Shop", "old", dumps(1))])
        storage.put([("Shop", "open", dumps([2]))], ["Shop"])
        self.assertEqual(list(rows_of(storage)), [("Shop", "open", dumps([2]))])
        store = storage.open("Shop")
        version, value = store.read("open")
        self.assertEqual((version[1], value), ("[]", [2]))
        self.assertTrue(store.prepare("open", [3], version)())
        self.assertFalse(store.prepare("open", [4], version)())
        self.assertEqual(store.read("open")[0][1], None)

    def test_copy(self) -> None:
        """A copy is in memory: it has the values, with the marks of their origin, and its changes aren't stored."""
        url = new_bot_database(self)
        storage = self.storage_at(url)
        storage.put([("Shop", "order", dumps(SynchronousTestCase))])
        storage.open("Shop").set("open", True)
        copy = self.storage_at(url, Access.COPY)
        with closing(copy.open("Shop")) as store:
            self.assertRaises(UnreadableValue, store.get, "order")
            store.set("open", False)
        self.assertTrue(storage.open("Shop").get("open"))
