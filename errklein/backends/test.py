"""A network in memory, for tests of plugins: what the bot says is kept, what others say is put in."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, Queue
from time import monotonic
from typing import Any, BinaryIO

from errklein.backends.base import LocalBackend, LocalOccupant, LocalPerson, LocalRoom
from errklein.chat import Identifier, Message, Presence, Room, RoomOccupant
from errklein.running import on_reactor_soon
from errklein.text import split_message, to_plain

QUIT_MESSAGE = "$STOP$"
"""Said to the bot, it ends it."""

STZ_MSG = 1
STZ_PRE = 2
STZ_IQ = 3
"""What an item of the incoming queue is: a message, a presence, anything else."""


class TestPerson(LocalPerson):
    """Somebody in a test, by an address such as `gbin@localhost`."""

    __test__ = False


class TestOccupant(LocalOccupant):
    """Somebody in a room of a test. The room may be given by name."""

    __test__ = False

    def __init__(self, person: str, room: Room | str) -> None:
        super().__init__(person, TestRoom(room) if isinstance(room, str) else room)

    def __str__(self) -> str:
        return f"{self.person}@{self.room}"


class TestRoom(LocalRoom):
    """A room in a test. All that are made of one name with the same `bot` are one room."""

    __test__ = False

    def __init__(
        self, name: str, occupants: Sequence[RoomOccupant] | None = None, topic: str | None = None, bot: Any = None
    ) -> None:
        backend = getattr(bot, "test_backend", bot)
        super().__init__(name, occupants, topic, backend)
        if isinstance(backend, TestBackend):
            # What is done with one is seen in the other.
            self.__dict__ = backend.keep(self).__dict__

    def join(self, username: str | None = None, password: str | None = None) -> None:
        """Enter the room, which is made if need be."""
        backend = self._backend
        if not self.joined and isinstance(backend, TestBackend) and backend.bot_in_rooms is not None:
            self.enter(backend.bot_in_rooms)
        super().join(username, password)

    def leave(self, reason: str | None = None) -> None:
        """Leave the room."""
        backend = self._backend
        if self.joined and isinstance(backend, TestBackend):
            self._occupants = [there for there in self._occupants if str(there) != f"{backend.bot_in_rooms}@{self}"]
        super().leave(reason)

    def _must_be_joined(self) -> None:
        """Tests make up rooms with a topic and occupants, and look at them without the bot having been there."""


class TestRoomAcl(TestRoom):
    """A room that access rules know by its name, as any other."""

    __test__ = False


class IncomingQueue(Queue[tuple[Any, ...]]):
    """What is put in is heard by the bot: (STZ_MSG, text, extras) or (STZ_PRE, presence)."""

    def __init__(self, item_received: Callable[[], None]) -> None:
        super().__init__()
        self._item_received = item_received

    def put(self, item: tuple[Any, ...], block: bool = True, timeout: float | None = None) -> None:
        """Add the item; the bot takes it in its own thread."""
        super().put(item, block, timeout)
        self._item_received()


class OutgoingQueue(Queue[str | bytes]):
    """What the bot has sent, as readers see it; whoever waits for more can be told that nothing comes."""

    def get_unless(self, idle: Callable[[], bool], timeout: float) -> str | bytes:
        """The next one; raises Empty after so many seconds, or as soon as `idle`, of which `wake` tells."""
        with self.not_empty:
            end = monotonic() + timeout
            while not self._qsize():
                left = end - monotonic()
                if left <= 0 or idle():
                    raise Empty
                self.not_empty.wait(left)
            return self._get()

    def wake(self) -> None:
        """Have everybody who waits look again whether nothing comes."""
        with self.not_empty:
            self.not_empty.notify_all()


@dataclass(frozen=True)
class SentMessage:
    """A message that the bot has sent, and how it reads as plain text."""

    message: Message
    text: str


class TestBackend(LocalBackend):
    """Keeps what is sent in `sent`, in order, and hears what a test lets it `receive`.

    What is sent is also in `outgoing_message_queue`, as readers see it, and what is put in `incoming_stanza_queue` is
    heard; both are for tests in other threads than the reactor's.
    `sender` is who says it if nobody else is named: the first of BOT_ADMINS, but any may be put there.
    """

    __test__ = False

    mode = "test"
    person_type = TestPerson
    occupant_type = TestOccupant
    room_type = TestRoom

    def __init__(self, reactor: Any, config: Any) -> None:
        super().__init__(reactor, config)
        admins = getattr(config, "BOT_ADMINS", ())
        self.sender: Identifier = self.person_named(next(iter(admins), "gbin@localhost"))
        self.sent: list[SentMessage] = []
        self.outgoing_message_queue = OutgoingQueue()
        self.incoming_stanza_queue = IncomingQueue(self._item_received)
        self._watchers: list[Callable[[SentMessage], None]] = []
        self.bot_in_rooms: str | None = None
        """By which name the bot is an occupant of rooms that it enters; None: it is none."""
        self._as_on_errbot = False

    def be_as_on_errbot(self) -> None:
        """Use the names of errbot's test backend: the bot is Err, or err among the occupants of a room, `@bob` mentions
        bob, and "" is a person's name."""
        self.bot_identifier = self.person_named("Err")
        self.bot_in_rooms = "err"
        self._as_on_errbot = True

    def keep(self, room: LocalRoom) -> LocalRoom:
        """The room by its name, from now on this one if there is none yet."""
        return self._rooms.setdefault(room.name, room)

    def bot_in(self, room: LocalRoom) -> Identifier:
        """The bot, as it is told that it is in the room."""
        return self.bot_identifier if self.bot_in_rooms is None else room.occupant_named(self.bot_in_rooms)

    def person_mentioned(self, name: str) -> LocalPerson:
        """The person whom a message mentions as `@name`."""
        return self.person_named(name.removeprefix("@") if self._as_on_errbot else name)

    def show(self, message: Message) -> None:
        """Keep the message, in parts if it is too long for one."""
        bodies = split_message(message.body, self.message_size_limit)
        for body in bodies:
            part = message.clone()
            part.body = body
            part.partial = len(bodies) > 1
            sent = SentMessage(part, to_plain(body, compact=getattr(self.config, "COMPACT_OUTPUT", False)))
            self.sent.append(sent)
            self.outgoing_message_queue.put(sent.text)
            for watcher in list(self._watchers):
                on_reactor_soon(self._reactor, watcher, sent)

    def watch(self, watcher: Callable[[SentMessage], None]) -> None:
        """Call `watcher` on the reactor with everything that is sent from now on."""
        self._watchers.append(watcher)

    def receive(
        self,
        text: str,
        frm: Identifier | str | None = None,
        to: Identifier | str | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> Message:
        """Let the bot hear `text` from somebody, said to it or in a room; the message that it heard.

        Who speaks in a room is seen there from then on. Names are as `build_identifier` takes them; a name of a room
        needn't begin with `#` if the room is known.
        """
        speaker = self.build_identifier(frm) if isinstance(frm, str) else frm or self.sender
        listener = self.build_identifier(to) if isinstance(to, str) else to or self.bot_identifier
        if isinstance(listener, LocalRoom) and isinstance(speaker, LocalPerson):
            speaker = listener.enter(speaker.person)
        message = Message(text, frm=speaker, to=listener, extras=extras)
        self.receive_message(message)
        return message

    def build_identifier(self, text: str) -> Identifier:
        """The room of that name if it is known or the name begins with `#`, `person@room`, else the person.

        Raises ValueError for a blank name, unless `be_as_on_errbot` was called.
        """
        if self._as_on_errbot and not text.strip():
            return self.person_named(text)
        if text in self._rooms:
            return self._rooms[text]
        person, at, room = text.rpartition("@")
        if at and person and (room in self._rooms or room.startswith("#")):
            return self.query_room(room).occupant_named(person)
        return super().build_identifier(text)

    def send_stream_request(
        self,
        user: Identifier,
        fsource: BinaryIO | io.IOBase,
        name: str | None = None,
        size: int | None = None,
        stream_type: str | None = None,
    ) -> None:
        """Send what the file holds; it is in the outgoing queue as bytes."""
        self.outgoing_message_queue.put(fsource.read())

    def push_message(self, msg: str, extras: Any = "") -> None:
        """Let `sender` say something to the bot, from any thread."""
        self.incoming_stanza_queue.put((STZ_MSG, msg, extras))

    def push_presence(self, presence: Presence) -> None:
        """Let the bot hear of somebody's presence, from any thread."""
        self.incoming_stanza_queue.put((STZ_PRE, presence))

    def pop_message(self, timeout: float = 5, block: bool = True) -> str | bytes:
        """The next thing that the bot sends; raises queue.Empty after `timeout` seconds. Not for the reactor."""
        return self.outgoing_message_queue.get(block, timeout)

    def zap_queues(self) -> None:
        """Forget what was sent, and what hasn't been heard."""
        self.incoming_stanza_queue.queue.clear()
        self.outgoing_message_queue.queue.clear()

    def reset_rooms(self) -> None:
        """Forget all rooms."""
        self._rooms.clear()

    def _item_received(self) -> None:
        on_reactor_soon(self._reactor, self._take, self.sender)

    def _take(self, sender: Identifier) -> None:
        try:
            kind, content, *more = self.incoming_stanza_queue.get_nowait()
        except Empty:
            # Zapped meanwhile.
            return
        if content == QUIT_MESSAGE:
            self.notify("backend_ended")
        elif kind == STZ_MSG:
            self.receive(content, frm=sender, extras=(more[0] if more else None) or None)
        elif kind == STZ_PRE:
            self.notify("presence_changed", content)
