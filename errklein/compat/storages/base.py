"""Storages written for errbot: their base classes, the content of `errbot.storage.base`, and the adapter to `ports.values.Storage`.

A third-party storage may block, and need not be thread-safe. So a lock serialises all calls. Plain handlers run in
threads, where waiting for the lock blocks nothing else. A handler on the reactor also gets its value synchronously from
`self["key"]`, so it blocks the bot while the storage works; `self.store` doesn't. The configurations of plugins, which
errklein itself reads on the reactor, are read once and cached.
"""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from errklein.database import Run
from errklein.ports.values import ANY_VERSION, BlockingStore, Store
from errklein.storage import DATABASE, MemoryStorage, SQLiteStorage, StorageError, UnstorableValue
from errklein.text.errors import one_line
from errklein.text.masking import masker, secrets_in

T = TypeVar("T")

REMEMBERED = frozenset({"core"})
"""The namespaces that only errklein writes, so that their values can be cached."""

_ABSENT = object()
_UNKNOWN = object()


class StorageBase:
    """The values of one namespace of a third-party storage.

    A subclass implements all methods; a method that it lacks raises NotImplementedError. See `StoragePluginBase` for an
    example.
    """

    def set(self, key: str, value: Any) -> None:
        """Store the value under the key."""
        raise NotImplementedError(f"{type(self).__name__} doesn't implement set()")

    def get(self, key: str) -> Any:
        """Return the value of the key; raise KeyError if there is none."""
        raise NotImplementedError(f"{type(self).__name__} doesn't implement get()")

    def remove(self, key: str) -> None:
        """Remove the value of the key; raise KeyError if there is none."""
        raise NotImplementedError(f"{type(self).__name__} doesn't implement remove()")

    def len(self) -> int:
        """Return the number of values."""
        raise NotImplementedError(f"{type(self).__name__} doesn't implement len()")

    def keys(self) -> Iterable[str]:
        """Return the keys."""
        raise NotImplementedError(f"{type(self).__name__} doesn't implement keys()")

    def close(self) -> None:
        """Close the namespace."""
        raise NotImplementedError(f"{type(self).__name__} doesn't implement close()")


class StoragePluginBase:
    """The base class of the storage that STORAGE names. A subclass implements `open`.

    A storage that keeps values in dicts, until the process ends::

        class DictStore(StorageBase):
            def __init__(self):
                self.values = {}

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


        class DictStorage(StoragePluginBase):
            stores = {}

            def open(self, namespace):
                return self.stores.setdefault(namespace, DictStore())

    `_storage_config` has STORAGE_CONFIG of the configuration; by default it is an empty dict.

    :param bot_config: The configuration of the bot.
    """

    def __init__(self, bot_config: Any) -> None:
        self._storage_config: Any = getattr(bot_config, "STORAGE_CONFIG", None) or {}
        super().__init__()

    def open(self, namespace: str) -> BlockingStore:
        """Return the values of `namespace`, such as the name of a plugin, as a `StorageBase`."""
        raise NotImplementedError(f"{type(self).__name__} doesn't implement open()")


_MEMORY = MemoryStorage()
"""The values of every MemoryStoragePlugin, until the process ends."""


class MemoryStoragePlugin(StoragePluginBase):
    """A storage in memory, which keeps references to values until the process ends.

    All instances share their values.
    """

    def open(self, namespace: str) -> Store:
        """Return the values of `namespace`, including those of earlier stores in this process."""
        return _MEMORY.open(namespace)


class ShelfStoragePlugin(StoragePluginBase):
    """A storage in the bot's own database: in the `basedir` of STORAGE_CONFIG, by default in BOT_DATA_DIR."""

    def __init__(self, bot_config: Any) -> None:
        super().__init__(bot_config)
        self._storage_config = {"basedir": bot_config.BOT_DATA_DIR, **self._storage_config}

    def open(self, namespace: str) -> Store:
        """Return the values of `namespace`. A running bot with the same database shares them."""
        storage = SQLiteStorage(Path(self._storage_config["basedir"]) / DATABASE)
        store = storage.open(namespace)
        # Each store has its own connection to the database, which is closed with it.
        store.close = storage.close  # type: ignore[method-assign]
        return store


class ThirdPartyStorage:
    """A third-party storage with the name `name`, usable in any thread.

    Exceptions of the storage are raised as StorageError, in one line. `config` is its STORAGE_CONFIG, whose secrets are
    masked in errors. A namespace that is opened several times is opened once in the storage. `run` calls the functions that
    must not block the reactor, one after the other; by default they are called at once.
    """

    log = Logger()

    def __init__(
        self,
        name: str,
        opener: StoragePluginBase,
        config: Mapping[str, Any] | None = None,
        run: Run = maybeDeferred,
    ) -> None:
        self.name = name
        self._opener = opener
        masker.learn(self, "STORAGE_CONFIG", secrets_in(config or {}))
        self._run = run
        self._lock = threading.RLock()
        self._opened: dict[str, _Opened] = {}
        self._known: set[str] = set()
        self._closed = False

    def namespaces(self) -> list[str]:
        """Return the namespaces that were opened since the bot's start. errbot's storages can't list others."""
        return sorted(self._known)

    def open(self, namespace: str) -> ThirdPartyStore:
        """Return the values of `namespace`. It may be open several times; all its stores share their values."""
        with self._lock:
            if self._closed:
                raise StorageError(f"{self.name}: the storage is closed")
            opened = self._opened.get(namespace)
            if opened is None:
                with self.asking(namespace):
                    values = self._opener.open(namespace)
                opened = self._opened[namespace] = _Opened(values)
            opened.users += 1
            self._known.add(namespace)
        return ThirdPartyStore(self, namespace, opened)

    def release(self, namespace: str, opened: _Opened) -> None:
        """Remove one user of the namespace; after the last one it is closed."""
        with self._lock:
            opened.users -= 1
            if not opened.users and self._opened.get(namespace) is opened:
                del self._opened[namespace]
                with self.asking(namespace):
                    opened.values.close()

    def in_background(self, work: Callable[[], T]) -> Deferred[T]:
        """Call the function with `run`."""
        return self._run(work)

    def close(self) -> None:
        """Close every namespace. An error of one is logged, and the others are closed nevertheless."""
        with self._lock:
            self._closed = True
            while self._opened:
                namespace, opened = self._opened.popitem()
                opened.closed = True
                try:
                    with self.asking(namespace):
                        opened.values.close()
                except StorageError as error:
                    self.log.error("{error}", error=str(error))

    @contextmanager
    def asking(self, namespace: str) -> Iterator[None]:
        """Within the context the storage may be called.

        The lock is held, and exceptions of the storage are raised as StorageError.
        """
        try:
            with self._lock:
                yield
        except StorageError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {masker(one_line(error))}"
            raise StorageError(f"{namespace}: the storage {self.name} failed ({what})") from error


class _Version:
    """The version of a value until the value changes in this process."""


@dataclass(eq=False)
class _Opened:
    """An open namespace: its values, the number of its users, the cached values, and the present versions that somebody has read."""

    values: BlockingStore
    users: int = 0
    closed: bool = False
    remembered: dict[str, Any] = field(default_factory=dict)
    versions: WeakValueDictionary[str, _Version] = field(default_factory=WeakValueDictionary)


class ThirdPartyStore:
    """The values of one namespace of a ThirdPartyStorage."""

    def __init__(self, storage: ThirdPartyStorage, namespace: str, opened: _Opened) -> None:
        self._storage = storage
        self._namespace = namespace
        self._opened = opened
        self._closed = False

    def get(self, key: str) -> Any:
        """Return the value of the key; raises KeyError."""
        self._check_key(key)
        value = self._opened.remembered.get(key, _UNKNOWN)
        if value is _UNKNOWN or self._closed or self._opened.closed:
            value = self._ask(lambda values: self._read(values, key))
        if value is _ABSENT:
            raise KeyError(key)
        # A copy protects the cached value from changes in place.
        return copy.deepcopy(value) if self._namespace in REMEMBERED else value

    def read(self, key: str, default: Any = None) -> tuple[object, Any]:
        """Return the version of the value in this process, and a copy of the value."""
        self._check_key(key)

        def versioned(values: BlockingStore) -> tuple[object, Any]:
            value = self._read(values, key)
            version = self._opened.versions.setdefault(key, _Version())
            return version, default if value is _ABSENT else copy.deepcopy(value)

        return self._ask(versioned)

    def set(self, key: str, value: Any) -> None:
        """Store the value under the key; raises UnstorableValue if the storage can't store such a value."""
        self._check_key(key)
        self._put(key, value)

    def prepare(self, key: str, value: Any, version: object = ANY_VERSION) -> Callable[[], bool]:
        """Return a function that stores the value as it is now, see `Store.prepare`."""
        self._check_key(key)
        try:
            value = copy.deepcopy(value)
        except Exception as error:
            raise UnstorableValue(self._namespace, key, value, error) from error
        return lambda: self._put(key, value, version)

    def remove(self, key: str) -> None:
        """Remove the value of the key; raises KeyError."""
        self._check_key(key)

        def forget(values: BlockingStore) -> bool:
            self._changes(key)
            try:
                values.remove(key)
            except KeyError:
                return False
            return True

        if not self._ask(forget):
            raise KeyError(key)

    def keys(self) -> list[str]:
        """Return the current keys."""
        return self._ask(lambda values: list(values.keys()))

    def len(self) -> int:
        """Return the number of values."""
        return self._ask(lambda values: int(values.len()))

    def close(self) -> None:
        """Close the store; later calls raise StorageError. The namespace can be opened again."""
        if not self._closed:
            self._closed = True
            if not self._opened.closed:
                self._storage.release(self._namespace, self._opened)

    def _put(self, key: str, value: Any, version: object = ANY_VERSION) -> bool:
        def put(values: BlockingStore) -> bool:
            if version is not ANY_VERSION and version is not self._opened.versions.get(key):
                return False
            self._changes(key)
            values.set(key, value)
            return True

        try:
            return self._ask(put)
        except StorageError as error:
            reason = error.__cause__
            if isinstance(reason, (pickle.PicklingError, TypeError, AttributeError)):
                raise UnstorableValue(self._namespace, key, value, reason) from reason
            raise

    def _changes(self, key: str) -> None:
        """Note that the value changes."""
        self._opened.remembered.pop(key, None)
        self._opened.versions.pop(key, None)

    def _ask(self, question: Callable[[BlockingStore], T]) -> T:
        with self._storage.asking(self._namespace):
            if self._closed or self._opened.closed:
                raise StorageError(f"{self._namespace}: the store is closed")
            return question(self._opened.values)

    def _read(self, values: BlockingStore, key: str) -> Any:
        try:
            value = values.get(key)
        except KeyError:
            value = _ABSENT
        if self._namespace in REMEMBERED:
            self._opened.remembered[key] = value
        return value

    def _check_key(self, key: str) -> None:
        if not isinstance(key, str):
            raise TypeError(f"{self._namespace}: storage keys must be strings, not {key!r}")
