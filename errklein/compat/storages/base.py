"""Base classes for third-party storages: the content of `errbot.storage.base`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from errklein.ports.values import BlockingStore, Store
from errklein.storage import DATABASE, MemoryStorage, SQLiteStorage


class StorageBase:
    """The values of one namespace of a third-party storage. A subclass implements all methods; a method that it lacks
    raises NotImplementedError."""

    def set(self, key: str, value: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} doesn't implement set()")

    def get(self, key: str) -> Any:
        raise NotImplementedError(f"{type(self).__name__} doesn't implement get()")

    def remove(self, key: str) -> None:
        raise NotImplementedError(f"{type(self).__name__} doesn't implement remove()")

    def len(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} doesn't implement len()")

    def keys(self) -> Iterable[str]:
        raise NotImplementedError(f"{type(self).__name__} doesn't implement keys()")

    def close(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} doesn't implement close()")


class StoragePluginBase:
    """The base class of the storage that STORAGE names. A subclass implements `open`.

    The guide "Storage" has an example, and the test that a storage must pass.

    `_storage_config` has STORAGE_CONFIG of the configuration; by default it is an empty dict.

    :param bot_config: The configuration of the bot.
    """

    def __init__(self, bot_config: Any) -> None:
        self._storage_config: Any = getattr(bot_config, "STORAGE_CONFIG", None) or {}
        super().__init__()

    def open(self, namespace: str) -> BlockingStore:
        raise NotImplementedError(f"{type(self).__name__} doesn't implement open()")


_MEMORY = MemoryStorage()  # the values of every MemoryStoragePlugin, until the process ends


class MemoryStoragePlugin(StoragePluginBase):
    """A storage in memory, which keeps references to values until the process ends. All instances share their values."""

    def open(self, namespace: str) -> Store:
        return _MEMORY.open(namespace)


class ShelfStoragePlugin(StoragePluginBase):
    """A storage in the bot's own database: in the `basedir` of STORAGE_CONFIG, by default in BOT_DATA_DIR."""

    def __init__(self, bot_config: Any) -> None:
        super().__init__(bot_config)
        self._storage_config = {"basedir": bot_config.BOT_DATA_DIR, **self._storage_config}

    def open(self, namespace: str) -> Store:
        storage = SQLiteStorage(Path(self._storage_config["basedir"]) / DATABASE)
        store = storage.open(namespace)
        # Each store has its own connection to the database, which is closed with it.
        store.close = storage.close  # type: ignore[method-assign]
        return store
