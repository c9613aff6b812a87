"""Shared parts of the networks inside this process: persons by name, and rooms that exist once entered."""

from __future__ import annotations

import re
import threading
from collections.abc import Awaitable, Sequence
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, succeed

from errklein.chat import (
    ONLINE,
    Identifier,
    Message,
    Person,
    Room,
    RoomNotJoinedError,
    RoomOccupant,
    read_only,
    same_network,
)
from errklein.ports import BackendEvents, OutboxClosed
from errklein.running import on_reactor_soon

MESSAGE_SIZE_LIMIT = 10_000
"""Characters of a message in one part, unless MESSAGE_SIZE_LIMIT says otherwise."""

_MENTION = re.compile(r"(?<!\S)@[^\s@/#]*\w")


class LocalPerson(Person):
    """Somebody, by name. Two of the same name on the same network are equal."""

    person: str = read_only("_person", "The name.")
    client: str | None = read_only("_client", "The device, if one was given.")
    fullname: str | None = read_only("_fullname", "The long name, if one was given.")

    def __init__(
        self,
        person: str,
        client: str | None = None,
        nick: str | None = None,
        fullname: str | None = None,
        email: str | None = None,
    ) -> None:
        self._person = person
        self._client = client
        self._nick = nick
        self._fullname = fullname
        self._email = email

    @property
    def nick(self) -> str | None:
        """The short name, if one was given."""
        return self._nick

    @property
    def aclattr(self) -> str:
        """The name."""
        return self._person

    @property
    def email(self) -> str:
        """The mail address, or an empty string."""
        return self._email or ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalPerson) and self._key() == other._key() and same_network(self, other)

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        return self._person

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def _key(self) -> tuple[str, ...]:
        return (self._person,)


class LocalOccupant(RoomOccupant, LocalPerson):
    """Somebody in a room."""

    room: Room = read_only("_room", "The room.")

    def __init__(self, person: str, room: Room) -> None:
        super().__init__(person)
        self._room = room

    @property
    def nick(self) -> str | None:
        """What the others in the room see."""
        return super().nick or self.person

    def __str__(self) -> str:
        return f"{self._room}/{self._person}"

    def _key(self) -> tuple[str, ...]:
        return (self._person, str(self._room))


class LocalRoom(Room):
    """A room by name, which is made when the bot enters it. Two of the same name on the same network are equal."""

    exists: bool = read_only("_exists", "Whether anybody made the room.")
    joined: bool = read_only("_joined", "Whether the bot is in the room.")

    def __init__(
        self,
        name: str,
        occupants: Sequence[RoomOccupant] | None = None,
        topic: str | None = None,
        bot: LocalBackend | None = None,
    ) -> None:
        self.name = name
        self._occupants = list(occupants or ())
        self._topic = topic
        self._backend = bot
        self._exists = False
        self._joined = False
        self.network = bot.network if bot is not None else ""

    def join(self, username: str | None = None, password: str | None = None) -> None:
        """Enter the room, which is made if need be."""
        self._exists = True
        if not self._joined:
            self._joined = True
            self._notify("room_joined")

    def leave(self, reason: str | None = None) -> None:
        """Leave the room."""
        if self._joined:
            self._joined = False
            self._notify("room_left")

    def create(self) -> None:
        """Make the room."""
        self._exists = True

    def destroy(self) -> None:
        """Leave the room, and forget it."""
        self.leave()
        self._exists = False

    def invite(self, *args: Identifier | str) -> None:
        """Let those come in."""
        for guest in args:
            self.enter(guest.person if isinstance(guest, Person) else str(guest))

    def enter(self, name: str) -> LocalOccupant:
        """The occupant of that name, who is in the room from now on."""
        for occupant in self._occupants:
            if isinstance(occupant, LocalOccupant) and occupant.person == name:
                return occupant
        occupant = self.occupant_named(name)
        self._occupants.append(occupant)
        return occupant

    def occupant_named(self, name: str) -> LocalOccupant:
        """The person of that name in this room, whether there or not."""
        made = self._backend.occupant_type if self._backend is not None else LocalOccupant
        occupant = made(name, self)
        occupant.network = self.network
        return occupant

    @property
    def topic(self) -> str | None:
        """The topic; raises RoomNotJoinedError."""
        self._must_be_joined()
        return self._topic

    @topic.setter
    def topic(self, topic: str) -> None:
        self._must_be_joined()
        self._topic = topic
        if self._backend is not None:
            self._backend.notify("room_topic_changed", self)

    @property
    def occupants(self) -> Sequence[RoomOccupant]:
        """Who is in the room besides the bot; raises RoomNotJoinedError."""
        self._must_be_joined()
        return list(self._occupants)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalRoom) and self.name == other.name and same_network(self, other)

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def _must_be_joined(self) -> None:
        if not self._joined:
            raise RoomNotJoinedError(f"the bot is not in {self}")

    def _notify(self, event: str) -> None:
        if self._backend is not None:
            self._backend.notify(event, self, self._backend.bot_in(self))


class LocalBackend:
    """A network within this process. The thread that creates it is the reactor's."""

    mode: str
    default_name: ClassVar[str] = "err"
    """The name of the bot without a `username` in BOT_IDENTITY."""
    joins_configured_rooms = True

    person_type: ClassVar[type[LocalPerson]] = LocalPerson
    occupant_type: ClassVar[type[LocalOccupant]] = LocalOccupant
    room_type: ClassVar[type[LocalRoom]] = LocalRoom

    def __init__(self, reactor: Any, config: Any) -> None:
        self.network: str = config.network
        self.message_size_limit: int = getattr(config, "MESSAGE_SIZE_LIMIT", None) or MESSAGE_SIZE_LIMIT
        self.presence: tuple[str, str] = (ONLINE, "")
        self._reactor = reactor
        self.config = config
        self._reactor_thread = threading.get_ident()
        self._events: BackendEvents | None = None
        self._rooms: dict[str, LocalRoom] = {}
        self._disconnected = False
        self.bot_identifier = self.person_named(str(config.BOT_IDENTITY.get("username") or self.default_name))

    def connect(self, events: BackendEvents) -> None:
        """Tell `events` from now on; the bot enters the rooms of CHATROOM_PRESENCE."""
        self._events = events
        events.backend_connected(self)
        for room in getattr(self.config, "CHATROOM_PRESENCE", ()):
            self.query_room(room if isinstance(room, str) else room[0]).join()

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """Accept no more messages."""
        self._disconnected = True
        return succeed(None)

    def send_message(self, message: Message) -> Awaitable[None] | None:
        """Accept the message. Raises ValueError without an addressee, OutboxClosed after `disconnect`."""
        if self._disconnected:
            raise OutboxClosed(f"{self.network} has been left, nothing more is sent there")
        self.check_addressee(message)
        self.show(message)
        return succeed(None) if threading.get_ident() == self._reactor_thread else None

    def show(self, message: Message) -> None:
        """Show a message that was accepted; by default it is dropped."""

    def build_identifier(self, text: str) -> Identifier:
        """The person or room of that name; raises ValueError for nothing at all."""
        if not text.strip():
            raise ValueError("a person or room needs a name")
        if text.startswith("#"):
            return self.query_room(text)
        return self.person_named(text)

    def build_reply(self, message: Message, text: str, private: bool = False, threaded: bool = False) -> Message:
        """An answer to the room, or to the person."""
        to = message.frm
        if message.is_group and not private:
            to = message.to
        elif isinstance(to, LocalOccupant):
            to = self.person_named(to.person)
        return Message(text, frm=self.bot_identifier, to=to, parent=message if threaded else None)

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Begin the message with the person's name."""
        name = str(identifier)
        if isinstance(identifier, Person):
            name = identifier.nick or identifier.person
        # A heading or a table is one only at the beginning of a line.
        space = "\n\n" if message.body.startswith(("#", "|")) else " "
        message.body = f"@{name.removeprefix('@')}{space}{message.body}"

    def is_from_self(self, message: Message) -> bool:
        """Whether the bot said it."""
        return message.frm == self.bot_identifier

    def rooms(self) -> Sequence[Room]:
        """The rooms that the bot is in."""
        return [room for room in self._rooms.values() if room.joined]

    def query_room(self, name: str) -> LocalRoom:
        """The room of that name, whether it exists already or not."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms.setdefault(name, self.room_type(name, bot=self))
        return room

    def change_presence(self, status: str, message: str) -> None:
        """Keep it as `presence`, since there is nobody to see it."""
        self.presence = (status, message)

    def person_named(self, name: str) -> LocalPerson:
        """The person of that name on this network."""
        person = self.person_type(name)
        person.network = self.network
        return person

    def bot_in(self, room: LocalRoom) -> Identifier:
        """The bot, as it is told that it is in the room."""
        return self.bot_identifier

    def person_mentioned(self, name: str) -> LocalPerson:
        """The person whom a message mentions as `@name`."""
        return self.person_named(name)

    def receive_message(self, message: Message) -> None:
        """Tell of a message, and then of those whom it mentions as `@name`."""
        if self._events is None:
            return
        self._events.message_received(self, message)
        people = [self.person_mentioned(name) for name in _MENTION.findall(message.body)]
        if people:
            self._events.mention_received(self, message, people)

    def notify(self, event: str, *args: Any) -> None:
        """Call that method of BackendEvents on the reactor, from any thread."""
        if self._events is not None:
            on_reactor_soon(self._reactor, getattr(self._events, event), self, *args)

    def check_addressee(self, message: Message) -> None:
        """Raise ValueError if the message is for nobody."""
        if message.to is None:
            raise ValueError("a message needs an addressee")
