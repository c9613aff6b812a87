"""The position in a network's stream of events, and the latest events, so that none is handled twice."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.networks._state import DurableState
from errklein.running import cancel_timers


class Seen:
    """The position and the ids of the latest events, stored at most once a second.

    :param state: The network's state.
    :param name: The key of the value there.
    :param most: The number of ids that are kept.
    """

    log = Logger(namespace="errklein.networks")

    def __init__(self, reactor: Any, state: DurableState, name: str, most: int = 200) -> None:
        self._reactor, self._state, self._name, self._most = reactor, state, name, most
        self._position: Any = None
        self._ids: dict[str, None] = {}
        self._timer: IDelayedCall | None = None

    async def load(self) -> Any:
        """Read what is stored, and return the position; None if there is none. Call it before the other methods."""
        if (stored := await self._state.get(self._name)) is not None:
            self._position, self._ids = stored["position"], dict.fromkeys(stored["ids"])
        return self._position

    @property
    def position(self) -> Any:
        """The position, a value of JSON. Assign it before the events up to there are handled."""
        return self._position

    @position.setter
    def position(self, position: Any) -> None:
        self._position = position
        self._store_soon()

    def is_new(self, id: str) -> bool:
        """Note the id of an event, and return whether it is new. Without an id, an event is new."""
        if not id:
            return True
        if id in self._ids:
            return False
        self._ids[id] = None
        if len(self._ids) > self._most:
            del self._ids[next(iter(self._ids))]
        self._store_soon()
        return True

    def flush(self) -> Deferred[None]:
        """Store what has changed now. Call it when the bot disconnects."""
        if self._timer is None:
            return succeed(None)
        cancel_timers(self._timer)
        return self._store()

    def _store_soon(self) -> None:
        if self._timer is None:
            self._timer = self._reactor.callLater(1.0, self._store)

    def _store(self) -> Deferred[None]:
        self._timer = None
        value = {"position": self._position, "ids": list(self._ids)}
        return self._state.set(self._name, value).addErrback(self._not_stored)

    def _not_stored(self, failure: Failure) -> None:
        reason = failure.getErrorMessage()
        self.log.error("The position in the events of a network could not be stored: {reason}", reason=reason)
