"""The bot's networks, the selection of one for an identifier, a message or the current event, and operations on rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.logger import Logger

from errklein.chat import Identifier, Message, Room, RoomError, RoomOccupant
from errklein.chat.identifiers import LookupFailed
from errklein.commands.operations import Actor, operation
from errklein.config import Config
from errklein.ports.chat import Backend, ManagesRooms
from errklein.running import WorkerPool
from errklein.running.context import handled_network

LOOKUP_TIMEOUT = 30.0  # the seconds after which a lookup has failed


class Networks:
    """The backends and configurations by the names of their networks, the default first. Methods may be called in any thread."""

    def __init__(self, backends: Mapping[str, Backend], configs: Mapping[str, Config]) -> None:
        self.backends = backends
        self._configs = configs

    @property
    def current(self) -> Backend:
        """The backend of the network whose event is being handled, or the default."""
        return self.backends.get(handled_network.get()) or next(iter(self.backends.values()))

    @property
    def prefix(self) -> str:
        prefix: str = self.config(self.current).BOT_PREFIX
        return prefix

    def config(self, backend: Backend) -> Config:
        return self._configs[backend.network]

    def of(self, subject: Identifier | Message) -> Backend:
        """Return the backend of the network that an identifier or message belongs to. Identifiers and messages that a
        plugin created have no network; they belong to the current one. Raises ValueError if the network is unknown."""
        network = subject.network
        if not network:
            return self.current
        if network not in self.backends:
            raise ValueError(f"unknown network {network!r}; known networks: {', '.join(self.backends)}")
        return self.backends[network]

    def build_identifier(self, text: str | tuple[str, str]) -> Identifier:
        """Return the person, occupant or room with that name, on the current network or, for "network:name", on that one. A pair
        of a room's name and its password, as in CHATROOM_PRESENCE, names the room. Raises ValueError for an invalid name."""
        backend, name = self.split(text if isinstance(text, str) else text[0])
        return backend.build_identifier(name)

    def resolve(self, text: str, reactor: Any, seconds: float = LOOKUP_TIMEOUT) -> Deferred[Identifier]:
        """Return what `build_identifier` does, after the network was asked if necessary; see
        `ports.chat.Backend.resolve`. Reactor. Fails with LookupFailed if it hasn't replied after so many seconds."""

        def no_reply(*_: object) -> NoReturn:
            raise LookupFailed(f"the network hasn't replied within {seconds:.0f} s")

        backend, name = self.split(text)
        return maybeDeferred(backend.resolve, name).addTimeout(seconds, reactor, no_reply)

    def query_room(self, name: str) -> Room:
        backend, name = self.split(name)
        return backend.query_room(name)

    def rooms(self) -> list[Room]:
        return [room for backend in self.backends.values() for room in backend.rooms()]

    def change_presence(self, status: str, message: str) -> None:
        for backend in self.backends.values():
            backend.change_presence(status, message)

    def with_network(self, room: str) -> str:
        """Return the name of a room with that of its network, by default the first one: "libera:#ops"."""
        return room if room.partition(":")[0] in self.backends else f"{next(iter(self.backends))}:{room}"

    def split(self, text: str) -> tuple[Backend, str]:
        """Return the backend of a name, and the name on its network; see `build_identifier`."""
        network, colon, name = text.partition(":")
        return (self.backends[network], name) if colon and network in self.backends else (self.current, text)


REPLY_TIMEOUT = 10.0  # the time to wait for the network's reply, in seconds
ENTER_TIMEOUT = 60.0  # the same for rooms that the bot joins by itself, perhaps many at once


class RoomOperations:
    """Lists, joins and changes rooms, given by name or as Room. The network of a name is selected as by `Networks.query_room`.
    Call the methods on the reactor. They raise RoomError with the reason if the network refuses, NotImplementedError if it
    doesn't support the operation, ValueError for an invalid name, and LookupFailed if the network can't say what a name
    means. `pool` has the threads for networks without `ManagesRooms`, whose rooms may ask a server."""

    log = Logger(namespace="errklein.dispatch")

    def __init__(self, reactor: Any, networks: Networks, pool: WorkerPool) -> None:
        self._reactor, self._networks, self._pool = reactor, networks, pool

    @operation("room_list")
    async def rooms(self, by: Actor) -> list[tuple[str, str]]:
        def listed() -> list[tuple[str, str]]:
            # Ids of some networks mean nothing to people.
            return [(one.network, getattr(one, "shown", "") or str(one)) for one in self._networks.rooms()]

        return await self._pool.run(lambda: listed)

    @operation("room_join", "name", "password", changes=True, hidden=("password",))
    async def join(self, by: Actor, name: str, password: str | None = None) -> bool:
        """Join a room, which most networks create if it is missing. Return False if the network hasn't confirmed it yet."""
        room = await self.room(name)
        await self.do("join", room, password or "")
        with suppress(NotImplementedError):
            return await self._is_joined(room)
        return True

    async def enter(self, rooms: Iterable[tuple[str, str | None]], *, again: bool = False) -> None:
        """Join rooms, given with their passwords; those that the bot is in only with `again`. Failures are logged."""
        entering: list[Deferred[None]] = []
        for name, password in rooms:
            entering.append(Deferred.fromCoroutine(self._enter(name, password, again)))
            if not isinstance(self._networks.split(name)[0], ManagesRooms):
                # One after the other, since errbot's backends get calls from one thread.
                await entering.pop()
        await gatherResults(entering)

    @operation("room_leave", "name", "reason", changes=True)
    async def leave(self, by: Actor, name: str, reason: str | None = None) -> None:
        await self.do("leave", name, reason or "")

    @operation("room_create", "name", changes=True)
    async def create(self, by: Actor, name: str) -> None:
        await self.do("create", name)

    @operation("room_destroy", "name", changes=True)
    async def destroy(self, by: Actor, name: str) -> None:
        await self.do("destroy", name)

    @operation("room_invite", "name", "people", changes=True)
    async def invite(self, by: Actor, name: str, people: Sequence[str]) -> None:
        for person in people:
            try:
                await self.do("invite", name, person)
            except RoomError as error:
                raise RoomError(f"{person}: {error}") from error

    @operation("room_occupants", "name")
    async def occupants(self, by: Actor, name: str) -> list[str]:
        members: Sequence[RoomOccupant] = await self.do("members", name)
        return sorted(map(name_of, members))

    @operation("room_topic", "name")
    async def topic(self, by: Actor, name: str) -> str:
        topic: str = await self.do("topic", name)
        return topic

    @operation("room_topic", "name", "topic", changes=True)
    async def set_topic(self, by: Actor, name: str, topic: str) -> None:
        await self.do("set_topic", name, topic)

    async def do(self, act: str, name: Room | str, *args: str, seconds: float = REPLY_TIMEOUT) -> Any:
        """Return the result of the method of ManagesRooms named `act` for a room, on any network."""
        room = await self.room(name, exists=act != "create")
        backend = self._networks.of(room)
        if isinstance(backend, ManagesRooms):
            answer: Deferred[Any] = getattr(backend, act)(room, *args)
            return await answer.addTimeout(seconds, self._reactor, _no_reply)
        call = partial(_IN_THREADS[act], room, self._networks.config(backend).CHATROOM_FN, *args)
        return await self._pool.run(lambda: call)

    async def room(self, name: Room | str, *, exists: bool = True) -> Room:
        """Return the room of that name, after the network was asked if necessary, unless it need not exist."""
        if isinstance(name, Room):
            return name
        backend, text = self._networks.split(name)
        if isinstance(backend, ManagesRooms):
            found = await self._networks.resolve(name, self._reactor) if exists else backend.build_identifier(text)
            return found if isinstance(found, Room) else backend.query_room(text)
        return await self._pool.run(lambda: partial(backend.query_room, text))

    async def identified(self, room: Room) -> Room:
        """Return the room by the id that its network knows, if the network can say it soon."""
        if isinstance(self._networks.of(room), ManagesRooms):
            with suppress(LookupFailed):
                return await self.room(f"{room.network}:{room}")
        return room

    async def _enter(self, name: str, password: str | None, again: bool) -> None:
        try:
            room = await self.room(name)
            if again or not await self._is_joined(room):
                await self.do("join", room, password or "", seconds=ENTER_TIMEOUT)
        except Exception as error:
            self.log.warn("The room {name} could not be joined: {reason}", name=name, reason=str(error))

    async def _is_joined(self, room: Room) -> bool:
        if isinstance(self._networks.of(room), ManagesRooms):
            return room.joined is not False
        return await self._pool.run(lambda: lambda: room.joined is not False)


def _no_reply(*_: object) -> NoReturn:
    raise RoomError("the network hasn't replied yet")


_IN_THREADS: Mapping[str, Callable[..., Any]] = {
    "join": lambda room, username, password: room.join(username=username, password=password or None),
    "leave": lambda room, _, reason: room.leave(reason=reason or None),
    "create": lambda room, _: room.create(),
    "destroy": lambda room, _: room.destroy(),
    "topic": lambda room, _: room.topic or "",
    "set_topic": lambda room, _, topic: setattr(room, "topic", topic),
    "members": lambda room, _: room.occupants,
    "invite": lambda room, _, person: room.invite(person),
}
"""ManagesRooms by the methods of rooms, called with the bot's name in rooms; they may block."""


def name_of(somebody: Any) -> str:
    return getattr(somebody, "nick", None) or getattr(somebody, "person", None) or str(somebody)
