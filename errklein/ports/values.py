"""The interface between the bot and the storages of plugins' values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable


class Store(Protocol):
    """The values of one namespace, by key. May be used from any thread; each call is one transaction."""

    def get(self, key: str) -> Any:
        """Return the value; raise KeyError if there is none."""

    def set(self, key: str, value: Any) -> None:
        """Store the value. When the call returns, the value survives a crash of the process and of the machine."""

    def remove(self, key: str) -> None:
        """Remove the value; raise KeyError if there is none."""

    def keys(self) -> Iterable[str]:
        """Return the current keys."""

    def len(self) -> int:
        """Return the number of values."""

    def close(self) -> None:
        """Close the namespace, which can be opened again."""


class Storage(Protocol):
    """The storage of plugins' values, in namespaces."""

    def open(self, namespace: str) -> Store:
        """Open the namespace, for example the name of a plugin."""

    def namespaces(self) -> Iterable[str]:
        """Return the namespaces that have values. A storage may be unable to list all of them."""

    def close(self) -> None:
        """Close all stores, and release files and locks."""


@runtime_checkable
class UsesFiles(Protocol):
    """Implemented by storages and journals whose files may be deleted while the bot runs."""

    def check_files(self) -> None:
        """Raise an exception, whose text is one line, if a file was deleted or replaced since it was opened, or is locked.

        Writing fails then. May be called in any thread, and waits for the disk.
        """
