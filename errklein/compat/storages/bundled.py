"""The storages that errbot includes, for code that opens them by itself. Values are in errklein's own storages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from errklein.compat.storages.base import StoragePluginBase
from errklein.ports import Store
from errklein.storage import DATABASE, MemoryStorage, SQLiteStorage

_MEMORY = MemoryStorage()
"""The values of every MemoryStoragePlugin; they live as long as the process."""


class MemoryStoragePlugin(StoragePluginBase):
    """Opens namespaces in memory, where values are kept by reference until the process ends."""

    def open(self, namespace: str) -> Store:
        """The values of `namespace`, those included that were kept before in this process."""
        return _MEMORY.open(namespace)


class ShelfStoragePlugin(StoragePluginBase):
    """Opens namespaces in the bot's own file: in STORAGE_CONFIG's `basedir`, else in BOT_DATA_DIR."""

    def __init__(self, bot_config: Any) -> None:
        super().__init__(bot_config)
        self._storage_config = {"basedir": bot_config.BOT_DATA_DIR, **self._storage_config}

    def open(self, namespace: str) -> Store:
        """The values of `namespace`, shared with a bot that runs meanwhile."""
        storage = SQLiteStorage(Path(self._storage_config["basedir"]) / DATABASE)
        store = storage.open(namespace)
        # The file is the namespace's own, and is closed with it.
        store.close = storage.close  # type: ignore[method-assign]
        return store
