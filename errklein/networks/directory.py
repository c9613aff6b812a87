"""Names on networks with ids: what they mean, rooms that have an id and aliases, and the order of events during a lookup."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from threading import Event
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Room
from errklein.chat.identifiers import Purpose
from errklein.running import in_reactor_thread, on_reactor_soon

T = TypeVar("T")

LIFETIME, ABSENCE = 300.0, 60.0
"""The seconds for which a meaning is known, and for which a name is known to mean nothing."""

LONGEST_WAIT, PATIENCE = 30.0, 10.0
"""The seconds for which an event may wait for a lookup, and a thread."""

MOST, MOST_WAITING = 10_000, 1000
"""The maximal numbers of names that are known, and of events of a room that wait."""


class Directory(Generic[T]):
    """What the names on a network mean, such as the ids of rooms. Several who ask for a name at the same time cause one
    lookup. `look_up` asks the network what a name means, and returns None if it means nothing. It must end."""

    log = Logger()

    def __init__(self, reactor: Any, look_up: Callable[[str], Coroutine[Any, Any, T | None]]) -> None:
        self._reactor, self._look_up = reactor, look_up
        self._meanings: dict[str, tuple[T | None, float]] = {}
        """With the time until which they are known; the oldest first."""
        self._asked: dict[str, list[Deferred[T | None]]] = {}

    def known(self, name: str) -> T | None:
        """Return what a name means; None if it isn't known at present. May be called in any thread."""
        meaning, until = self._meanings.get(name, (None, 0.0))
        return meaning if until > self._reactor.seconds() else None

    def names_of(self, meaning: T) -> list[str]:
        """Return the names that are known to mean this. May be called in any thread."""
        now = self._reactor.seconds()
        return [name for name, (what, until) in list(self._meanings.items()) if what == meaning and until > now]

    def find(self, name: str) -> Deferred[T | None]:
        """Return what a name means, after a lookup if that isn't known; None if it means nothing. The Deferred fails
        with the exception of the lookup. It may be cancelled."""
        meaning, until = self._meanings.get(name, (None, 0.0))
        if until > self._reactor.seconds():
            return succeed(meaning)
        is_first, waiting = name not in self._asked, self._asked.setdefault(name, [])
        found: Deferred[T | None] = Deferred(waiting.remove)
        waiting.append(found)
        if is_first:
            Deferred.fromCoroutine(self._look_up(name)).addBoth(self._answered, name, waiting)
        return found

    def ask(self, name: str) -> None:
        """Look the name up unless it is known. A thread waits for that, up to PATIENCE seconds; the reactor doesn't."""
        if self.known(name) is not None:
            return
        answered = Event()
        on_reactor_soon(
            self._reactor, lambda: self.find(name).addErrback(self._failed, name).addBoth(lambda _: answered.set())
        )
        if not in_reactor_thread(self._reactor):
            answered.wait(PATIENCE)

    def put(self, name: str, meaning: T | None) -> None:
        """Note what a name means, as an event of the network says; None if it means nothing."""
        self._meanings.pop(name, None)
        if len(self._meanings) >= MOST:
            del self._meanings[next(iter(self._meanings))]
        self._meanings[name] = meaning, self._reactor.seconds() + (ABSENCE if meaning is None else LIFETIME)
        self._settle(name, meaning)

    def _failed(self, failure: Failure, name: str) -> None:
        self.log.info("{name} could not be looked up: {reason}", name=name, reason=str(failure.value))

    def _answered(self, result: T | Failure | None, name: str, waiting: list[Deferred[T | None]]) -> None:
        # Otherwise an event has said meanwhile what the name means, and the response is older.
        if self._asked.get(name) is waiting:
            self._settle(name, result) if isinstance(result, Failure) else self.put(name, result)

    def _settle(self, name: str, result: T | Failure | None) -> None:
        waiting = self._asked.pop(name, [])
        while waiting:
            waiting.pop(0).callback(result)


class AliasedRoom(Room):
    """A room with an id and aliases, such as !abc and #ops:example.org on Matrix. `str()` is the id as soon as it is
    known. `names` knows the ids of aliases; None for a room that belongs to no connection. A room that was built from
    an alias equals the same room with its id as soon as the alias was resolved. Then it keeps the id, also if the alias
    means another room later. All rooms of a network have the same hash, since that must not change."""

    def __init__(self, text: str, network: str = "", id: str = "", names: Directory[str] | None = None) -> None:
        self.text, self.network, self._id, self._names = text, network, id, names

    @property
    def id(self) -> str:
        """The id; "" while it is unknown."""
        if not self._id and self._names is not None:
            self._id = self._names.known(self.text) or ""
        return self._id

    @property
    def claimed(self) -> Sequence[str]:
        """Aliases that somebody in the room has entered, and that the server hasn't confirmed."""
        return ()

    @property
    def shown(self) -> str:
        """The id with the aliases, for people; only the id says for certain which room it is."""
        names = dict.fromkeys([*self._aliases, *self.claimed])
        return f"{self} ({', '.join(names)})" if self.id and names else str(self)

    def access_names(self, purpose: Purpose) -> tuple[str, ...]:
        """Return the id and the aliases that mean it; to "deny" also those that are claimed."""
        names = ([self.id] if self.id else []) + self._aliases
        return tuple(dict.fromkeys([*names, self.text, *self.claimed] if purpose == "deny" else names))

    @property
    def _aliases(self) -> list[str]:
        return self._names.names_of(self.id) if self._names is not None and self.id else []

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AliasedRoom) or other.network != self.network or type(other) is not type(self):
            return False
        if self.id and other.id:
            return self.id == other.id
        return self.text == other.text or self.text in other._aliases or other.text in self._aliases

    def __hash__(self) -> int:
        return hash((AliasedRoom, self.network))

    def __str__(self) -> str:
        return self.id or self.text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.text}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Plugins store identifiers. The connection can't be pickled.
        return type(self), (self.text, self.network, self.id)


class RoomOrder:
    """Handles the events of each room in the order in which they came, also if one of them must wait for a lookup. An
    event waits at most LONGEST_WAIT seconds, then it is handled without the result. Exceptions are logged."""

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: dict[str, deque[tuple[Deferred[Any] | None, Callable[[], object]]]] = {}
        self._handling: set[str] = set()

    def do(self, room: str, needed: Deferred[Any] | None, handle: Callable[[], object]) -> None:
        """Call `handle` when `needed` has fired or failed, and after the earlier events of the room. Without `needed`,
        and if nothing of the room waits, it is called at once."""
        events = self._waiting.setdefault(room, deque())
        events.append((needed, handle))
        if needed is not None:
            needed.addTimeout(LONGEST_WAIT, self._reactor)
            text = "Events of {room} go on without a lookup: {reason}"
            needed.addErrback(lambda failure: self.log.info(text, room=room, reason=str(failure.value)))
            needed.addCallback(lambda _: self._go_on(room))
        if len(events) > MOST_WAITING and (first := events[0][0]) is not None:
            first.cancel()
        self._go_on(room)

    def _go_on(self, room: str) -> None:
        events = self._waiting.get(room)
        if events is None or room in self._handling:
            return
        self._handling.add(room)
        while events and ((needed := events[0][0]) is None or needed.called):
            try:
                events.popleft()[1]()
            except Exception:
                self.log.failure("An event of {room} could not be handled", room=room)
        self._handling.remove(room)
        if not events:
            del self._waiting[room]
