"""Base classes of networks inside this process, such as Text and Test, with their persons, occupants and rooms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from secrets import token_hex
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
from errklein.chat.handles import Handle
from errklein.chat.outgoing import MessageRecord, Wait
from errklein.config.identity import IdentityKey, NetworkSettings, check_text
from errklein.ports.chat import BackendEvents
from errklein.ports.outbox import OutboxClosed
from errklein.ports.receipts import Receipt
from errklein.running import on_reactor_soon

MESSAGE_SIZE_LIMIT = 10_000
"""The default of MESSAGE_SIZE_LIMIT, in characters: longer messages are split."""

_MENTION = re.compile(r"(?<!\S)@[^\s@/#]*\w")


LOCAL_SETTINGS = NetworkSettings({"username": IdentityKey(check_text, "`err`", "the bot's name")}, accepts_others=True)
"""The settings of networks inside this process."""


class LocalPerson(Person):
    """A person, identified by name and network.

    :param person: The name.
    :param client: The device; None by default, as `nick` and `fullname`.
    :param nick: The short name.
    :param fullname: The full name.
    :param email: The e-mail address.
    """

    person: str = read_only("_person", "The name.")
    client: str | None = read_only("_client", "The device, or None.")
    fullname: str | None = read_only("_fullname", "The full name, or None.")

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
        """The short name, or None."""
        return self._nick

    @property
    def aclattr(self) -> str:
        """The name, which BOT_ADMINS and access rules are matched against."""
        return self._person

    @property
    def email(self) -> str:
        """The e-mail address, or an empty string."""
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
    """A person in a room, identified by name, room and network. `str()` returns `room/person`."""

    room: Room = read_only("_room", "The room that the person is in.")

    def __init__(self, person: str, room: Room) -> None:
        super().__init__(person)
        self._room = room

    @property
    def nick(self) -> str | None:
        """The short name, or else the name."""
        return super().nick or self.person

    def __str__(self) -> str:
        return f"{self._room}/{self._person}"

    def _key(self) -> tuple[str, ...]:
        return (self._person, str(self._room))


class LocalRoom(Room):
    """A room, identified by name and network. Joining it creates it.

    :param name: The name, as `str()` returns it.
    :param occupants: The people in the room.
    :param topic: The topic.
    :param bot: The backend, which reports changes to plugins. None for a room that belongs to no backend.
    """

    exists: bool = read_only("_exists", "True if the room was created or joined.")
    joined: bool = read_only("_joined", "True if the bot is in the room.")

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
        """Join the room, and create it if it doesn't exist."""
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
        """Create the room."""
        self._exists = True

    def destroy(self) -> None:
        """Leave the room, and mark it as non-existent."""
        self.leave()
        self._exists = False

    def invite(self, *args: Identifier | str) -> None:
        """Add persons, or people by name, to the occupants."""
        for guest in args:
            self.enter(guest.person if isinstance(guest, Person) else str(guest))

    def enter(self, name: str) -> LocalOccupant:
        """Return the occupant of that name, after adding it to the occupants if it is missing."""
        for occupant in self._occupants:
            if isinstance(occupant, LocalOccupant) and occupant.person == name:
                return occupant
        occupant = self.occupant_named(name)
        self._occupants.append(occupant)
        return occupant

    def occupant_named(self, name: str) -> LocalOccupant:
        """Return an identifier for a person in this room, without adding it to the occupants."""
        made = self._backend.occupant_type if self._backend is not None else LocalOccupant
        occupant = made(name, self)
        occupant.network = self.network
        return occupant

    @property
    def topic(self) -> str | None:
        """The topic. Assign a string to set it; raises RoomNotJoinedError outside the room."""
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
        """The occupants apart from the bot; raises RoomNotJoinedError outside the room."""
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

    def __getstate__(self) -> dict[str, Any]:
        # Plugins store identifiers. The backend can't be pickled, and who is in the room changes.
        return {**vars(self), "_backend": None, "_occupants": [], "_joined": False}

    def _must_be_joined(self) -> None:
        if not self._joined:
            raise RoomNotJoinedError(f"the bot is not in {self}")

    def _notify(self, event: str) -> None:
        if self._backend is not None:
            self._backend.notify(event, self, self._backend.bot_in(self))


class LocalBackend:
    """Base class of backends for networks inside this process. Implements `ports.chat.Backend`.

    Create instances in the reactor's thread. Subclasses set `mode` and the classes of identifiers, and override `show`.

    :param reactor: The reactor.
    :param config: The configuration of this network.
    """

    mode: str
    default_name: ClassVar[str] = "err"
    """The bot's name if BOT_IDENTITY has no `username`."""
    joins_configured_rooms = True
    is_encrypted = True

    person_type: ClassVar[type[LocalPerson]] = LocalPerson
    occupant_type: ClassVar[type[LocalOccupant]] = LocalOccupant
    room_type: ClassVar[type[LocalRoom]] = LocalRoom
    build_message = staticmethod(Message)

    def __init__(self, reactor: Any, config: Any) -> None:
        self.network: str = config.network
        self.message_size_limit: int = getattr(config, "MESSAGE_SIZE_LIMIT", None) or MESSAGE_SIZE_LIMIT
        self.presence: tuple[str, str] = (ONLINE, "")
        self._reactor = reactor
        self.config = config
        self._process, self._numbers = token_hex(8), count(1)
        self._events: BackendEvents | None = None
        self._rooms: dict[str, LocalRoom] = {}
        self._disconnected = False
        self.bot_identifier = self.person_named(str(config.BOT_IDENTITY.get("username") or self.default_name))

    def connect(self, events: BackendEvents) -> None:
        """Report events to `events` from now on, and join the rooms of CHATROOM_PRESENCE."""
        self._events = events
        events.backend_connected(self)
        for room in getattr(self.config, "CHATROOM_PRESENCE", ()):
            self.query_room(room if isinstance(room, str) else room[0]).join()

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """Refuse further messages with OutboxClosed. There is no queue to send."""
        self._disconnected = True
        return succeed(None)

    def send_message(self, message: Message) -> Receipt:
        """Show the message; raises ValueError without a recipient, and OutboxClosed after `disconnect`."""
        if self._disconnected:
            raise OutboxClosed(f"the bot has disconnected from {self.network}; the message can't be sent")
        self.check_addressee(message)
        self.show(message)
        receipt = Receipt(self.network, f"{self._process}-{next(self._numbers):x}")
        receipt.callback(Handle(receipt))
        return receipt

    def show(self, message: Message) -> None:
        """Show an accepted message. The base class drops it."""

    def build_identifier(self, text: str) -> Identifier:
        """Return the room of a name that begins with `#`, and the person of any other; raises ValueError if it is blank."""
        if not text.strip():
            raise ValueError("the name of a person or room must not be blank")
        if text.startswith("#"):
            return self.query_room(text)
        return self.person_named(text)

    def build_reply(self, message: Message, text: str, private: bool = False, threaded: bool = False) -> Message:
        """Return a reply to the room of the message, or to its sender if the message is direct or `private` is set."""
        to = message.frm
        if message.is_group and not private:
            to = message.to
        elif isinstance(to, LocalOccupant):
            to = self.person_named(to.person)
        reply = self.build_message(text)
        reply.frm, reply.to, reply.parent = self.bot_identifier, to, message if threaded else None
        return reply

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Put the person's name, as `@name`, before the text."""
        name = str(identifier)
        if isinstance(identifier, Person):
            name = identifier.nick or identifier.person
        # Markdown recognises headings and tables only at the beginning of a line.
        space = "\n\n" if message.body.startswith(("#", "|")) else " "
        message.body = f"@{name.removeprefix('@')}{space}{message.body}"

    def is_from_self(self, message: Message) -> bool:
        """Return whether the bot is the sender."""
        return message.frm == self.bot_identifier

    def rooms(self) -> Sequence[Room]:
        """Return the rooms that the bot is in."""
        return [room for room in self._rooms.values() if room.joined]

    def wait_of(self, record: MessageRecord) -> None:
        """Return None, since messages are shown at once."""

    def room_status(self, name: str) -> Wait | None:
        """Return whether the bot is in a room; see `ports.chat.Backend`."""
        return Wait(f"the bot is in {name}") if name in self._rooms and self._rooms[name].joined else None

    def query_room(self, name: str) -> LocalRoom:
        """Return the room of that name, which need not exist. The same name returns the same object."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms.setdefault(name, self.room_type(name, bot=self))
        return room

    def change_presence(self, status: str, message: str) -> None:
        """Store both values in `presence`, where tests read them."""
        self.presence = (status, message)

    def person_named(self, name: str) -> LocalPerson:
        """Return the person of that name on this network."""
        person = self.person_type(name)
        person.network = self.network
        return person

    def bot_in(self, room: LocalRoom) -> Identifier:
        """Return the bot's identifier for events of the room."""
        return self.bot_identifier

    def person_mentioned(self, name: str) -> LocalPerson:
        """Return the person for a mention; `name` begins with `@`."""
        return self.person_named(name)

    def receive_message(self, message: Message) -> None:
        """Report a message, and then the people whom it mentions as `@name`. Call it on the reactor."""
        if self._events is None:
            return
        self._events.message_received(self, message)
        people = [self.person_mentioned(name) for name in _MENTION.findall(message.body)]
        if people:
            self._events.mention_received(self, message, people)

    def notify(self, event: str, *args: Any) -> None:
        """Call the method `event` of BackendEvents on the reactor. May be called from any thread."""
        if self._events is not None:
            on_reactor_soon(self._reactor, getattr(self._events, event), self, *args)

    def check_addressee(self, message: Message) -> None:
        """Raise ValueError if the message has no recipient."""
        if message.to is None:
            raise ValueError("a message needs a recipient: `to` is None")
