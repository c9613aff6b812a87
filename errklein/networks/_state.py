"""The durable state of a network, such as its token and its position in the stream of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from errklein.ports.values import OF_NETWORK, Storage

T = TypeVar("T")


class DurableState:
    """Values of JSON by key, in a namespace of the storage and thus in backups. Methods take effect in the order of their calls.

    :param storage: None to keep the values in memory, as a check of the connection does.
    """

    def __init__(self, network: str, storage: Storage | None) -> None:
        self._namespace, self._storage = OF_NETWORK + network, storage
        self._values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Deferred[Any]:
        return self._do(lambda store: store.read(key, default)[1], lambda: self._values.get(key, default))

    def set(self, key: str, value: Any) -> Deferred[None]:
        """Store a value. The Deferred fires when it is on disk, or fails with StorageError."""
        return self._do(lambda store: store.set(key, value), lambda: self._values.__setitem__(key, value))

    def _do(self, work: Callable[[Any], T], in_memory: Callable[[], T]) -> Deferred[T]:
        if (storage := self._storage) is None:
            return maybeDeferred(in_memory)

        def run() -> T:
            store = storage.open(self._namespace)
            try:
                return work(store)
            finally:
                store.close()

        return storage.in_background(run)
