"""Adapter to `ports.values.Storage` for storages that only get, set and remove values: those written for errbot, and
Memory. A third-party storage may block, and need not be thread-safe. So a lock serialises all calls. Plain handlers run
in threads, where waiting for the lock blocks nothing else. A handler on the reactor also gets its value synchronously
from `self["key"]`, so it blocks the bot while the storage works; `self.store` doesn't. The configurations of plugins,
which errklein itself reads on the reactor, are read once and cached."""

from __future__ import annotations

import copy
import pickle
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from errklein.database import Run, StorageError
from errklein.ports.values import ANY_VERSION, BlockingStore
from errklein.storage.pickling import UnstorableValue
from errklein.text.errors import one_line
from errklein.text.masking import masker, secrets_in

T = TypeVar("T")

_ABSENT = object()
_UNKNOWN = object()


class AdaptedStorage:
    """A storage that only gets, sets and removes values, such as a third-party one, made usable in any thread. `open_namespace`
    opens a namespace in the storage called `name`. One that is opened several times is opened once there. Exceptions of the storage
    are raised as StorageError, in one line. `config` is its STORAGE_CONFIG, whose secrets are masked in errors. `run` calls the
    functions that must not block the reactor, one after the other; by default at once."""

    log = Logger()

    REMEMBERED: frozenset[str] = frozenset({"core"})
    """The namespaces that only errklein writes, so that their values can be cached."""

    def __init__(
        self,
        name: str,
        open_namespace: Callable[[str], BlockingStore],
        config: Mapping[str, Any] | None = None,
        run: Run = maybeDeferred,
    ) -> None:
        self.name = name
        self._open_namespace = open_namespace
        if config:
            masker.learn(self, "STORAGE_CONFIG", secrets_in(config))
        self._run = run
        self._lock = threading.RLock()
        self._opened: dict[str, _Opened] = {}
        self._known: set[str] = set()
        self.closed = False

    def namespaces(self) -> list[str]:
        """Return the namespaces that were opened since the bot's start. errbot's storages can't list others."""
        return sorted(self._known)

    def open(self, namespace: str) -> AdaptedStore:
        with self._lock:
            if self.closed:
                raise StorageError(f"{self.name}: the storage is closed")
            opened = self._opened.get(namespace)
            if opened is None:
                with self.asking(namespace):
                    values = self._open_namespace(namespace)
                opened = self._opened[namespace] = _Opened(values)
            opened.users += 1
            self._known.add(namespace)
        return AdaptedStore(self, namespace, opened)

    def release(self, namespace: str, opened: _Opened) -> None:
        with self._lock:
            opened.users -= 1
            if not opened.users and self._opened.get(namespace) is opened:
                del self._opened[namespace]
                with self.asking(namespace):
                    opened.values.close()

    def in_background(self, work: Callable[[], T]) -> Deferred[T]:
        return self._run(work)

    def close(self) -> None:
        with self._lock:
            self.closed = True
            while self._opened:
                namespace, opened = self._opened.popitem()
                try:
                    with self.asking(namespace):
                        opened.values.close()
                except StorageError as error:
                    self.log.error("{error}", error=str(error))

    @contextmanager
    def asking(self, namespace: str) -> Iterator[None]:
        """Within it the storage may be called: the lock is held, and its exceptions are raised as StorageError."""
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
    """An open namespace: its values, the number of its users, the cached values, and the present versions that somebody
    has read."""

    values: BlockingStore
    users: int = 0
    remembered: dict[str, Any] = field(default_factory=dict)
    versions: WeakValueDictionary[str, _Version] = field(default_factory=WeakValueDictionary)


class AdaptedStore:
    def __init__(self, storage: AdaptedStorage, namespace: str, opened: _Opened) -> None:
        self._storage = storage
        self._namespace = namespace
        self._opened = opened
        self._closed = False

    def get(self, key: str) -> Any:
        self._check_key(key)
        value = self._opened.remembered.get(key, _UNKNOWN)
        if value is _UNKNOWN or self._closed or self._storage.closed:
            value = self._ask(lambda values: self._read(values, key))
        if value is _ABSENT:
            raise KeyError(key)
        # A copy protects the cached value from changes in place.
        return copy.deepcopy(value) if self._namespace in self._storage.REMEMBERED else value

    def read(self, key: str, default: Any = None) -> tuple[object, Any]:
        self._check_key(key)

        def versioned(values: BlockingStore) -> tuple[object, Any]:
            value = self._read(values, key)
            return self._opened.versions.setdefault(key, _Version()), value

        version, value = self._ask(versioned)
        return version, default if value is _ABSENT else self._copy(key, value)

    def set(self, key: str, value: Any) -> None:
        self._check_key(key)
        self._put(key, value)

    def prepare(self, key: str, value: Any, version: object = ANY_VERSION) -> Callable[[], bool]:
        self._check_key(key)
        value = self._copy(key, value)
        return lambda: self._put(key, value, version)

    def _copy(self, key: str, value: Any) -> Any:
        try:
            return copy.deepcopy(value)
        except Exception as error:
            raise UnstorableValue(self._namespace, key, value, error) from error

    def remove(self, key: str) -> None:
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
        return self._ask(lambda values: list(values.keys()))

    def len(self) -> int:
        return self._ask(lambda values: int(values.len()))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._storage.closed:
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
        self._opened.remembered.pop(key, None)
        self._opened.versions.pop(key, None)

    def _ask(self, question: Callable[[BlockingStore], T]) -> T:
        with self._storage.asking(self._namespace):
            if self._closed or self._storage.closed:
                raise StorageError(f"{self._namespace}: the store is closed")
            return question(self._opened.values)

    def _read(self, values: BlockingStore, key: str) -> Any:
        try:
            value = values.get(key)
        except KeyError:
            value = _ABSENT
        if self._namespace in self._storage.REMEMBERED:
            self._opened.remembered[key] = value
        return value

    def _check_key(self, key: str) -> None:
        if not isinstance(key, str):
            raise TypeError(f"{self._namespace}: storage keys must be strings, not {key!r}")


class MemoryStorage(AdaptedStorage):
    """The storage Memory, for tests and for bots that keep no values. It keeps references to values until the process
    ends. Values aren't copied, so a change in place is visible to all readers. Closed namespaces keep them."""

    REMEMBERED: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self._values: dict[str, _ValuesInMemory] = defaultdict(_ValuesInMemory)
        super().__init__("Memory", self._values.__getitem__)

    def namespaces(self) -> list[str]:
        return sorted(namespace for namespace, values in self._values.items() if values)


class _ValuesInMemory(dict[str, Any]):
    """The values of one namespace; a `ports.values.BlockingStore`."""

    get, set, remove, len = dict.__getitem__, dict.__setitem__, dict.__delitem__, dict.__len__  # type: ignore[assignment]

    def close(self) -> None:
        """Keep the values."""
