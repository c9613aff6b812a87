"""The storage Memory, for tests and for bots that keep no values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from errklein.storage._errors import StorageError


class MemoryStorage:
    """A storage that keeps references to values until the process ends.

    A value isn't copied, so a change in place is visible to all readers. A namespace that is closed and opened again
    keeps its values.
    """

    def __init__(self) -> None:
        self._namespaces: dict[str, dict[str, Any]] = {}
        self.closed = False

    def open(self, namespace: str) -> MemoryStore:
        """Return the values of `namespace`. It may be open several times; all its stores share their values."""
        if self.closed:
            raise StorageError("the storage is closed")
        return MemoryStore(self, namespace, self._namespaces.setdefault(namespace, {}))

    def namespaces(self) -> list[str]:
        """Return the namespaces that have values, sorted."""
        return sorted(namespace for namespace, values in self._namespaces.items() if values)

    def close(self) -> None:
        """Close the storage and all its stores."""
        self.closed = True


@dataclass(eq=False)
class MemoryStore:
    """The values of one namespace of a MemoryStorage.

    Threads may share it, since each call is one operation on a dict.
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
        self._open(key)[key] = value

    def remove(self, key: str) -> None:
        """Remove the value of the key; raises KeyError."""
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

    def _open(self, key: str = "") -> dict[str, Any]:
        if self._closed or self._storage.closed:
            raise StorageError(f"{self._namespace}: the store is closed")
        if not isinstance(key, str):
            raise TypeError(f"{self._namespace}: storage keys must be strings, not {key!r}")
        return self._values
