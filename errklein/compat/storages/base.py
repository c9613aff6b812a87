"""What storages that were written for errbot inherit from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from errklein.ports import Store


class StorageBase:
    """The values of one namespace, as a storage of errbot's offers them. What one doesn't have raises NotImplementedError."""

    def set(self, key: str, value: Any) -> None:
        """Keep the value."""
        raise NotImplementedError(f"{type(self).__name__} has no set")

    def get(self, key: str) -> Any:
        """The value; raises KeyError."""
        raise NotImplementedError(f"{type(self).__name__} has no get")

    def remove(self, key: str) -> None:
        """Forget the value; raises KeyError."""
        raise NotImplementedError(f"{type(self).__name__} has no remove")

    def len(self) -> int:
        """How many values there are."""
        raise NotImplementedError(f"{type(self).__name__} has no len")

    def keys(self) -> Iterable[str]:
        """The keys."""
        raise NotImplementedError(f"{type(self).__name__} has no keys")

    def close(self) -> None:
        """Give the namespace back."""
        raise NotImplementedError(f"{type(self).__name__} has no close")


class StoragePluginBase:
    """A storage: what STORAGE in the configuration names. Subclasses open namespaces."""

    def __init__(self, bot_config: Any) -> None:
        self._storage_config: Any = getattr(bot_config, "STORAGE_CONFIG", None) or {}
        super().__init__()

    def open(self, namespace: str) -> Store:
        """The values of `namespace`, such as a plugin's name."""
        raise NotImplementedError(f"{type(self).__name__} has no open")
