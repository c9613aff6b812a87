"""Operations of administrators on rooms, in a chat and on a web page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from errklein.chat import Room, RoomError, RoomOccupant
from errklein.commands.operations import Actor, operation
from errklein.dispatch._networks import Networks
from errklein.ports.chat import ManagesRooms
from errklein.running import WorkerPool

T = TypeVar("T")

REPLY_TIMEOUT = 10.0
"""The time to wait for the network's reply, in seconds."""

ENTER_TIMEOUT = 60.0
"""The same for rooms that the bot joins by itself, perhaps many at once."""


@dataclass(frozen=True)
class JoinedRoom:
    """A room that the bot is in."""

    network: str
    name: str


class RoomOperations:
    """Lists, joins and changes rooms, given by name or as Room. The network of a name is selected as by `Networks.query_room`.

    Call the methods on the reactor. They raise RoomError with the reason if the network refuses, NotImplementedError if it doesn't
    support the operation, ValueError for an invalid name, and LookupFailed if the network can't say what a name means.

    :param pool: The threads for networks without `ManagesRooms`, whose rooms may ask a server.
    """

    log = Logger(namespace="errklein.dispatch")

    def __init__(self, reactor: Any, networks: Networks, pool: WorkerPool) -> None:
        self._reactor = reactor
        self._networks = networks
        self._pool = pool

    @operation("room_list")
    async def rooms(self, by: Actor) -> list[JoinedRoom]:
        """Return the rooms that the bot is in."""
        found = self._networks.rooms
        return [JoinedRoom(room.network, str(room)) for room in await self._pool.run(lambda: found)]

    @operation("room_join", "name", "password")
    async def join(self, by: Actor, name: Room | str, password: str | None = None) -> bool:
        """Join a room, which most networks create if it is missing. Return False if the network hasn't confirmed it yet."""
        room = await self.room(name)
        await self._do(room, lambda rooms: rooms.join(room, password or ""))
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

    @operation("room_leave", "name", "reason")
    async def leave(self, by: Actor, name: Room | str, reason: str | None = None) -> None:
        """Leave a room."""
        room = await self.room(name)
        await self._do(room, lambda rooms: rooms.leave(room, reason or ""))

    @operation("room_create", "name")
    async def create(self, by: Actor, name: str) -> None:
        """Create a room."""
        room = await self.room(name)
        await self._do(room, lambda rooms: rooms.create(room))

    @operation("room_destroy", "name")
    async def destroy(self, by: Actor, name: str) -> None:
        """Destroy a room for all its occupants."""
        room = await self.room(name)
        await self._do(room, lambda rooms: rooms.destroy(room))

    @operation("room_invite", "name", "people")
    async def invite(self, by: Actor, name: Room | str, people: Sequence[str]) -> None:
        """Invite people to a room."""
        room = await self.room(name)
        for person in people:
            try:
                await self._do(room, lambda rooms, person=person: rooms.invite(room, person))  # type: ignore[misc]
            except RoomError as error:
                raise RoomError(f"{person}: {error}") from error

    @operation("room_occupants", "name")
    async def occupants(self, by: Actor, name: str) -> list[str]:
        """Return the names of the people in a room, sorted."""
        return sorted(map(name_of, await self.members(name)))

    @operation("room_topic", "name")
    async def topic(self, by: Actor, name: Room | str) -> str:
        """Return the topic of a room; "" if it has none."""
        room = await self.room(name)
        return await self._do(room, lambda rooms: rooms.topic(room))

    @operation("room_topic", "name", "topic")
    async def set_topic(self, by: Actor, name: Room | str, topic: str) -> None:
        """Set the topic of a room."""
        room = await self.room(name)
        await self._do(room, lambda rooms: rooms.set_topic(room, topic))

    async def members(self, name: Room | str) -> Sequence[RoomOccupant]:
        """Return the people in a room."""
        room = await self.room(name)
        return await self._do(room, lambda rooms: rooms.members(room))

    async def room(self, name: Room | str) -> Room:
        """Return the room of that name, after the network was asked if necessary."""
        if isinstance(name, Room):
            return name
        backend, text = self._networks.split(name)
        if isinstance(backend, ManagesRooms):
            found = await backend.resolve(text)
            return found if isinstance(found, Room) else backend.query_room(text)
        return await self._pool.run(lambda: partial(backend.query_room, text))

    async def _enter(self, name: str, password: str | None, again: bool) -> None:
        try:
            room = await self.room(name)
            if again or not await self._is_joined(room):
                await self._do(room, lambda rooms: rooms.join(room, password or ""), ENTER_TIMEOUT)
        except Exception as error:
            self.log.warn("The room {name} could not be joined: {reason}", name=name, reason=str(error))

    async def _is_joined(self, room: Room) -> bool:
        """Return whether the bot is in the room, or about to enter it."""
        if isinstance(self._networks.of(room), ManagesRooms):
            return room.joined is not False
        return await self._pool.run(lambda: lambda: room.joined is not False)

    async def _do(self, room: Room, act: Callable[[ManagesRooms], Deferred[T]], seconds: float = REPLY_TIMEOUT) -> T:
        backend = self._networks.of(room)
        if isinstance(backend, ManagesRooms):
            return await act(backend).addTimeout(seconds, self._reactor, _no_reply)
        return await act(_RoomsInThreads(self._pool, self._networks.config(backend).CHATROOM_FN))


def _no_reply(*_: object) -> NoReturn:
    raise RoomError("the network hasn't replied yet")


@dataclass(frozen=True)
class _RoomsInThreads:
    """Implements ManagesRooms by the methods of rooms, which may block."""

    pool: WorkerPool
    username: str

    def join(self, room: Room, password: str = "") -> Deferred[None]:
        return self._run(lambda: room.join(username=self.username, password=password or None))

    def leave(self, room: Room, reason: str = "") -> Deferred[None]:
        return self._run(lambda: room.leave(reason=reason or None))

    def create(self, room: Room) -> Deferred[None]:
        return self._run(room.create)

    def destroy(self, room: Room) -> Deferred[None]:
        return self._run(room.destroy)

    def topic(self, room: Room) -> Deferred[str]:
        return self._run(lambda: room.topic or "")

    def set_topic(self, room: Room, topic: str) -> Deferred[None]:
        return self._run(lambda: setattr(room, "topic", topic))

    def members(self, room: Room) -> Deferred[Sequence[RoomOccupant]]:
        return self._run(lambda: room.occupants)

    def invite(self, room: Room, person: str) -> Deferred[None]:
        return self._run(lambda: room.invite(person))

    def _run(self, function: Callable[[], T]) -> Deferred[T]:
        return self.pool.run(lambda: function)


def name_of(somebody: Any) -> str:
    """Return the nick of an occupant, or the name of a person."""
    return getattr(somebody, "nick", None) or getattr(somebody, "person", None) or str(somebody)
