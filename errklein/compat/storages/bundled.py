"""The storages that errbot includes, for code that opens them by itself. Values are in errklein's own storages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from errklein.compat.storages.base import StorageBase, StoragePluginBase
from errklein.ports import Storage
from errklein.storage import DATABASE, MemoryStorage, SQLiteStorage

_MEMORY = MemoryStorage()
"""The values of every MemoryStoragePlugin; they live as long as the process."""


class BundledNamespace(StorageBase):
    """The values of one namespace of a storage, which is closed with it if it is `owned`."""

    def __init__(self, storage: Storage, namespace: str, owned: bool) -> None:
        self._storage = storage if owned else None
        self._store = storage.open(namespace)

    def get(self, key: str) -> Any:
        """The value; raises KeyError."""
        return self._store.get(key)

    def set(self, key: str, value: Any) -> None:
        """Keep the value."""
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
        """Close the namespace."""
        self._store.close()
        if self._storage is not None:
            self._storage.close()


class MemoryStoragePlugin(StoragePluginBase):
    """Opens namespaces in memory, where values are kept by reference until the process ends."""

    def open(self, namespace: str) -> StorageBase:
        """The values of `namespace`, those included that were kept before in this process."""
        return BundledNamespace(_MEMORY, namespace, owned=False)


class ShelfStoragePlugin(StoragePluginBase):
    """Opens namespaces in the bot's own file: in STORAGE_CONFIG's `basedir`, else in BOT_DATA_DIR."""

    def __init__(self, bot_config: Any) -> None:
        super().__init__(bot_config)
        self._storage_config = {"basedir": bot_config.BOT_DATA_DIR, **self._storage_config}

    def open(self, namespace: str) -> StorageBase:
        """The values of `namespace`, shared with a bot that runs meanwhile."""
        return BundledNamespace(SQLiteStorage(Path(self._storage_config["basedir"]) / DATABASE), namespace, owned=True)
