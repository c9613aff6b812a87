"""The durable state of a network, and its position in the stream of events, so that none is handled twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.ports.values import OF_NETWORK, Storage
from errklein.running import cancel_timers

T = TypeVar("T")


class DurableState:
    """Values of JSON by key, in a namespace of the storage and thus in backups. Without a storage, they are in memory,
    as in a check of the connection. Methods take effect in the order of their calls."""

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


class Latest(dict[Any, Any]):
    """A dictionary of the latest items, at most `most`; those that were added first are dropped."""

    def __init__(self, most: int = 10_000) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if len(self) > self._most:
            del self[next(iter(self))]


class Seen:
    """The position and the ids of the latest `most` events, stored at most once a second. Await `load` first, `flush` in the end."""

    log = Logger(namespace="errklein.networks")

    def __init__(self, reactor: Any, state: DurableState, name: str, most: int = 200) -> None:
        self._reactor, self._state, self._name = reactor, state, name
        self._position: Any = None
        self._ids = Latest(most)
        self._timer: IDelayedCall | None = None

    async def load(self) -> Any:
        if (stored := await self._state.get(self._name)) is not None:
            self._position = stored["position"]
            self._ids.update(dict.fromkeys(stored["ids"]))
        return self._position

    @property
    def position(self) -> Any:
        """A value of JSON, None at first. Assign it before the events up to there are handled."""
        return self._position

    @position.setter
    def position(self, position: Any) -> None:
        self._position = position
        self._store_soon()

    def is_new(self, id: str) -> bool:
        """Note the id of an event, and return whether it is new. Without an id, an event is new."""
        if not id or id in self._ids:
            return not id
        self._ids[id] = None
        self._store_soon()
        return True

    def flush(self) -> Deferred[None]:
        if self._timer is None:
            return succeed(None)
        cancel_timers(self._timer)
        return self._store()

    def _store_soon(self) -> None:
        self._timer = self._timer or self._reactor.callLater(1.0, self._store)

    def _store(self) -> Deferred[None]:
        self._timer = None
        stored = self._state.set(self._name, {"position": self._position, "ids": list(self._ids)})
        return stored.addErrback(self._not_stored)

    def _not_stored(self, failure: Failure) -> None:
        # The session that waits for it is ended.
        if failure.check(CancelledError):
            failure.raiseException()
        self.log.failure("The position in events was not stored", failure)
