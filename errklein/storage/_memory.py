"""Plugins' values in memory, for tests and for bots that keep nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from errklein.storage._errors import StorageError


class MemoryStorage:
    """Keeps values by reference, as long as it lives; a namespace that is opened again has its values still."""

    def __init__(self) -> None:
        self._namespaces: dict[str, dict[str, Any]] = {}
        self.closed = False

    def open(self, namespace: str) -> MemoryStore:
        """The values of `namespace`; several may be open at once, and see each other's changes."""
        if self.closed:
            raise StorageError("the storage is closed")
        return MemoryStore(self, namespace, self._namespaces.setdefault(namespace, {}))

    def namespaces(self) -> list[str]:
        """The namespaces that have values, sorted."""
        return sorted(namespace for namespace, values in self._namespaces.items() if values)

    def close(self) -> None:
        """Close every store."""
        self.closed = True


@dataclass(eq=False)
class MemoryStore:
    """The values of one namespace of a MemoryStorage; each call is one step on a dict, so threads may share it."""

    _storage: MemoryStorage
    _namespace: str
    _values: dict[str, Any]
    _closed: bool = False

    def get(self, key: str) -> Any:
        """The value; raises KeyError."""
        return self._open(key)[key]

    def set(self, key: str, value: Any) -> None:
        """Keep the value."""
        self._open(key)[key] = value

    def remove(self, key: str) -> None:
        """Forget the value; raises KeyError."""
        del self._open(key)[key]

    def keys(self) -> list[str]:
        """The keys, as they are now."""
        return list(self._open())

    def len(self) -> int:
        """How many values there are."""
        return len(self._open())

    def close(self) -> None:
        """Give the namespace back; it can be opened again."""
        self._closed = True

    def _open(self, key: str = "") -> dict[str, Any]:
        if self._closed or self._storage.closed:
            raise StorageError(f"{self._namespace}: the store is closed")
        if not isinstance(key, str):
            raise TypeError(f"{self._namespace}: a key is a string, not {key!r}")
        return self._values
