"""The Test network, in memory: tests put messages in, and read the messages of the bot."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from queue import Empty, Queue
from time import time
from typing import Any, BinaryIO

from errklein.chat import REACTION_ADDED, REACTION_REMOVED, Identifier, Message, Presence, Reaction, Room, RoomOccupant
from errklein.chat.features import Features
from errklein.chat.handles import MessageRef
from errklein.chat.messages import Attachment
from errklein.chat.operations import Delete, Edit, Operation, Post, Press, React, Upload, Wanted
from errklein.config.networks import Network
from errklein.networks.base import EVERYTHING, LOCAL_SETTINGS, LocalBackend, LocalOccupant, LocalPerson, LocalRoom
from errklein.ports.receipts import Receipt
from errklein.running import on_reactor_soon
from errklein.text import to_plain, without_mentions

QUIT_MESSAGE = "$STOP$"  # a message with this text stops the bot
STZ_MSG, STZ_PRE, STZ_IQ = 1, 2, 3
"""Kinds of items in the incoming queue, as errbot numbers them: message, presence, other."""


class TestPerson(LocalPerson):
    """A person on the Test network, with a name such as `gbin@localhost`."""

    __test__ = False


class TestOccupant(LocalOccupant):
    """A person in a room of the Test network; `str()` returns `person@room`. The room may be given by name."""

    __test__ = False

    def __init__(self, person: str, room: Room | str) -> None:
        super().__init__(person, TestRoom(room) if isinstance(room, str) else room)

    def __str__(self) -> str:
        return f"{self.person}@{self.room}"


class TestRoom(LocalRoom):
    """A room of the Test network. Instances with the same name and `bot` share their state."""

    __test__ = False

    def __init__(
        self, name: str, occupants: Sequence[RoomOccupant] = (), topic: str | None = None, bot: Any = None
    ) -> None:
        backend = getattr(bot, "test_backend", bot)
        super().__init__(name, occupants, topic, backend)
        if isinstance(backend, TestBackend):
            # Instances of one room share their attributes.
            self.__dict__ = backend.keep(self).__dict__

    def join(self, username: str | None = None, password: str | None = None) -> None:
        backend = self._backend
        if not self.joined and isinstance(backend, TestBackend) and backend.bot_in_rooms is not None:
            self.enter(backend.bot_in_rooms)
        super().join(username, password)

    def leave(self, reason: str | None = None) -> None:
        backend = self._backend
        if self.joined and isinstance(backend, TestBackend):
            self._occupants = [there for there in self._occupants if str(there) != f"{backend.bot_in_rooms}@{self}"]
        super().leave(reason)

    def _must_be_joined(self) -> None:
        """Do nothing: tests create rooms with a topic and occupants, and read them although the bot never joined."""


class TestRoomAcl(TestRoom):
    """The same as TestRoom, under a name that tests written for errbot import."""

    __test__ = False


class IncomingQueue(Queue[tuple[Any, ...]]):
    """A queue of items for the bot to receive: `(STZ_MSG, text, extras)` or `(STZ_PRE, presence)`. `item_received` is
    called after an item was added, in the thread that added it."""

    def __init__(self, item_received: Callable[[], None]) -> None:
        super().__init__()
        self._item_received = item_received

    def put(self, item: tuple[Any, ...], block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._item_received()


@dataclass(frozen=True)
class SentMessage:
    """A message of the bot, or the new text of one that it has edited, and its text rendered as plain text.
    `message.ref` is its id, and `message.edited` is true for an edit."""

    message: Message
    text: str


class TestBackend(LocalBackend):
    """A network in memory. `receive` delivers a message to the bot, and `sent` lists the bot's messages in order. Tests in threads
    other than the reactor's use `incoming_stanza_queue` for messages to the bot, and `outgoing_message_queue` for the bot's, as
    plain text. `sender` is the default sender, an identifier: the first of BOT_ADMINS unless a test assigns another one."""

    __test__ = False
    mode = "test"
    person_type, occupant_type, room_type = TestPerson, TestOccupant, TestRoom

    def __init__(self, reactor: Any, config: Any, now: Callable[[], float] = time) -> None:
        super().__init__(reactor, config, now)
        self._now = now
        admins = getattr(config, "BOT_ADMINS", ())
        self.sender: Identifier = self.person_named(next(iter(admins), "gbin@localhost"))
        self.sent: list[SentMessage] = []
        self.outgoing_message_queue: Queue[str | bytes] = Queue()
        """The bot's messages, as rendered text, and its files, as bytes."""
        self.incoming_stanza_queue = IncomingQueue(self._item_received)
        self._watchers: list[Callable[[SentMessage], None]] = []
        self.bot_in_rooms: str | None = None
        """The bot's name among the occupants of rooms that it joins; None to leave the bot out of the occupants."""
        self.neutralises_mentions = False
        """True to neutralise `@channel`, `@here` and the like as on networks that have them."""
        self.features_of_test = replace(EVERYTHING, choices=25, size=self.message_size_limit)
        """The features of all rooms; a test may assign others, such as `chat.features.BARE`."""
        self.operations: list[Operation] = []
        """What the bot has done, in order: messages, edits, deletions, reactions and files."""
        self.seen: dict[MessageRef, list[str]] = {}
        """The messages that people see now: the text, or the name of a file in brackets, and the bot's reactions."""
        self.buttons: dict[MessageRef, Sequence[str]] = {}
        """The labels of the buttons that the messages of the bot have now."""
        self._ids = count(1)
        self._busy_until = 0.0
        self._held: list[tuple[Receipt, Message, Wanted, bytes, str]] = []
        self._as_on_errbot = False

    def be_as_on_errbot(self) -> None:
        """Follow errbot's test backend in its names. The bot is `Err`, and `err` among the occupants of a room; `@bob`
        mentions `bob`; every name is a person's, also that of a room or an empty one."""
        self.bot_identifier = self.person_named("Err")
        self.bot_in_rooms = "err"
        self._as_on_errbot = True

    def keep(self, room: LocalRoom) -> LocalRoom:
        return self._rooms.setdefault(room.name, room)

    def bot_in(self, room: LocalRoom) -> Identifier:
        return self.bot_identifier if self.bot_in_rooms is None else room.occupant_named(self.bot_in_rooms)

    def person_mentioned(self, name: str) -> LocalPerson:
        return self.person_named(name.removeprefix("@") if self._as_on_errbot else name)

    def features(self, to: Identifier | str) -> Features:
        return self.features_of_test

    def retry_after(self, seconds: float) -> None:
        """Take what is sent only after so many seconds, as a network does that answers "429 Too Many Requests"."""
        self._busy_until = self._reactor.seconds() + seconds
        self._reactor.callLater(seconds, self._take_held)

    def carry_out(self, receipt: Receipt, message: Message, wanted: Wanted, file: bytes, to: str) -> None:
        if self._busy_until > self._reactor.seconds():
            self._held.append((receipt, message.clone(), wanted, file, to))
        else:
            super().carry_out(receipt, message, wanted, file, to)

    def show(self, operation: Operation, message: Message, to: str, partial: bool) -> MessageRef | None:
        """Record an operation: the new text of a message, too, in `sent`, and the content of a file in the outgoing queue."""
        self.operations.append(operation)
        match operation:
            case Post(text, thread, _, choices):
                ref, is_new = self._new_ref(to, thread), True
                if choices:
                    self.buttons[ref] = choices
            case Edit(ref, text):
                is_new = False
                self.buttons.pop(ref, None)
            case Upload(name, _, content, thread):
                self.outgoing_message_queue.put(content)
                self.seen[ref := self._new_ref(to, thread)] = [f"[{name}]"]
                return ref
            case Delete(ref):
                self.seen.pop(ref, None)
                self.buttons.pop(ref, None)
                return None
            case React(ref, emoji, is_removed):
                text, *others = self.seen.get(ref, [""])
                self.seen[ref] = [text, *(one for one in others if one != emoji), *([] if is_removed else [emoji])]
                return None
        part = message.clone()
        part.body = without_mentions(text) if self.neutralises_mentions and not message.mentions else text
        part.partial, part.ref, part.thread, part.edited = partial, ref, ref.thread, not is_new
        part.to = message.to or self.build_identifier(ref.room)
        self._add_sent(part)
        return ref if is_new else None

    def _add_sent(self, message: Message) -> None:
        sent = SentMessage(message, to_plain(message.body, compact=getattr(self.config, "COMPACT_OUTPUT", False)))
        self.sent.append(sent)
        if (ref := message.ref) is not None:
            self.seen[ref] = [sent.text, *self.seen.get(ref, ())[1:]]
        self.outgoing_message_queue.put(sent.text)
        for watcher in list(self._watchers):
            on_reactor_soon(self._reactor, watcher, sent)

    def _new_ref(self, room: str, thread: str) -> MessageRef:
        return MessageRef(self.network, room, f"m{next(self._ids)}", thread)

    def _take_held(self) -> None:
        held, self._held = self._held, []
        for what in held:
            super().carry_out(*what)

    def watch(self, watcher: Callable[[SentMessage], None]) -> None:
        self._watchers.append(watcher)

    def receive(
        self,
        text: str,
        frm: Identifier | str | None = None,
        to: Identifier | str | None = None,
        extras: Mapping[str, Any] | None = None,
        thread: str = "",
        attachments: Sequence[Attachment] = (),
    ) -> Message:
        """Deliver a message to the bot, and return it. Call it on the reactor. Sender and recipient may be names:
        `sender` and the bot by default. The sender of a message to a room becomes an occupant. `thread` is the id of
        the first message of the thread that the message is in."""
        listener = self.build_identifier(to) if isinstance(to, str) else to or self.bot_identifier
        speaker = self._speaker(frm, listener)
        message = Message(text, frm=speaker, to=listener, extras=extras)
        where = listener if isinstance(listener, LocalRoom) else speaker
        message.ref, message.thread = self._new_ref(str(where), thread), thread
        message.sent_at, message.attachments = self._now(), attachments
        self.seen[message.ref] = [text]
        self.receive_message(message)
        return message

    def _speaker(self, frm: Identifier | str | None, where: Identifier) -> Identifier:
        speaker = self.build_identifier(frm) if isinstance(frm, str) else frm or self.sender
        if isinstance(where, LocalRoom) and isinstance(speaker, LocalPerson):
            return where.enter(speaker.person)
        return speaker

    def receive_edit(self, message: Message, text: str) -> Message:
        """Let the sender of a message edit it, and return its new version. Call it on the reactor."""
        edited = message.clone()
        edited.body, edited.edited = text, True
        if message.ref is not None:
            self.seen[message.ref] = [text]
        self.notify("message_edited", edited)
        return edited

    def receive_deletion(self, message: Message) -> None:
        if message.ref is not None:
            self.seen.pop(message.ref, None)
        self.notify("message_deleted", message.ref, message.frm)

    def receive_reaction(
        self, message: Message, emoji: str, by: Identifier | None = None, removed: bool = False
    ) -> None:
        """Let a person, by default `sender`, react to a message, also to one of `sent`. Call it on the reactor."""
        ref, action = message.ref, REACTION_REMOVED if removed else REACTION_ADDED
        where = ref._asdict() if ref is not None else None
        self.notify("reaction_changed", Reaction(by or self.sender, message.frm, action, "", emoji, where))

    def press(self, ref: MessageRef, number: int, by: Identifier | str | None = None) -> str:
        """Let a person, by default `sender`, press a button of a message, also one that it has no more. Return the text that this
        person alone is shown, which is in `sent` too; "" if the press counts. Call it on the reactor."""
        presser = self._speaker(by, self.build_identifier(ref.room))
        refusal = "" if self.events is None else self.events.choice_made(self, Press(ref, presser, number))
        if refusal:
            self._add_sent(Message(refusal, frm=self.bot_identifier, to=self.person_of(presser)))
        return refusal

    def build_identifier(self, text: str) -> Identifier:
        """Return the room of the name of a known one, or one that begins with `#`, the occupant of `person@room`, or the person of
        any other name but a blank one. After `be_as_on_errbot`, every name is a person's."""
        if self._as_on_errbot:
            return self.person_named(text)
        if text in self._rooms:
            return self._rooms[text]
        person, at, room = text.rpartition("@")
        if at and person and (room in self._rooms or room.startswith("#")):
            return self.query_room(room).occupant_named(person)
        return super().build_identifier(text)

    def send_stream_request(self, user: Identifier, fsource: BinaryIO | io.IOBase, *details: Any, **named: Any) -> None:
        self.outgoing_message_queue.put(fsource.read())

    def push_message(self, msg: str, extras: Any = "") -> None:
        """Queue a message from `sender` to the bot. May be called from any thread."""
        self.incoming_stanza_queue.put((STZ_MSG, msg, extras))

    def push_presence(self, presence: Presence) -> None:
        """Queue a presence for the bot. May be called from any thread."""
        self.incoming_stanza_queue.put((STZ_PRE, presence))

    def pop_message(self, timeout: float = 5, block: bool = True) -> str | bytes:
        """Remove and return the bot's next message. Raises queue.Empty after `timeout` seconds. Blocks the thread."""
        return self.outgoing_message_queue.get(block, timeout)

    def zap_queues(self) -> None:
        self.incoming_stanza_queue.queue.clear()
        self.outgoing_message_queue.queue.clear()

    def reset_rooms(self) -> None:
        self._rooms.clear()

    def _item_received(self) -> None:
        on_reactor_soon(self._reactor, self._take, self.sender)

    def _take(self, sender: Identifier) -> None:
        try:
            kind, content, *more = self.incoming_stanza_queue.get_nowait()
        except Empty:
            # `zap_queues` was called meanwhile.
            return
        if content == QUIT_MESSAGE:
            self.notify("backend_ended")
        elif kind == STZ_MSG:
            self.receive(content, frm=sender, extras=(more[0] if more else None) or None)
        elif kind == STZ_PRE:
            self.notify("presence_changed", content)


NETWORK = Network(
    "Test",
    "for tests of plugins",
    LOCAL_SETTINGS,
    lambda context: TestBackend(context.reactor, context.config, context.now),
    values=[f"{__name__}:{name}" for name in ("TestOccupant", "TestPerson", "TestRoom", "TestRoomAcl")],
    is_local=True,
    mentions_all=False,
)
