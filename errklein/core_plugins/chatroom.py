"""`!room …`; the rooms to be in from the start; and messages that are passed on between people and rooms."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any

from errklein.chat import (
    Identifier,
    Message,
    Person,
    RoomError,
    RoomOccupant,
    UserDoesNotExistError,
    UserNotUniqueError,
    rules_of,
)
from errklein.commands import CommandError, admin_by_default, botcmd
from errklein.core_plugins import CorePlugin
from errklein.running import on_reactor
from errklein.running.context import handled_network
from errklein.text import code, plain, plain_lines

_REFUSALS = (NotImplementedError, RoomError, UserDoesNotExistError, UserNotUniqueError, ValueError)
"""What a network raises that can't, or won't, do something with a room."""

Handler = Callable[[Any, Message, list[str]], str]


def room_command(syntax: str, least: int, most: int | None, *, historize: bool = True) -> Callable[[Handler], Handler]:
    """Make a method a command for administrators, which gets its arguments as a shell would split them.

    What doesn't have `least` to `most` of them is answered with `syntax`, what the network refuses with its reason.
    """

    def declare(handler: Handler) -> Handler:
        @admin_by_default
        @botcmd(split_args_with=shlex.split, syntax=syntax, historize=historize)
        @wraps(handler)
        def run(self: Any, msg: Message, args: list[str]) -> str:
            if len(args) < least or (most is not None and len(args) > most):
                given = handler.__name__.replace("_", " ")
                raise CommandError(f"Usage: {self._bot.prefix}{given} {syntax}".rstrip())
            try:
                return handler(self, msg, args)
            except _REFUSALS as error:
                reason = str(error) or "the network doesn't offer it"
                raise CommandError(f"This can't be done: {plain(reason)}") from error

        return run

    return declare


class ChatRoom(CorePlugin):
    """Enters and leaves rooms, invites people, and passes messages on between rooms and people."""

    def callback_connect(self) -> None:
        """Enter the rooms of CHATROOM_PRESENCE in the network that was connected, unless it does that itself."""
        network = handled_network.get()
        backend = self._bot.backends.get(network)
        if backend is None or backend.joins_configured_rooms:
            return
        config = self._bot.bot_config.networks[network]
        for entry in config.CHATROOM_PRESENCE:
            name, password = (entry, None) if isinstance(entry, str) else (*entry, None)[:2]
            try:
                self.query_room(name).join(username=config.CHATROOM_FN, password=password)
            except Exception as error:
                self.log.warning("%s: can't join %s: %s", network, name, error)

    @on_reactor
    def callback_message(self, message: Message) -> None:
        """Relay the message as CHATROOM_RELAY and REVERSE_CHATROOM_RELAY say, unless it is delayed."""
        if message.delayed:
            return
        config = self._bot.bot_config.networks[self._bot.backend.network]
        if config.CHATROOM_RELAY and message.is_direct and isinstance(message.frm, Person):
            listeners = _listeners(config.CHATROOM_RELAY, message.frm, message.frm.person)
            self._pass_on(message.body, listeners, self._room_named)
        elif config.REVERSE_CHATROOM_RELAY and message.is_group:
            room = message.frm.room if isinstance(message.frm, RoomOccupant) else message.to
            assert room is not None
            speaker = _name_of(message.frm)
            listeners = _listeners(config.REVERSE_CHATROOM_RELAY, room, str(room))
            self._pass_on(f"[{speaker}] {message.body}", listeners, self.build_identifier)

    @room_command("ROOM", 1, 1)
    def room_create(self, msg: Message, args: list[str]) -> str:
        """Create a room."""
        self.query_room(args[0]).create()
        return f"Created the room {code(args[0])}."

    @room_command("ROOM [PASSWORD]", 1, 2, historize=False)
    def room_join(self, msg: Message, args: list[str]) -> str:
        """Enter a room; most networks create it if need be."""
        name, password = (*args, None)[:2]
        assert name is not None
        room = self.query_room(name)
        config = self._bot.bot_config.networks[self._bot.backend.network]
        room.join(username=config.CHATROOM_FN, password=password)
        with suppress(NotImplementedError):
            if room.joined is False:
                return f"Asked to be let into the room {code(name)}."
        return f"Joined the room {code(name)}."

    @room_command("ROOM [REASON]", 1, None)
    def room_leave(self, msg: Message, args: list[str]) -> str:
        """Leave a room."""
        self.query_room(args[0]).leave(reason=" ".join(args[1:]) or None)
        return f"Left the room {code(args[0])}."

    @room_command("ROOM", 1, 1)
    def room_destroy(self, msg: Message, args: list[str]) -> str:
        """Close a room for everybody."""
        self.query_room(args[0]).destroy()
        return f"Destroyed the room {code(args[0])}."

    @room_command("ROOM PERSON …", 2, None)
    def room_invite(self, msg: Message, args: list[str]) -> str:
        """Invite people into a room."""
        self.query_room(args[0]).invite(*args[1:])
        return f"Invited {', '.join(map(code, args[1:]))} into the room {code(args[0])}."

    @room_command("ROOM …", 1, None)
    def room_occupants(self, msg: Message, args: list[str]) -> str:
        """List who is in a room."""
        shown = []
        for name in args:
            names = [code(_name_of(occupant)) for occupant in self.query_room(name).occupants]
            head = f"Occupants in {code(name)}:" if names else f"Nobody else is in {code(name)}."
            shown.append("\n".join([head, "", *(f"- {occupant}" for occupant in sorted(names))]).rstrip())
        return "\n\n".join(shown)

    @room_command("ROOM [TOPIC]", 1, None)
    def room_topic(self, msg: Message, args: list[str]) -> str:
        """Show the topic of a room, or set it."""
        room = self.query_room(args[0])
        if len(args) > 1:
            room.topic = " ".join(args[1:])
            return f"Topic for {code(args[0])} set."
        topic = room.topic
        return f"Topic for {code(args[0])}: {code(topic)}" if topic else f"No topic is set for {code(args[0])}."

    @room_command("", 0, 0)
    def room_list(self, msg: Message, args: list[str]) -> str:
        """List the rooms that the bot is in."""
        several = len(self._bot.backends) > 1
        names = [f"{room.network}:{room}" if several else str(room) for room in self.rooms()]
        if not names:
            return "I'm in no room."
        return "I'm in these rooms:\n\n" + "\n".join(f"- {code(name)}" for name in names)

    def _room_named(self, name: str) -> Identifier:
        try:
            return self.query_room(name)
        except NotImplementedError:
            # There may be names of rooms nevertheless.
            return self.build_identifier(name)

    def _pass_on(self, text: str, listeners: Iterable[str], named: Callable[[str], Identifier]) -> None:
        """Say it as it was said: of people's text Markdown would drop characters, and show links that mislead."""
        for name in listeners:
            try:
                self.send(named(name), plain_lines(text))
            except Exception as error:
                self.log.warning("a message can't be passed on to %s: %s", name, error)


def _listeners(relays: Mapping[str, Iterable[str] | str], speaker: Identifier, name: str) -> Iterator[str]:
    """The recipients for `speaker`, called `name`; keys of `relays` may begin with a network, as in "libera:#ops"."""
    fold = rules_of(speaker).fold
    for named, listeners in relays.items():
        if fold(named.removeprefix(f"{speaker.network}:")) == fold(name):
            yield from (listeners,) if isinstance(listeners, str) else listeners


def _name_of(somebody: Any) -> str:
    return getattr(somebody, "nick", None) or getattr(somebody, "person", None) or str(somebody)
