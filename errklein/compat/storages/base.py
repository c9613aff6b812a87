"""Base classes for third-party storages: the content of `errbot.storage.base`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from errklein.ports import Store


class StorageBase:
    """The values of one namespace of a third-party storage.

    A subclass implements all methods; one that it lacks raises NotImplementedError.
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

    Example::

        class DictStorage(StoragePluginBase):
            def open(self, namespace):
                return DictStore(namespace, self._storage_config["host"])

    `_storage_config` is the STORAGE_CONFIG of the configuration; by default an empty dict.
    """

    def __init__(self, bot_config: Any) -> None:
        self._storage_config: Any = getattr(bot_config, "STORAGE_CONFIG", None) or {}
        super().__init__()

    def open(self, namespace: str) -> Store:
        """Return the values of `namespace`, such as the name of a plugin, as a `StorageBase`."""
        raise NotImplementedError(f"{type(self).__name__} doesn't implement open()")
