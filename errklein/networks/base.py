"""Base classes: of all networks, and of those inside this process, such as Text and Test, with their persons, occupants and rooms."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from secrets import token_hex
from typing import Any, ClassVar, NoReturn, cast

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from errklein.chat import ONLINE, Identifier, Message, Person, Room, RoomNotJoinedError, RoomOccupant, read_only
from errklein.chat.features import BARE, Features, operations
from errklein.chat.handles import Handle, MessageRef
from errklein.chat.identifiers import LookupFailed, same_network
from errklein.chat.operations import NOTHING_ELSE, Edit, Kind, Operation, Unsupported, Wanted
from errklein.chat.outgoing import MessageRecord, MessageState, OutgoingMessage, Wait, waiting_record
from errklein.config.networks import IdentityKey, NetworkSettings, check_text
from errklein.networks._connection import Connection
from errklein.networks.context import MESSAGE_SIZE_LIMIT, Latest, NetworkContext
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.ports.chat import Backend, BackendEvents
from errklein.ports.outbox import OutboxClosed, OutboxStatus, OutboxStore, RecipientStatus, give
from errklein.ports.receipts import Receipt
from errklein.running import on_reactor_soon
from errklein.running.context import causing_delivery, origin
from errklein.text import PARTS_CAP, plain, split_rendered

_MENTION = re.compile(r"(?<!\S)@[^\s@/#]*\w")
EVERYTHING = Features(threads=True, edits=True, deletions=True, reactions=True, files=True, mentions=True)
LOCAL_SETTINGS = NetworkSettings({"username": IdentityKey(check_text, "`err`", "the bot's name")}, accepts_others=True)
"""The settings of networks inside this process."""


class NetworkBase(Backend):
    """Defaults of `ports.chat.Backend` and, apart from `parts` and `transmit`, of `outbox.Transport`."""

    outbox: Any = None
    name_form = "@{}"  # how a text begins that is for somebody
    build_message = staticmethod(Message)  # type: ignore[assignment]
    events: BackendEvents | None = None
    """Receives the events; None before `connect`."""
    joined_rooms: Sequence[Room] = ()
    window: int = 1
    serial: bool = True

    def __init__(self, config: Any) -> None:
        self.config = config
        self.network = config.network
        self.message_size_limit = getattr(config, "MESSAGE_SIZE_LIMIT", None) or MESSAGE_SIZE_LIMIT

    def send_message(self, message: Message) -> Receipt:
        if not (message.thread or message.mentioned or message.quote or message.choices):
            return self.perform(message, NOTHING_ELSE)
        wanted = Wanted(mentions=message.mentioned, quote=message.quote, choices=message.choices)
        return self.perform(message, wanted.into(message.thread))

    def perform(self, message: Message, wanted: Wanted, file: bytes = b"") -> Receipt:
        to, options = self.recipient_of(message, wanted), {"priority": message.priority, "stored": not message.unstored}
        details = self.details_of(message)
        accepted: Receipt = self.outbox.perform(to, message.body, wanted, file, details=details, **options)
        return accepted

    def estimate(self, body: str) -> int:
        return min(PARTS_CAP, 1 + body.count("\n") + len(body) // self.message_size_limit)

    def is_certain(self, person: Identifier) -> bool:
        return False

    def take_turn(self, recipient: str) -> float:
        return 0.0

    def report(self, event: str, *details: Any, **options: Any) -> None:
        """Call a method of the events, after `connect`."""
        if self.events is not None:
            getattr(self.events, event)(self, *details, **options)

    def dropped(self, count: int, reason: str) -> None:
        self.report("messages_dropped", count, reason)

    def undelivered(self, recipient: str, origins: Mapping[str, int], reason: str, waiting: bool) -> None:
        self.report("messages_undelivered", recipient, origins, reason, waiting=waiting)

    def details_of(self, message: Message) -> str:
        """Return what `transmit` needs besides the text, also after a restart; by default the id of `parent`."""
        return self.replied_to(message)

    def recipient_of(self, message: Message, wanted: Wanted) -> str:
        """Return the text of the recipient: that of `to`, or else the room of the target; "" if only its handle is known."""
        if message.to is None:
            if wanted.target:
                return wanted.target.room if isinstance(wanted.target, MessageRef) else ""
            raise ValueError("a message needs a recipient: `to` is None")
        if message.to.network not in ("", self.network):
            raise ValueError(f"the recipient must be a person or room of {self.network}, not {message.to!r}")
        return str(message.to)

    def wait_of(self, record: MessageRecord) -> Wait | None:
        found: Wait | None = self.outbox.wait_of(record.id)
        return found

    def build_reply(self, message: Message, text: str, private: bool = False, threaded: bool = False) -> Message:
        """Return a reply to the room of the message, or to its sender if the message is direct or `private` is set. The
        reply is in the thread of the message. With `threaded`, a message outside of threads begins one."""
        reply, to_room = self.build_message(text), message.is_group and not private
        reply.frm, reply.to = self.bot_identifier, message.to if to_room else self.person_of(message.frm)
        reply.parent = message if threaded else None
        if to_room or message.is_direct:
            reply.thread = message.thread or (message.ref.id if threaded and message.ref is not None else "")
        return reply

    def replied_to(self, message: Message) -> str:
        """Return the id of `parent`, if the message goes to the same place; "" otherwise."""
        parent = message.parent
        is_there = parent is not None and message.to == (parent.to if parent.is_group else parent.frm)
        return parent.ref.id if parent and parent.ref and is_there else ""

    def person_of(self, sender: Identifier | None) -> Identifier | None:
        """Return whom a private reply to a sender goes to: the person of an occupant."""
        if isinstance(sender, RoomOccupant) and isinstance(sender, Person):
            return self.build_identifier(sender.person)
        return sender

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        name = identifier.nick or identifier.person if isinstance(identifier, Person) else str(identifier)
        # Markdown recognises headings and tables only at the beginning of a line.
        space = "\n\n" if message.body.startswith(("#", "|")) else " "
        message.body = f"{self.name_form.format(plain(name.removeprefix('@')))}{space}{message.body}"
        message.mentioned = (*message.mentioned, str(self.person_of(identifier)))

    def rooms(self) -> Sequence[Room]:
        return self.joined_rooms


class ConnectedNetwork(NetworkBase):
    """Base class of networks with a connection to a server, and an outbox, whose `Transport` they implement. `options` are further
    ones of it. The coroutine function `session` connects, calls `self.connection.connected()`, and reads events until the end."""

    session: Any
    _features = BARE
    place: str = ""
    reconnect_after: float | None = None

    def __init__(self, context: NetworkContext, **options: Any) -> None:
        super().__init__(context.config)
        self.context = context
        options |= {"dropped": self.dropped, "undelivered": self.undelivered, "broken": self.broken}
        self.outbox = context.outbox(cast(Any, self), unavailable=self.unavailable, **options)
        self.connection = Connection(context, self.session, self.outbox, self.place, self.reconnect_after)

    def unavailable(self, recipient: str) -> str | None:
        """Return why messages to a recipient wait; None if they don't."""
        return None

    def features(self, to: Identifier | str) -> Features:
        return self._features

    def parts(self, operation: Operation, message: OutgoingMessage, original: Message | None) -> Sequence[Any]:
        return [(message, operation)]

    def transmit(self, parts: Sequence[Any], keys: Sequence[str]) -> Sequence[Deferred[Any]]:
        return [Deferred.fromCoroutine(self._transmit(*given)) for given in zip(parts, keys, strict=True)]

    async def _transmit(self, part: tuple[OutgoingMessage, Operation], key: str) -> str | None:
        if not self.connection.is_connected:
            raise NotConfirmed(f"{self.network} is not connected")
        return await self.send_operation(*part, key)

    async def send_operation(self, message: OutgoingMessage, operation: Operation, key: str) -> str | None:
        """Let the network do what an operation of a message says, and return the id of a new message. See `outbox.Transport`
        for the key and for exceptions. A network may instead override `parts` and `transmit`."""
        raise NotImplementedError

    def broken(self, error: NotConfirmed) -> None:
        """End the session, since nothing is sent before the next one."""
        self.connection.interrupt(error)

    def recipient_of(self, message: Message, wanted: Wanted) -> str:
        """Return the text of the recipient. A message to an occupant is private."""
        text, to = super().recipient_of(message, wanted), message.to
        return to.person if isinstance(to, RoomOccupant) and isinstance(to, Person) else text

    def resolve(self, text: str) -> Deferred[Identifier]:
        def failed(failure: Failure) -> NoReturn:
            failure.trap(NotConfirmed, RetryLater)
            raise LookupFailed(str(failure.value)) from failure.value

        return Deferred.fromCoroutine(self.look_up(text)).addErrback(failed)

    async def look_up(self, text: str) -> Identifier:
        """Return what the text names, after asking the server if necessary. NotConfirmed and RetryLater become LookupFailed."""
        return self.build_identifier(text)

    def connect(self, events: BackendEvents) -> None:
        self.events = events
        self.connection.start(self, events)

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        return self.connection.disconnect(grace)

    def wait_of(self, record: MessageRecord) -> Wait | None:
        wait = super().wait_of(record)
        if wait is not None and self.connection.is_connected and self.unavailable(record.recipient) is not None:
            return self.room_status(record.recipient) or wait
        return wait


class SentAtOnce:
    """The outbox of a network on which no message waits. Implements `ports.outbox.NetworkOutbox`."""

    def __init__(
        self,
        network: str,
        now: Callable[[], float] = time.time,
        send: Callable[[OutgoingMessage], object] = lambda message: None,
    ) -> None:
        self._network, self._now, self._send = network, now, send
        self._store: OutboxStore | None = None
        self._is_shared = False
        self.given: Callable[[], object] | None = None
        self._sent = 0

    @property
    def status(self) -> OutboxStatus:
        return OutboxStatus(0, 0, 0, 0.0, self._sent)

    def recipients(self) -> Sequence[RecipientStatus]:
        return ()

    def drop(self, recipient: str, reason: str) -> int:
        return 0

    def use_store(
        self,
        store: OutboxStore,
        given: Callable[[], object] | None = None,
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        """Store what becomes of the messages of deliveries from now on."""
        self._store, self.given, self._is_shared = store, given, self._is_shared or given is not None

    def take(self, messages: Sequence[OutgoingMessage]) -> None:
        """See `NetworkOutbox.take`. What an earlier run of a bot of one process has left stays in the store."""
        self.given = None
        for message in messages if self._is_shared else ():
            assert self._store is not None
            self._send(message)
            self._store.end(waiting_record(message)._replace(state=MessageState.SENT, at=self._now()))

    def give(self, message: OutgoingMessage, receipt: Receipt) -> None:
        """Give a message to the process that is connected, since this one isn't."""
        assert self.given is not None and self._store is not None
        give(self._store, message, receipt)
        self.given()

    def wait_of(self, id: int) -> None:
        pass

    def note(self, recipient: str) -> None:
        """Note that a message was sent, in any thread in the context of its delivery."""
        self._sent += 1
        if self._store is not None and (delivery := causing_delivery()):
            sent, at = MessageState.SENT, self._now()
            self._store.end(MessageRecord(0, self._network, recipient, delivery, sent, at))


class LocalPerson(Person):
    """A person, identified by name and network. `client` is the device."""

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
        self._person, self._client, self._nick, self._fullname, self._email = person, client, nick, fullname, email

    @property
    def nick(self) -> str | None:
        return self._nick

    @property
    def aclattr(self) -> str:
        return self._person

    @property
    def email(self) -> str:
        return self._email or ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalPerson) and self._key() == other._key() and same_network(self, other)

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        return self._person

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def _key(self) -> tuple[object, ...]:
        return (self._person,)


class Member(RoomOccupant):
    """What makes a LocalPerson the occupant of `_room`: `str()` returns `room/person`, and equal ones are in the same room."""

    _person: str
    _room: Any
    room: Any = read_only("_room", "The room that the person is in.")

    def __str__(self) -> str:
        return f"{self._room}/{self._person}"

    def _key(self) -> tuple[object, ...]:
        # The room's text may change: it is resolved.
        return self._person, self._room


class LocalOccupant(Member, LocalPerson):
    """A person in a room, identified by name, room and network."""

    def __init__(self, person: str, room: Room, nick: str | None = None) -> None:
        super().__init__(person, nick=nick)
        self._room = room

    @property
    def nick(self) -> str | None:
        return super().nick or self.person


class NamedRoom(Room):
    """A room, identified by name and network, that the bot is in. Its topic and its people aren't known."""

    exists: bool = True
    joined: bool = True

    def __init__(self, name: str, network: str = "") -> None:
        self.name, self.network = name, network

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedRoom) and self.name == other.name and same_network(self, other)

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


class LocalRoom(NamedRoom):
    """A room, identified by name and network. Joining it creates it. `bot` is the network, which reports changes to
    plugins; None for a room that belongs to none."""

    exists: bool = read_only("_exists", "True if the room was created or joined.")
    joined: bool = read_only("_joined", "True if the bot is in the room.")

    def __init__(
        self,
        name: str,
        occupants: Sequence[RoomOccupant] = (),
        topic: str | None = None,
        bot: LocalBackend | None = None,
    ) -> None:
        super().__init__(name, bot.network if bot is not None else "")
        self._occupants, self._topic, self._backend = list(occupants or ()), topic, bot
        self._exists = self._joined = False

    def join(self, username: str | None = None, password: str | None = None) -> None:
        self._exists = True
        if not self._joined:
            self._joined = True
            self._notify("room_joined")

    def leave(self, reason: str | None = None) -> None:
        if self._joined:
            self._joined = False
            self._notify("room_left")

    def create(self) -> None:
        self._exists = True

    def destroy(self) -> None:
        self.leave()
        self._exists = False

    def invite(self, *args: Identifier | str) -> None:
        for guest in args:
            self.enter(guest.person if isinstance(guest, Person) else str(guest))

    def enter(self, name: str) -> LocalOccupant:
        """Return the occupant of that name, after adding it to the occupants if it is missing."""
        entering = self.occupant_named(name)
        known = (one for one in self._occupants if isinstance(one, LocalOccupant) and one.person == entering.person)
        if (found := next(known, None)) is None:
            self._occupants.append(entering)
        return found or entering

    def occupant_named(self, name: str) -> LocalOccupant:
        """Return an identifier for a person in this room, without adding it to the occupants."""
        made = self._backend.occupant_type if self._backend is not None else LocalOccupant
        occupant = made(name, self)
        occupant.network = self.network
        return occupant

    @property
    def topic(self) -> str | None:
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
        self._must_be_joined()
        return list(self._occupants)

    def __getstate__(self) -> dict[str, Any]:
        # Plugins store identifiers. The network can't be pickled, and who is in the room changes.
        return {**vars(self), "_backend": None, "_occupants": [], "_joined": False}

    def _must_be_joined(self) -> None:
        if not self._joined:
            raise RoomNotJoinedError(f"the bot is not in {self}")

    def _notify(self, event: str) -> None:
        if self._backend is not None:
            self._backend.notify(event, self, self._backend.bot_in(self))


class LocalBackend(NetworkBase):
    """Base class of networks inside this process, on which messages are sent at once. Create instances in the reactor's
    thread. Subclasses set `mode` and the classes of identifiers, and override `show`."""

    default_name: ClassVar[str] = "err"
    """The bot's name if BOT_IDENTITY has no `username`."""
    joins_configured_rooms = True
    is_encrypted = True
    person_type: ClassVar[type[LocalPerson]] = LocalPerson
    occupant_type: ClassVar[type[LocalOccupant]] = LocalOccupant
    room_type: ClassVar[type[LocalRoom]] = LocalRoom

    def __init__(self, reactor: Any, config: Any, now: Callable[[], float] = time.time) -> None:
        super().__init__(config)
        self.presence: tuple[str, str] = (ONLINE, "")
        self._reactor = reactor
        self.outbox = self._at_once = SentAtOnce(self.network, now, self._send_given)
        self._time = now
        self._process, self._numbers = token_hex(8), count(1)
        self._rooms: dict[str, LocalRoom] = {}
        self._refs: dict[str, Sequence[MessageRef]] = Latest()
        self._disconnected = False
        name = config.BOT_IDENTITY.get("username") or self.default_name
        self.bot_identifier: LocalPerson = self.person_named(str(name))

    def connect(self, events: BackendEvents) -> None:
        self.events = events
        events.backend_connected(self)
        for room in getattr(self.config, "CHATROOM_PRESENCE", ()):
            self.query_room(room if isinstance(room, str) else room[0]).join()

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        self._disconnected = True
        return succeed(None)

    def perform(self, message: Message, wanted: Wanted, file: bytes = b"") -> Receipt:
        if self._disconnected:
            raise OutboxClosed(f"the bot has disconnected from {self.network}; the message can't be sent")
        changed = wanted.target if wanted.kind in (Kind.EDIT, Kind.DELETE) and isinstance(wanted.target, str) else ""
        receipt = Receipt(changed or f"{self.network}/{self._process}-{next(self._numbers):x}")
        to = self.recipient_of(message, wanted)
        if self._at_once.given is None:
            self.carry_out(receipt, message, wanted, file, to)
            return receipt
        what, key, at = "" if wanted is NOTHING_ELSE else wanted.as_json(), Handle(receipt).key, self._time()
        fields = (message.priority, at, 0.0, "", causing_delivery(), key, what, file)
        self._at_once.give(OutgoingMessage(0, self.network, to, message.body, origin.get(), *fields), receipt)
        return receipt

    def _send_given(self, given: OutgoingMessage) -> None:
        message = Message(given.body, self.bot_identifier, self.build_identifier(given.recipient))
        message.priority = given.priority
        wanted = Wanted.from_json(given.wanted) if given.wanted else NOTHING_ELSE
        self.carry_out(Receipt(f"{self.network}/{given.key}"), message, wanted, given.file, given.recipient)

    def carry_out(self, receipt: Receipt, message: Message, wanted: Wanted, file: bytes, to: str) -> None:
        target = wanted.target
        known = [target] if isinstance(target, MessageRef) else self._refs.get(target, ())
        try:
            made = operations(wanted, message.body, self.features(to), known, split_rendered, file)
        except Unsupported as error:
            receipt.settle(Failure(error))
            return
        shown = [(one, self.show(one, message, to, len(made) > 1)) for one in made]
        refs = [one.ref if isinstance(one, Edit) else ref for one, ref in shown]
        receipt.refs = [ref for ref in refs if ref is not None]
        if receipt.refs or receipt in self._refs:
            self._refs[str(receipt)] = receipt.refs
        self._at_once.note(to)
        receipt.settle(Handle(receipt))

    def show(self, operation: Operation, message: Message, to: str, partial: bool) -> MessageRef | None:
        """Show an operation for an accepted message. Return the id of what is new. The base class drops it. `partial`
        states that there are further operations for the message."""
        return None

    def is_certain(self, person: Identifier) -> bool:
        return True

    def build_identifier(self, text: str) -> Identifier:
        if not text.strip():
            raise ValueError("the name of a person or room must not be blank")
        if text.startswith("#"):
            return self.query_room(text)
        return self.person_named(text)

    def rooms(self) -> Sequence[Room]:
        return [room for room in self._rooms.values() if room.joined]

    def room_status(self, name: str) -> Wait | None:
        return Wait(f"the bot is in {name}") if name in self._rooms and self._rooms[name].joined else None

    def query_room(self, name: str) -> LocalRoom:
        """Return the room of that name, which need not exist. The same name returns the same object."""
        return self._rooms.get(name) or self._rooms.setdefault(name, self.room_type(name, bot=self))

    def person_of(self, sender: Identifier | None) -> Identifier | None:
        return self.person_named(sender.person) if isinstance(sender, LocalOccupant) else sender

    def change_presence(self, status: str, message: str) -> None:
        self.presence = (status, message)

    def person_named(self, name: str) -> LocalPerson:
        person = self.person_type(name)
        person.network = self.network
        return person

    def bot_in(self, room: LocalRoom) -> Identifier:
        return self.bot_identifier

    def person_mentioned(self, name: str) -> LocalPerson:
        """Return the person for a mention; `name` begins with `@`."""
        return self.person_named(name)

    def receive_message(self, message: Message) -> None:
        """Report a message, and then the people whom it mentions as `@name`. Call it on the reactor."""
        self.report("message_received", message)
        if people := [self.person_mentioned(name) for name in _MENTION.findall(message.body)]:
            self.report("mention_received", message, people)

    def notify(self, event: str, *args: Any) -> None:
        """Call the method `event` of BackendEvents on the reactor. May be called from any thread."""
        if self.events is not None:
            on_reactor_soon(self._reactor, self.report, event, *args)
