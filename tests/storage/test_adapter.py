"""Third-party storages fulfil the storage contract behind the adapter."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterable
from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from errklein.compat.storages import StorageBase, StoragePluginBase
from errklein.ports.values import Storage
from errklein.storage import AdaptedStorage, StorageError, UnstorableValue
from errklein.testing.store_contract import StoreContract


class Shaky(StorageBase):
    """A minimal store that raises errors if it is closed or used by two threads at once."""

    def __init__(self, owner: ShakyPlugin, namespace: str) -> None:
        self.owner = owner
        self.values: dict[str, Any] | None = owner.kept.setdefault(namespace, {})

    def set(self, key: str, value: Any) -> None:
        with self.owner.alone():
            assert self.values is not None
            self.values[key] = value

    def get(self, key: str) -> Any:
        with self.owner.alone():
            self.owner.reads += 1
            assert self.values is not None
            return self.values[key]

    def remove(self, key: str) -> None:
        with self.owner.alone():
            assert self.values is not None
            if key not in self.values:
                raise KeyError("an error of its own")
            del self.values[key]

    def len(self) -> int:
        with self.owner.alone():
            assert self.values is not None
            return len(self.values)

    def keys(self) -> Iterable[str]:
        with self.owner.alone():
            assert self.values is not None
            return self.values.keys()

    def close(self) -> None:
        self.values = None


class ShakyPlugin(StoragePluginBase):
    """A storage that raises an error if a namespace is opened twice, or by two threads at once."""

    def __init__(self) -> None:
        super().__init__(None)
        self.kept: dict[str, dict[str, Any]] = {}
        self.reads = 0
        self.opened: list[Shaky] = []
        self._busy = threading.Lock()

    def open(self, namespace: str) -> StorageBase:
        self.opened.append(Shaky(self, namespace))
        return self.opened[-1]

    def alone(self) -> threading.Lock:
        if self._busy.locked():
            raise RuntimeError("two threads at once")
        return self._busy


class ContractTests(StoreContract, SynchronousTestCase):
    def make_storage(self) -> Storage:
        """Return a third-party storage in the adapter."""
        return AdaptedStorage("Shaky", ShakyPlugin().open)

    def test_opened_once(self) -> None:
        """A namespace is opened once in the storage, and closed after its last user."""
        plugin = ShakyPlugin()
        storage = AdaptedStorage("Shaky", plugin.open)
        one, two = storage.open("Greeter"), storage.open("Greeter")
        one.close()
        one.close()
        self.assertEqual(([values.values is None for values in plugin.opened], two.len()), ([False], 0))
        two.close()
        self.assertEqual([values.values is None for values in plugin.opened], [True])

    def test_keys_that_come_and_go(self) -> None:
        """Nothing is kept in memory of keys that were removed."""
        store = AdaptedStorage("Shaky", ShakyPlugin().open).open("Greeter")
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for number in range(3000):
            store.set(f"job {number}", number)
            store.prepare(f"job {number}", number, store.read(f"job {number}")[0])()
            store.remove(f"job {number}")
        self.assertLess(tracemalloc.get_traced_memory()[0], 100_000)

    def test_namespaces(self) -> None:
        """`namespaces` lists those that were opened."""
        storage = AdaptedStorage("Shaky", ShakyPlugin().open)
        storage.open("b").close()
        storage.open("a")
        self.assertEqual(storage.namespaces(), ["a", "b"])


class Broken:
    """A storage whose server is unavailable."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def open(self, namespace: str) -> Broken:
        return self

    def fail(self, *args: object) -> Any:
        raise self.error

    get = set = remove = keys = len = close = fail


class FailureTests(SynchronousTestCase):
    def test_one_line(self) -> None:
        """An exception of the storage becomes a StorageError of one line with namespace and storage."""
        store = AdaptedStorage("Redis", Broken(RuntimeError("connection\nrefused")).open).open("Greeter")
        for call in (
            lambda: store.get("a"),
            lambda: store.set("a", 1),
            lambda: store.remove("a"),
            store.keys,
            store.len,
        ):
            error = self.assertRaises(StorageError, call)
            self.assertEqual(str(error), "Greeter: the storage Redis failed (RuntimeError: connection refused)")

    def test_secrets_stay_secret(self) -> None:
        """A password of STORAGE_CONFIG is masked in the error."""
        config = {"host": "db", "password": "s3cret!", "deep": {"url": "redis://me:pw@db"}}
        error = RuntimeError("no login at db with s3cret! through redis://me:pw@db")
        store = AdaptedStorage("Redis", Broken(error).open, config).open("Greeter")
        text = str(self.assertRaises(StorageError, store.get, "a"))
        self.assertIn("no login at db with ••• through redis://•••@db", text)

    def test_unstorable(self) -> None:
        """A value that the storage can't pickle raises UnstorableValue."""
        store = AdaptedStorage("Redis", Broken(TypeError("cannot pickle")).open).open("Greeter")
        error = self.assertRaises(UnstorableValue, store.set, "a", object())
        self.assertIn("object can't be stored under 'a'", str(error))

    def test_close_closes_the_others(self) -> None:
        """An error while a namespace is closed is logged, and the others are closed."""
        storage = AdaptedStorage("Redis", Broken(RuntimeError("no")).open)
        store = storage.open("Greeter")
        said = self.listen()
        storage.close()
        self.assertIn("Greeter: the storage Redis failed", said[0]["error"])
        self.assertRaises(StorageError, store.len)

    def listen(self) -> list[Any]:
        """Record log events from now on."""
        said: list[Any] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        return said


class RememberedTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Open errklein's own namespace in a storage that counts reads."""
        self.plugin = ShakyPlugin()
        self.storage = AdaptedStorage("Shaky", self.plugin.open)
        self.core = self.storage.open("core")

    def test_read_once(self) -> None:
        """errklein's own values, and missing ones, are read once."""
        self.core.set("configs", {"A": 1})
        for _ in range(3):
            self.assertEqual(self.core.get("configs"), {"A": 1})
            self.assertRaises(KeyError, self.core.get, "bl_plugins")
        self.assertEqual(self.plugin.reads, 2)

    def test_changes_are_seen(self) -> None:
        """After a change, the new value is read."""
        other = self.storage.open("core")
        self.assertRaises(KeyError, self.core.get, "configs")
        other.set("configs", 1)
        self.assertEqual(self.core.get("configs"), 1)
        other.remove("configs")
        self.assertRaises(KeyError, self.core.get, "configs")

    def test_plugins_values_are_not_remembered(self) -> None:
        """Values of plugins are always read, since other programs may change them."""
        store = self.storage.open("Greeter")
        store.set("a", 1)
        self.plugin.kept["Greeter"]["a"] = 2
        self.assertEqual(store.get("a"), 2)
