"""Names on networks with ids: what they mean, rooms that have an id and aliases, and the order of events during a lookup; and rooms
whose methods let the server do something, for which threads wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from threading import Event
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Identifier, Person, Room, RoomDoesNotExistError, RoomError, RoomOccupant, read_only
from errklein.chat.identifiers import LookupFailed, Purpose, UserDoesNotExistError
from errklein.chat.outgoing import Wait
from errklein.config import ConfigError
from errklein.networks.base import ConnectedNetwork
from errklein.networks.context import Latest
from errklein.networks.json_client import RequestRefused
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.running import ThreadWaits, TimedOut, cancel_timers, in_reactor_thread, on_reactor_soon
from errklein.running.context import check_in_owner

T = TypeVar("T")
_log = Logger(namespace="errklein.networks")
LIFETIME, ABSENCE = 300.0, 60.0
"""The seconds for which a meaning is known, and for which a name is known to mean nothing."""
LONGEST_WAIT, PATIENCE = 30.0, 10.0
"""The seconds for which an event may wait for a lookup, and a thread."""
MOST, MOST_WAITING = 10_000, 1000
"""The maximal numbers of names that are known, and of events of a room that wait."""


class Directory(Generic[T]):
    """What the names on a network mean, such as the ids of rooms. Several who ask for a name at the same time cause one
    lookup. `look_up` asks the network what a name means, and returns None if it means nothing. It must end."""

    def __init__(self, reactor: Any, look_up: Callable[[str], Coroutine[Any, Any, T | None]]) -> None:
        self._reactor, self._look_up = reactor, look_up
        self._meanings: dict[str, tuple[T | None, float]] = Latest(MOST)
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
        answered, text = Event(), "{name} could not be looked up: {reason}"

        def look_up() -> None:
            found = self.find(name)
            found.addErrback(lambda failure: _log.info(text, name=name, reason=str(failure.value)))
            found.addBoth(lambda _: answered.set())

        on_reactor_soon(self._reactor, look_up)
        if not in_reactor_thread(self._reactor):
            answered.wait(PATIENCE)

    def put(self, name: str, meaning: T | None) -> None:
        """Note what a name means, as an event of the network says; None if it means nothing."""
        self._meanings.pop(name, None)
        self._meanings[name] = meaning, self._reactor.seconds() + (ABSENCE if meaning is None else LIFETIME)
        self._settle(name, meaning)

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
            needed.addErrback(lambda failure: _log.info(text, room=room, reason=str(failure.value)))
            needed.addCallback(lambda _: self._go_on(room))
        if len(events) > MOST_WAITING and (first := events[0][0]) is not None:
            first.cancel()
        self._go_on(room)

    def _go_on(self, room: str) -> None:
        if (events := self._waiting.get(room)) is None or room in self._handling:
            return
        self._handling.add(room)
        while events and ((needed := events[0][0]) is None or needed.called):
            try:
                events.popleft()[1]()
            except Exception:
                _log.failure("An event of {room} could not be handled", room=room)
        self._handling.remove(room)
        if not events:
            del self._waiting[room]


_MOST = 1000  # the number of rooms of which it is known why the bot isn't there


def reported(method: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Deferred[T]]:
    """Let a method return a Deferred, which fails with RoomError and the server's reason."""

    async def run(*args: Any, **options: Any) -> T:
        try:
            return await method(*args, **options)
        except RequestRefused as error:
            is_missing = error.status == 404 or error.code == "channel_not_found"
            raise (RoomDoesNotExistError if is_missing else RoomError)(str(error)) from None
        except (LookupFailed, NotConfirmed, RetryLater, TimedOut, UserDoesNotExistError, ValueError) as error:
            raise RoomError(str(error)) from error

    return wraps(method)(lambda *args, **options: Deferred.fromCoroutine(run(*args, **options)))


class RoomActions:
    """Base class of what implements `ports.chat.ManagesRooms` for a connection. `stop` ends the waits of threads."""

    log = _log

    def __init__(self, reactor: Any, network: str) -> None:
        self._reactor, self.network = reactor, network
        self._waits = ThreadWaits(reactor)

    def result_of(self, action: str, *args: Any) -> Any:
        """Call a method, and return its result. Threads wait for it; on the reactor it is a Deferred."""
        check_in_owner("ask for rooms, or change them")
        return self._waits.result_of(getattr(self, action), *args)

    def carry_out(self, action: str, *args: Any) -> None:
        """Call a method. Threads wait until it is done; on the reactor a failure is logged."""
        result = self.result_of(action, *args)
        if isinstance(result, Deferred):
            result.addErrback(lambda failure: self.warn(f"{action} of {args[0]}: {failure.getErrorMessage()}"))

    def topic_of(self, room: ManagedRoom, /) -> str:
        """Return the topic, for which threads wait. The reactor doesn't, and gets ""."""
        return "" if in_reactor_thread(self._reactor) else str(self.result_of("topic", room))

    def occupants(self, room: ManagedRoom, /) -> Sequence[RoomOccupant]:
        """Return the people in the room, for whom threads wait. The reactor doesn't, and gets nobody."""
        return [] if in_reactor_thread(self._reactor) else list(self.result_of("members", room))

    def warn(self, what: str) -> None:
        self.log.warn("{network}: {what}", network=self.network, what=what)

    def stop(self) -> None:
        self._waits.stop()


class WantedRooms(RoomActions):
    """The same for networks on which the bot joins rooms, and tries those again that refuse it, after `again` seconds."""

    is_joined: Callable[[str], bool]

    def __init__(self, reactor: Any, network: str, now: Callable[[], float], again: float) -> None:
        super().__init__(reactor, network)
        self._now, self._pause = now, again
        self._wanted: dict[str, str] = {}
        """Where the bot should be, with passwords: the rooms of CHATROOM_PRESENCE, and those that it was told to join."""
        self._missing: dict[str, Wait] = {}  # why the bot isn't in rooms where it should be, or was
        self._joining: Deferred[None] | None = None
        self._again: IDelayedCall | None = None

    def join(self, room: Room, password: str = "") -> Deferred[None]:
        password = password or self._wanted.get(str(room), "")
        return self._enter(str(room), password).addCallback(lambda _: self._wanted.update({str(room): password}))

    def _enter(self, name: str, password: str = "") -> Deferred[None]:
        raise NotImplementedError

    def want(self, read: Callable[[], Mapping[str, str]]) -> Deferred[None]:
        """Join the rooms that are configured now, and those that the bot was told to join. Fires after the first attempt."""
        try:
            self._wanted |= read()
        except ConfigError as error:
            self.warn(f"{error}; CHATROOM_PRESENCE is unchanged")
        return self._join_soon()

    def status(self, name: str) -> Wait | None:
        return Wait(f"the bot is in {name}") if self.is_joined(name) else self._missing.get(name)

    def stop(self) -> None:
        super().stop()
        self.stop_joining()

    def stop_joining(self) -> None:
        cancel_timers(self._again)
        if self._joining is not None:
            self._joining.cancel()

    async def _join_all(self) -> None:
        for name in list(self._wanted):
            try:
                await self._enter(name)
            except RoomError as error:
                self._miss(name, str(error))

    def _join_soon(self) -> Deferred[None]:
        if self._joining is None or self._joining.called:
            cancel_timers(self._again)
            self._joining = Deferred.fromCoroutine(self._join_all())
            self._joining.addErrback(lambda failure: failure.trap(CancelledError) and None)
        return self._joining

    def _miss(self, name: str, cause: str) -> None:
        before = self._missing.get(name)
        if name not in self._wanted and before is None and len(self._missing) >= _MOST:
            return
        if before is None or before.cause != cause:
            self.warn(f"the bot is not in {name}: {cause}")
        self._missing[name] = Wait(f"the bot is not in {name}", before.since if before else self._now(), cause)
        if self._again is None or not self._again.active():
            self._again = self._reactor.callLater(self._pause, self._join_soon)


class ManagingNetwork(ConnectedNetwork):
    """Base class of networks on which `membership` manages rooms: its methods become those of the network."""

    joins_configured_rooms = True
    membership: Any

    def is_certain(self, person: Identifier) -> bool:
        """Return True: with ids, nobody takes another's place."""
        return True

    def manage(self, membership: RoomActions) -> None:
        self.membership = membership
        for action in ("join", "leave", "create", "destroy", "topic", "set_topic", "members", "invite"):
            setattr(self, action, getattr(membership, action))

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        return super().disconnect(grace).addCallback(lambda _: self.membership.stop())

    def room_status(self, name: str) -> Wait | None:
        status: Wait | None = self.membership.status(name)
        return status and (self.connection.absence or status)


class ManagedRoom(AliasedRoom):
    """A room, identified by its id, or by an alias until that is resolved. In a thread, methods wait for the server, and raise
    RoomError if it refuses. Without `actions`, the rooms of the connection, they raise NotImplementedError."""

    joined: bool = read_only("exists", "True if the bot is in the room.")

    def __init__(self, text: str, *known: Any, actions: RoomActions | None = None, **more: Any) -> None:
        super().__init__(text, *known, **more)
        self._actions = actions

    @property
    def _act(self) -> Any:
        if self._actions is None:
            raise NotImplementedError(f"{self} belongs to no connection; use query_room to get a room that does")
        return self._actions

    def join(self, username: str | None = None, password: str | None = None) -> None:
        self._act.carry_out("join", self, password or "")

    def leave(self, reason: str | None = None) -> None:
        self._act.carry_out("leave", self, reason or "")

    def create(self) -> None:
        self._act.carry_out("create", self)

    def destroy(self) -> None:
        self._act.carry_out("destroy", self)

    def invite(self, *args: Identifier | str) -> None:
        for person in args:
            self._act.carry_out("invite", self, person.person if isinstance(person, Person) else str(person))

    @property
    def exists(self) -> bool:
        return bool(self._act.is_joined(str(self)))

    @property
    def topic(self) -> str | None:
        """The topic, or None. Assign a string to set it; raises RoomError if it is unknown."""
        return self._act.topic_of(self) or None

    @topic.setter
    def topic(self, topic: str) -> None:
        self._act.carry_out("set_topic", self, topic)

    @property
    def occupants(self) -> Sequence[RoomOccupant]:
        """The people in the room, as far as they are known; raises RoomError if that can't be known."""
        return list(self._act.occupants(self))
