"""What storages that were written for errbot inherit from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any


class StorageBase(ABC):
    """The values of one namespace, as a storage of errbot's offers them."""

    @abstractmethod
    def set(self, key: str, value: Any) -> None:
        """Keep the value."""

    @abstractmethod
    def get(self, key: str) -> Any:
        """The value; raises KeyError."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Forget the value; raises KeyError."""

    @abstractmethod
    def len(self) -> int:
        """How many values there are."""

    @abstractmethod
    def keys(self) -> Iterable[str]:
        """The keys."""

    @abstractmethod
    def close(self) -> None:
        """Give the namespace back."""


class StoragePluginBase(ABC):
    """A storage: what STORAGE in the configuration names. Subclasses open namespaces."""

    def __init__(self, bot_config: Any) -> None:
        self._storage_config: Any = getattr(bot_config, "STORAGE_CONFIG", None) or {}
        super().__init__()

    @abstractmethod
    def open(self, namespace: str) -> StorageBase:
        """The values of `namespace`, such as a plugin's name."""
