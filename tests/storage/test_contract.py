"""Both storages of errklein fulfil the storage contract."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.ports.values import Storage, Store
from errklein.storage import MemoryStorage, SQLiteStorage, UnstorableValue
from errklein.storage._storages import _ValuesInMemory
from errklein.testing.store_contract import StoreContract

ANY_TEXT = st.text(st.characters(exclude_categories=()))
JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=20,
)
FEW_KEYS = st.sampled_from(["a", "A", "b", "\0", "\ud800"])
STEPS = st.lists(st.tuples(st.sampled_from(["set", "remove"]), FEW_KEYS, st.integers()), max_size=20)


def contents(store: Store) -> dict[str, object]:
    """Return all values of the store."""
    return {key: store.get(key) for key in store.keys()}  # noqa: SIM118 - a Store is no mapping


class MemoryStorageTests(StoreContract, SynchronousTestCase):
    def make_storage(self) -> Storage:
        """Return a new storage."""
        return MemoryStorage()

    def test_values_by_reference(self) -> None:
        """`get` returns the object that was set."""
        store = self.open_store()
        value = [object()]
        store.set("key", value)
        self.assertIs(store.get("key"), value)

    def test_value_that_cannot_be_copied(self) -> None:
        """Reading it for an update raises UnstorableValue, with the key."""
        store = self.open_store()
        store.set("lock", threading.Lock())
        error = self.assertRaises(UnstorableValue, store.read, "lock")
        self.assertIn("can't be stored under 'lock'", str(error))

    def test_change_in_a_thread_during_a_replacement(self) -> None:
        """What another thread sets while a value with a version is replaced isn't lost."""

        class SlowValues(_ValuesInMemory):
            def set(self, key: str, value: Any) -> None:
                """Store the value after another thread has had the time to set another one."""
                if not threads:
                    threads.append(threading.Thread(target=store.set, args=("count", 10)))
                    threads[-1].start()
                    threads[-1].join(0.05)
                super().set(key, value)

        threads: list[threading.Thread] = []
        storage = MemoryStorage()
        storage._values["Greeter"] = slow = SlowValues()
        slow["count"] = 1
        store = storage.open("Greeter")
        replace = store.prepare("count", 2, store.read("count")[0])
        replace()
        threads[0].join()
        self.assertEqual(store.get("count"), 10)


class SQLiteStorageTests(StoreContract, SynchronousTestCase):
    def make_storage(self) -> Storage:
        """Return a storage with a new file."""
        return SQLiteStorage(Path(self.mktemp()))

    def test_values_by_copy(self) -> None:
        """A change of an object after `set` or `get` doesn't change the stored value."""
        store = self.open_store()
        value = [1]
        store.set("key", value)
        value.append(2)
        store.get("key").append(3)
        self.assertEqual(store.get("key"), [1])


class PropertyTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=50)
    @given(st.dictionaries(ANY_TEXT, JSON_LIKE, max_size=5))
    def check_round_trip(self, values: dict[str, object]) -> None:
        """Store the values in a new namespace and read them."""
        self.examples += 1
        namespace = str(self.examples)
        store = self.storage.open(namespace)
        for key, value in values.items():
            store.set(key, value)
        read = self.storage.open(namespace)
        self.assertEqual(contents(read), values)

    @settings(deadline=None, max_examples=50)
    @given(STEPS)
    def check_model(self, steps: list[tuple[str, str, int]]) -> None:
        """Apply the steps to a store and to a dict."""
        self.examples += 1
        store = self.storage.open(str(self.examples))
        model: dict[str, int] = {}
        for what, key, value in steps:
            if what == "set":
                store.set(key, value)
                model[key] = value
            elif key in model:
                store.remove(key)
                del model[key]
            else:
                self.assertRaises(KeyError, store.remove, key)
            self.assertEqual(contents(store), model)
            self.assertEqual(store.len(), len(model))

    def setUp(self) -> None:
        """Create a storage in which each example uses its own namespace."""
        self.examples = 0
        self.storage = SQLiteStorage(Path(self.mktemp()))
        self.addCleanup(self.storage.close)

    def test_round_trip(self) -> None:
        """Any dict of JSON values, including lone surrogates, is read unchanged."""
        self.check_round_trip()

    def test_model(self) -> None:
        """After any sequence of `set` and `remove`, the store has the same content as a dict."""
        self.check_model()
