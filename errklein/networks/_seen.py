"""The position in a network's stream of events, and the latest events, so that none is handled twice."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from errklein.networks._state import DurableState
from errklein.running import cancel_timers


class Seen:
    """The position and the ids of the latest `most` events, stored at most once a second. Await `load` first, `flush` in the end."""

    log = Logger(namespace="errklein.networks")

    def __init__(self, reactor: Any, state: DurableState, name: str, most: int = 200) -> None:
        self._reactor, self._state, self._name, self._most = reactor, state, name, most
        self._position: Any = None
        self._ids: dict[str, None] = {}
        self._timer: IDelayedCall | None = None

    async def load(self) -> Any:
        if (stored := await self._state.get(self._name)) is not None:
            self._position, self._ids = stored["position"], dict.fromkeys(stored["ids"])
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
        if len(self._ids) > self._most:
            del self._ids[next(iter(self._ids))]
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
        return stored.addErrback(lambda failure: self.log.failure("The position in events was not stored", failure))
