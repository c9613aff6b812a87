"""`StoreContract`: the tests that every storage must pass, as a mixin for test cases of trial or unittest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from errklein.ports.values import Storage, Store
from errklein.storage import StorageError

if TYPE_CHECKING:
    from unittest import TestCase as Base
else:
    # A test case would be collected, without a storage, by every test module that imports it.
    Base = object

AWKWARD_KEYS = ("", " ", "a/b", "\0", "ключ", "🙂", "\ud800", "a" * 10_000, "%", "'; DROP TABLE stored; --")


class StoreContract(Base):
    """Tests of the guarantees of `errklein.ports.values.Storage` and `Store`, to be mixed into a test case. It implements
    `make_storage`; :doc:`/guides/storage` has an example."""

    def make_storage(self) -> Storage:
        """Return a new, empty storage. The tests close it."""
        raise NotImplementedError

    def open_storage(self) -> Storage:
        """Return a new storage that is closed after the test."""
        storage = self.make_storage()
        self.addCleanup(storage.close)
        return storage

    def open_store(self, namespace: str = "Greeter") -> Store:
        """Return a store of a new storage that is closed after the test."""
        return self.open_storage().open(namespace)

    def test_set_then_get(self) -> None:
        """`get` returns the value that was set."""
        store = self.open_store()
        store.set("seen", {"alice": [1, 2.5, None, True, "x", b"y"]})
        self.assertEqual(store.get("seen"), {"alice": [1, 2.5, None, True, "x", b"y"]})

    def test_set_replaces(self) -> None:
        """A second `set` of a key replaces its value."""
        store = self.open_store()
        store.set("count", 1)
        store.set("count", 2)
        self.assertEqual((store.get("count"), store.len()), (2, 1))

    def test_none_is_a_value(self) -> None:
        """None is stored like any other value."""
        store = self.open_store()
        store.set("nothing", None)
        self.assertEqual((store.get("nothing"), store.len()), (None, 1))

    def test_missing_key(self) -> None:
        """`get` and `remove` of a missing key raise KeyError with the key."""
        store = self.open_store()
        for call in (store.get, store.remove):
            with self.assertRaises(KeyError) as caught:
                call("nobody")
            self.assertEqual(caught.exception.args, ("nobody",))

    def test_remove(self) -> None:
        """`remove` deletes one key and no other."""
        store = self.open_store()
        store.set("a", 1)
        store.set("b", 2)
        store.remove("a")
        self.assertRaises(KeyError, store.get, "a")
        self.assertEqual((list(store.keys()), store.len(), store.get("b")), (["b"], 1, 2))

    def test_keys_are_a_snapshot(self) -> None:
        """The store may be changed during an iteration over its keys."""
        store = self.open_store()
        for number in range(10):
            store.set(str(number), number)
        for key in store.keys():  # noqa: SIM118 - a Store is no mapping
            store.remove(key)
        self.assertEqual(store.len(), 0)

    def test_any_string_is_a_key(self) -> None:
        """Keys may be empty or long, and contain any character, NUL and lone surrogates included."""
        store = self.open_store()
        for key in AWKWARD_KEYS:
            store.set(key, key)
        self.assertEqual(sorted(store.keys()), sorted(AWKWARD_KEYS))
        self.assertEqual([store.get(key) for key in AWKWARD_KEYS], list(AWKWARD_KEYS))

    def test_keys_are_case_sensitive(self) -> None:
        """Keys that differ in case or Unicode normalisation are different."""
        store = self.open_store()
        for key in ("e", "E", "é", "e\u0301"):
            store.set(key, key)
        self.assertEqual([store.get(key) for key in ("e", "E", "é", "e\u0301")], ["e", "E", "é", "e\u0301"])

    def test_other_keys_are_refused(self) -> None:
        """A key that isn't a string raises a TypeError that contains it, and nothing is stored."""
        store = self.open_store()
        for call in (lambda: store.get(42), lambda: store.set(42, "x"), lambda: store.remove(42)):  # type: ignore[arg-type]
            with self.assertRaises(TypeError) as caught:
                call()
            self.assertIn("42", str(caught.exception))
        self.assertEqual(store.len(), 0)

    def test_namespaces_are_apart(self) -> None:
        """The same key has different values in different namespaces."""
        storage = self.open_storage()
        one, two = storage.open("one"), storage.open("two")
        one.set("key", 1)
        two.set("key", 2)
        one.remove("key")
        self.assertEqual((one.len(), list(two.keys()), two.get("key")), (0, ["key"], 2))

    def test_open_again(self) -> None:
        """A namespace keeps its values when it is closed and opened again."""
        storage = self.open_storage()
        store = storage.open("Greeter")
        store.set("key", "value")
        store.close()
        self.assertEqual(storage.open("Greeter").get("key"), "value")

    def test_open_twice(self) -> None:
        """Two stores of a namespace, which exist during a reload, see each other's changes."""
        storage = self.open_storage()
        old, new = storage.open("Greeter"), storage.open("Greeter")
        old.set("key", "old")
        self.assertEqual(new.get("key"), "old")
        old.close()
        new.set("key", "new")
        self.assertEqual(new.get("key"), "new")

    def test_read(self) -> None:
        """`read` returns a new object with the value, or the default."""
        store = self.open_store()
        store.set("names", ["alice"])
        store.read("names")[1].append("bob")
        values = [store.read("names")[1], store.read("nobody")[1], store.read("nobody", 7)[1]]
        self.assertEqual(values, [["alice"], None, 7])

    def test_prepare(self) -> None:
        """`prepare` returns a function that stores the value as it was, and replaces any other."""
        store, names = self.open_store(), ["alice"]
        store.set("names", [])
        put = store.prepare("names", names)
        names.append("bob")
        self.assertEqual((store.get("names"), put(), store.get("names")), ([], True, ["alice"]))

    def test_prepare_with_a_version(self) -> None:
        """A value with another version isn't replaced: one that was changed, removed, or stored for the first time."""
        storage = self.open_storage()
        store, other = storage.open("Greeter"), storage.open("Greeter")
        absent, _ = store.read("count")
        self.assertTrue(store.prepare("count", 1, absent)())
        self.assertFalse(store.prepare("count", 2, absent)())
        first, _ = store.read("count")
        other.set("count", 10)
        self.assertFalse(store.prepare("count", 2, first)())
        second, value = store.read("count")
        self.assertTrue(store.prepare("count", value + 1, second)())
        self.assertEqual(other.get("count"), 11)
        third, _ = store.read("count")
        other.remove("count")
        self.assertFalse(store.prepare("count", 12, third)())
        self.assertRaises(KeyError, store.get, "count")

    def test_in_background(self) -> None:
        """`in_background` returns a Deferred of the function's result or exception."""
        storage = self.open_storage()
        store = storage.open("Greeter")
        store.set("key", 1)
        results: list[object] = []
        storage.in_background(lambda: store.get("key")).addBoth(results.append)
        storage.in_background(lambda: store.get("nobody")).addErrback(lambda failure: results.append(failure.type))
        self.assertEqual(results, [1, KeyError])

    def test_closed_store(self) -> None:
        """Every use of a closed store raises a StorageError that contains "closed" and the namespace."""
        store = self.open_store()
        store.set("key", 1)
        store.close()
        self.assert_closed(store, "Greeter")
        store.close()

    def test_closed_storage(self) -> None:
        """`close` closes all stores of the storage, and it opens no others. A second `close` has no effect."""
        storage = self.make_storage()
        store = storage.open("Greeter")
        storage.close()
        storage.close()
        self.assert_closed(store, "closed")
        with self.assertRaises(StorageError) as caught:
            storage.open("Other")
        self.assertIn("closed", str(caught.exception))

    def assert_closed(self, store: Store, named: str) -> None:
        """Fail unless each method of the store raises a StorageError that contains "closed" and `named`."""
        keyed = [partial(method, "key") for method in (store.get, store.remove, store.read)]
        for call in (*keyed, lambda: store.set("key", 1), store.keys, store.len):
            with self.assertRaises(StorageError) as caught:
                call()
            self.assertIn("closed", str(caught.exception))
            self.assertIn(named, str(caught.exception))

    def test_many_threads(self) -> None:
        """Threads that write, read and remove at the same time lose no values."""
        store = self.open_store()

        def work(name: int) -> None:
            for number in range(25):
                key = f"{name}-{number}"
                store.set(key, number)
                assert store.get(key) == number
                assert key in store.keys()  # noqa: SIM118 - a Store is no mapping
                if number % 5:
                    store.remove(key)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        self.assertEqual(set(store.keys()), {f"{name}-{number}" for name in range(4) for number in range(0, 25, 5)})
