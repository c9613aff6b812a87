"""The durable state of a network, such as its position in the stream of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from errklein.ports.values import OF_NETWORK, Storage

T = TypeVar("T")


class DurableState:
    """Values of a network by key, in the storage of plugins' values, and in its backups. Call the methods on the reactor.

    The methods take effect in the order of their calls. Values are those of JSON.

    :param storage: The storage; None to keep the values in memory, as a check of the connection does.
    """

    def __init__(self, network: str, storage: Storage | None) -> None:
        self._namespace = OF_NETWORK + network
        self._storage = storage
        self._values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Deferred[Any]:
        """Return a Deferred that fires with the value, or with the default."""
        if self._storage is None:
            return maybeDeferred(self._values.get, key, default)
        return self._do(lambda store: store.read(key, default)[1])

    def set(self, key: str, value: Any) -> Deferred[None]:
        """Store a value; None removes it. The Deferred fires when it is on disk, or fails with StorageError."""
        if self._storage is None:
            return maybeDeferred(self._values.__setitem__, key, value)
        if value is None:
            return self._do(lambda store: store.remove(key) if key in list(store.keys()) else None)
        return self._do(lambda store: store.set(key, value))

    def _do(self, work: Callable[[Any], T]) -> Deferred[T]:
        storage, namespace = self._storage, self._namespace
        assert storage is not None

        def run() -> T:
            store = storage.open(namespace)
            try:
                return work(store)
            finally:
                store.close()

        return storage.in_background(run)
