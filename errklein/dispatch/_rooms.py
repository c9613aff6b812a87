"""Operations of administrators on rooms, in a chat and on a web page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.chat import Room, RoomError
from errklein.commands.operations import Actor, operation
from errklein.dispatch._networks import Networks
from errklein.ports.chat import ConfirmsRoomCommands
from errklein.running import ThreadWaits

REPLY_TIMEOUT = 10.0
"""The time to wait for the network's reply, in seconds."""


@dataclass(frozen=True)
class JoinedRoom:
    """A room that the bot is in."""

    network: str
    name: str


class RoomOperations:
    """Lists, joins and changes rooms. The network of a room is selected as by `Networks.query_room`.

    Call the methods in threads, since the networks of errbot's backends may ask a server. They raise RoomError with the reason if
    the network refuses, NotImplementedError if it doesn't support the operation, and ValueError for an invalid name.
    """

    log = Logger(namespace="errklein.dispatch")

    def __init__(self, reactor: Any, networks: Networks, waits: ThreadWaits) -> None:
        self._reactor = reactor
        self._networks = networks
        self._waits = waits

    @operation("room_list")
    def rooms(self, by: Actor) -> list[JoinedRoom]:
        """Return the rooms that the bot is in."""
        return [JoinedRoom(room.network, str(room)) for room in self._networks.rooms()]

    @operation("room_join", "name", "password")
    def join(self, by: Actor, name: str, password: str | None = None) -> bool:
        """Join a room, which most networks create if it is missing. Return False if the network hasn't confirmed it yet."""
        room = self._networks.query_room(name)
        username = self._networks.config(self._networks.of(room)).CHATROOM_FN
        self._confirmed(lambda: room.join(username=username, password=password), "JOIN", room)
        with suppress(NotImplementedError):
            return room.joined is not False
        return True

    def join_missing(self, names: Iterable[str]) -> None:
        """Join those of the rooms that the bot isn't in, such as rooms of webhooks. Failures are logged."""
        for name in names:
            try:
                room = self._networks.query_room(name)
                if not room.joined:
                    room.join(username=self._networks.config(self._networks.of(room)).CHATROOM_FN)
            except Exception as error:
                self.log.warn("The room {name} could not be joined: {reason}", name=name, reason=str(error))

    @operation("room_leave", "name", "reason")
    def leave(self, by: Actor, name: str, reason: str | None = None) -> None:
        """Leave a room."""
        self._networks.query_room(name).leave(reason=reason)

    @operation("room_create", "name")
    def create(self, by: Actor, name: str) -> None:
        """Create a room."""
        self._networks.query_room(name).create()

    @operation("room_destroy", "name")
    def destroy(self, by: Actor, name: str) -> None:
        """Destroy a room for all its occupants."""
        self._networks.query_room(name).destroy()

    @operation("room_invite", "name", "people")
    def invite(self, by: Actor, name: str, people: Sequence[str]) -> None:
        """Invite people to a room."""
        room = self._networks.query_room(name)
        one_by_one = isinstance(self._networks.of(room), ConfirmsRoomCommands)
        for some in [[person] for person in people] if one_by_one else [people]:
            self._confirmed(partial(room.invite, *some), "INVITE", room, some[0])

    @operation("room_occupants", "name")
    def occupants(self, by: Actor, name: str) -> list[str]:
        """Return the names of the people in a room, sorted."""
        return sorted(map(name_of, self._networks.query_room(name).occupants))

    @operation("room_topic", "name")
    def topic(self, by: Actor, name: str) -> str:
        """Return the topic of a room; "" if it has none."""
        return self._networks.query_room(name).topic or ""

    @operation("room_topic", "name", "topic")
    def set_topic(self, by: Actor, name: str, topic: str) -> None:
        """Set the topic of a room."""
        room = self._networks.query_room(name)
        self._confirmed(lambda: setattr(room, "topic", topic), "TOPIC", room)

    def _confirmed(self, act: Callable[[], object], command: str, room: Room, person: str = "") -> None:
        """Act, and wait for the network's reply if it comes later. Raises RoomError if the network refuses."""
        backend = self._networks.of(room)
        if not isinstance(backend, ConfirmsRoomCommands):
            act()
            return

        def begin() -> Deferred[str]:
            act()
            refusal = backend.room_refusal(command, room, person)
            return refusal.addTimeout(REPLY_TIMEOUT, self._reactor, lambda *_: "the network hasn't replied yet")

        if refusal := self._waits.result_of(begin):
            raise RoomError(f"{person}: {refusal}" if person else refusal)


def name_of(somebody: Any) -> str:
    """Return the nick of an occupant, or the name of a person."""
    return getattr(somebody, "nick", None) or getattr(somebody, "person", None) or str(somebody)
