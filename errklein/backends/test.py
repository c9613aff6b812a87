"""A network in memory, for tests of plugins: what the bot says is kept, what others say is put in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, succeed

from errklein.backends.base import LocalBackend, LocalOccupant, LocalPerson, LocalRoom
from errklein.backends.outbox import OutboxClosed
from errklein.chat import Identifier, Message, Room
from errklein.running.threads import on_reactor_soon
from errklein.text import split_message, to_plain


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
    """A room in a test."""

    __test__ = False


@dataclass(frozen=True)
class Sent:
    """A message that the bot has sent, and how it reads as plain text."""

    message: Message
    text: str


class TestBackend(LocalBackend):
    """Keeps what is sent in `sent`, in order, and hears what a test lets it `receive`.

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
        self.sender: Identifier = self.person_named(admins[0] if admins else "gbin@localhost")
        self.sent: list[Sent] = []
        self._watchers: list[Callable[[Sent], None]] = []
        self._left = False

    def disconnect(self) -> Deferred[None]:
        """Accept nothing any more. What was sent stays in `sent`."""
        self._left = True
        return succeed(None)

    def send_message(self, message: Message) -> Awaitable[None] | None:
        """Keep the message, in parts if it is too long for one.

        Raises ValueError without an addressee, OutboxClosed after `disconnect`.
        """
        if self._left:
            raise OutboxClosed(f"{self.network} has been left, nothing more is sent there")
        self.accept(message)
        bodies = split_message(message.body, self.message_size_limit)
        for body in bodies:
            part = message.clone()
            part.body = body
            part.partial = len(bodies) > 1
            sent = Sent(part, to_plain(body, compact=getattr(self._config, "COMPACT_OUTPUT", False)))
            self.sent.append(sent)
            for watcher in list(self._watchers):
                on_reactor_soon(self._reactor, watcher, sent)
        return succeed(None) if self._is_home() else None

    def watch(self, watcher: Callable[[Sent], None]) -> None:
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
        self.hear(message)
        return message

    def build_identifier(self, text: str) -> Identifier:
        """The room of that name if it is known or the name begins with `#`, `person@room`, else the person."""
        if text in self._rooms:
            return self._rooms[text]
        person, at, room = text.rpartition("@")
        if at and person and (room in self._rooms or room.startswith("#")):
            return self.query_room(room).occupant_named(person)
        return super().build_identifier(text)

    def reset_rooms(self) -> None:
        """Forget all rooms."""
        self._rooms.clear()
