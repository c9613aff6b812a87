"""The storages that errbot brings, for code that opens them by itself: the same names, kept errklein's way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from errklein.compat.storages.base import StorageBase, StoragePluginBase
from errklein.storage.sqlite import DATABASE, SQLiteStorage

ROOTS: dict[str, dict[str, Any]] = {}
"""The values of every MemoryStorage, by namespace; they live as long as the process."""


class MemoryStorage(StorageBase):
    """Values that are kept by reference until the process ends, shared by all who open the namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.root = ROOTS.setdefault(namespace, {})

    def get(self, key: str) -> Any:
        """The value; raises KeyError."""
        return self.root[key]

    def set(self, key: str, value: Any) -> None:
        """Keep the value."""
        self.root[key] = value

    def remove(self, key: str) -> None:
        """Forget the value; raises KeyError."""
        del self.root[key]

    def len(self) -> int:
        """How many values there are."""
        return len(self.root)

    def keys(self) -> Iterable[str]:
        """The keys, as they are now."""
        return list(self.root)

    def close(self) -> None:
        """Nothing has to be given back."""


class MemoryStoragePlugin(StoragePluginBase):
    """Opens namespaces in memory."""

    def open(self, namespace: str) -> StorageBase:
        """The values of `namespace`, those included that were kept before in this process."""
        return MemoryStorage(namespace)


class ShelfStorage(StorageBase):
    """The values of one namespace in a SQLite file, which is closed with it."""

    def __init__(self, path: Path, namespace: str) -> None:
        self._file = SQLiteStorage(path)
        self._store = self._file.open(namespace)

    def get(self, key: str) -> Any:
        """The value; raises KeyError."""
        return self._store.get(key)

    def set(self, key: str, value: Any) -> None:
        """Keep the value, on disk when this returns."""
        self._store.set(key, value)

    def remove(self, key: str) -> None:
        """Forget the value; raises KeyError."""
        self._store.remove(key)

    def len(self) -> int:
        """How many values there are."""
        return self._store.len()

    def keys(self) -> Iterable[str]:
        """The keys, as they are now."""
        return self._store.keys()

    def close(self) -> None:
        """Release the file."""
        self._store.close()
        self._file.close()


class ShelfStoragePlugin(StoragePluginBase):
    """Opens namespaces in the bot's own file: in STORAGE_CONFIG's `basedir`, else in BOT_DATA_DIR."""

    def __init__(self, bot_config: Any) -> None:
        super().__init__(bot_config)
        self._storage_config = {"basedir": bot_config.BOT_DATA_DIR, **self._storage_config}

    def open(self, namespace: str) -> StorageBase:
        """The values of `namespace`, shared with a bot that runs meanwhile."""
        return ShelfStorage(Path(self._storage_config["basedir"]) / DATABASE, namespace)
