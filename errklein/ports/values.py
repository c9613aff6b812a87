"""The interface between the bot and the storages of plugins' values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from twisted.internet.defer import Deferred

T = TypeVar("T")

OF_NETWORK = "network:"
"""The namespace of a network's state is this and its name."""

ANY_VERSION: Final = object()
"""Stands for every version of a value, also for none."""


class BlockingStore(Protocol):
    """The values of one namespace, by key: what a storage written for errbot implements."""

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


class Store(BlockingStore, Protocol):
    """The values of one namespace. May be used from any thread; each call is one transaction."""

    def read(self, key: str, default: Any = None) -> tuple[object, Any]:
        """Return the version of the value, for `prepare`, and a new object with the value, or the default if there is none."""

    def prepare(self, key: str, value: Any, version: object = ANY_VERSION) -> Callable[[], bool]:
        """Return a function that stores the value as it is now, for any thread. The function returns True, or False if
        the stored value no longer has the version. Then another thread, or another process if the storage is one for
        several processes, has changed it, and it stays as it is."""


class Storage(Protocol):
    """The storage of plugins' values, in namespaces."""

    def open(self, namespace: str) -> Store:
        """Open the namespace, for example the name of a plugin."""

    def namespaces(self) -> Iterable[str]:
        """Return the namespaces that have values. A storage may be unable to list all of them."""

    def in_background(self, work: Callable[[], T]) -> Deferred[T]:
        """Call a function that uses the stores, so that the reactor isn't blocked. Call this on the reactor. Functions that
        change values take effect in the order of these calls. The Deferred fires on the reactor with the result."""

    def close(self) -> None:
        """Close all stores, and release files and locks."""


@runtime_checkable
class ErasesRemoved(Protocol):
    """Implemented by storages whose files contain removed values for some time."""

    def erase_removed(self) -> bool:
        """Remove them, or return False if another program reads the files. May be called in any thread, and waits for the disk."""


@runtime_checkable
class UsesFiles(Protocol):
    """Implemented by storages and journals whose files may be deleted while the bot runs."""

    def check_files(self) -> None:
        """Raise an exception, whose text is one line, if a file was deleted or replaced since it was opened, or is
        locked. Writing fails then. May be called in any thread, and waits for the disk."""
