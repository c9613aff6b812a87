"""Classes of errbot's bundled storages, for code that opens them itself. They use errklein's own storages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from errklein.compat.storages.base import StoragePluginBase
from errklein.ports.values import Store
from errklein.storage import DATABASE, MemoryStorage, SQLiteStorage

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
