"""The storage Memory, for tests and for bots that keep no values."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from errklein.database import StorageError
from errklein.ports.values import ANY_VERSION
from errklein.storage._errors import UnstorableValue

T = TypeVar("T")

_ABSENT = object()


class MemoryStorage:
    """A storage that keeps references to values until the process ends.

    A value isn't copied, so a change in place is visible to all readers. A namespace that is closed and opened again
    keeps its values.
    """

    def __init__(self) -> None:
        self._namespaces: dict[str, dict[str, Any]] = {}
        self.lock = Lock()
        self.closed = False

    def open(self, namespace: str) -> MemoryStore:
        """Return the values of `namespace`. It may be open several times; all its stores share their values."""
        if self.closed:
            raise StorageError("the storage is closed")
        return MemoryStore(self, namespace, self._namespaces.setdefault(namespace, {}))

    def namespaces(self) -> list[str]:
        """Return the namespaces that have values, sorted."""
        return sorted(namespace for namespace, values in self._namespaces.items() if values)

    def in_background(self, work: Callable[[], T]) -> Deferred[T]:
        """Call the function at once, since no store blocks."""
        return maybeDeferred(work)

    def close(self) -> None:
        """Close the storage and all its stores."""
        self.closed = True


@dataclass(eq=False)
class MemoryStore:
    """The values of one namespace of a MemoryStorage.

    Threads may share it: one changes values at a time.
    """

    _storage: MemoryStorage
    _namespace: str
    _values: dict[str, Any]
    _closed: bool = False

    def get(self, key: str) -> Any:
        """Return the value of the key; raises KeyError."""
        return self._open(key)[key]

    def set(self, key: str, value: Any) -> None:
        """Store the value under the key."""
        with self._storage.lock:
            self._open(key)[key] = value

    def read(self, key: str, default: Any = None) -> tuple[object, Any]:
        """Return the stored object, which is its version, and a copy; or the default instead of the copy."""
        stored = self._open(key).get(key, _ABSENT)
        return stored, default if stored is _ABSENT else self._copied(key, stored)

    def prepare(self, key: str, value: Any, version: object = ANY_VERSION) -> Callable[[], bool]:
        """Return a function that stores a copy of the value, see `Store.prepare`."""
        copy = self._copied(key, value)

        def store() -> bool:
            with self._storage.lock:
                values = self._open(key)
                if version is not ANY_VERSION and values.get(key, _ABSENT) is not version:
                    return False
                values[key] = copy
                return True

        return store

    def remove(self, key: str) -> None:
        """Remove the value of the key; raises KeyError."""
        with self._storage.lock:
            del self._open(key)[key]

    def keys(self) -> list[str]:
        """Return the current keys."""
        return list(self._open())

    def len(self) -> int:
        """Return the number of values."""
        return len(self._open())

    def close(self) -> None:
        """Close the store; later calls raise StorageError. The namespace can be opened again."""
        self._closed = True

    def _copied(self, key: str, value: Any) -> Any:
        try:
            return deepcopy(value)
        except Exception as error:
            raise UnstorableValue(self._namespace, key, value, error) from error

    def _open(self, key: str = "") -> dict[str, Any]:
        if self._closed or self._storage.closed:
            raise StorageError(f"{self._namespace}: the store is closed")
        if not isinstance(key, str):
            raise TypeError(f"{self._namespace}: storage keys must be strings, not {key!r}")
        return self._values
