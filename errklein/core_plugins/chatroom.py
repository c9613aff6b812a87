"""The commands `!room …`, CHATROOM_PRESENCE and the relaying of messages between rooms and people."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any

from twisted.internet.defer import Deferred

from errklein.chat import Identifier, Message, Person, RoomError, RoomOccupant, rules_of
from errklein.chat.identifiers import LookupFailed, UserDoesNotExistError, UserNotUniqueError
from errklein.commands import CommandError
from errklein.core_plugins import CorePlugin, admin_command
from errklein.dispatch import name_of
from errklein.running import on_reactor
from errklein.running.context import handled_network
from errklein.text import code, plain, plain_lines

Handler = Callable[[Any, Message, list[str]], Coroutine[Any, Any, str]]


def room_command(syntax: str, least: int, most: int | None, *, historize: bool = True) -> Callable[[Handler], Handler]:
    """Turn a method into an admin-only command with arguments as in a shell, whose usage replies to too few or too many."""

    def declare(handler: Handler) -> Handler:
        @admin_command(split_args_with=shlex.split, syntax=syntax, historize=historize)
        @wraps(handler)
        async def run(self: Any, msg: Message, args: list[str]) -> str:
            if len(args) < least or (most is not None and len(args) > most):
                given = handler.__name__.replace("_", " ")
                raise CommandError(f"Usage: {self.host.prefix}{given} {syntax}".rstrip())
            return await handler(self, msg, args)

        return run

    return declare


class ChatRoom(CorePlugin):
    """Join and manage rooms, and relay messages between rooms and people."""

    refusals = LookupFailed, NotImplementedError, RoomError, UserDoesNotExistError, UserNotUniqueError, ValueError

    def refusal(self, error: Exception) -> CommandError:
        reason = str(error) or "the network doesn't support this"
        return CommandError(f"The command failed: {plain(reason)}")

    @on_reactor
    def callback_connect(self) -> None:
        """Join the rooms on the connected network: those of webhooks, and of CHATROOM_PRESENCE unless its backend does that itself."""
        network = handled_network.get()
        if (backend := self.host.networks.backends.get(network)) is None:
            return
        config = self.host.networks.config(backend)
        entries = config.CHATROOM_PRESENCE
        configured = [(entry, None) if isinstance(entry, str) else (*entry, None)[:2] for entry in entries]
        of_webhooks = map(self.host.networks.with_network, self.host.room_webhooks.rooms())
        names = {name.casefold() for name, _ in configured}
        rooms = [
            (room, None)
            for room in of_webhooks
            if (parts := room.partition(":"))[0] == network and parts[2].casefold() not in names
        ]
        Deferred.fromCoroutine(self.host.rooms.enter(rooms))
        if not backend.joins_configured_rooms:
            own = [(f"{network}:{name}", password) for name, password in configured]
            Deferred.fromCoroutine(self.host.rooms.enter(own, again=True))

    @on_reactor
    def callback_message(self, message: Message) -> None:
        """Relay the message by CHATROOM_RELAY and REVERSE_CHATROOM_RELAY, unless it is delayed."""
        if message.delayed:
            return
        networks = self.host.networks
        config = networks.config(networks.current)
        if config.CHATROOM_RELAY and message.is_direct and isinstance(message.frm, Person):
            listeners = _listeners(config.CHATROOM_RELAY, message.frm, (message.frm.person,))
            self._relay(message.body, listeners, self._room_named)
        elif config.REVERSE_CHATROOM_RELAY and message.is_group:
            room = message.frm.room if isinstance(message.frm, RoomOccupant) else message.to
            assert room is not None
            speaker = name_of(message.frm)
            listeners = _listeners(config.REVERSE_CHATROOM_RELAY, room, (str(room), *room.access_names("allow")))
            self._relay(f"[{speaker}] {message.body}", listeners, self.build_identifier)

    @room_command("ROOM", 1, 1)
    async def room_create(self, msg: Message, args: list[str]) -> str:
        """Create a room."""
        await self.host.rooms.create(self.actor(msg), args[0])
        return f"Created the room {code(args[0])}."

    @room_command("ROOM [PASSWORD]", 1, 2, historize=False)
    async def room_join(self, msg: Message, args: list[str]) -> str:
        """Join a room.

        Most networks create a room that doesn't exist."""
        joined = await self.host.rooms.join(self.actor(msg), *args)
        return f"{'Joined' if joined else 'Joining'} the room {code(args[0])}."

    @room_command("ROOM [REASON]", 1, None)
    async def room_leave(self, msg: Message, args: list[str]) -> str:
        """Leave a room."""
        await self.host.rooms.leave(self.actor(msg), args[0], " ".join(args[1:]) or None)
        return f"Left the room {code(args[0])}."

    @room_command("ROOM", 1, 1)
    async def room_destroy(self, msg: Message, args: list[str]) -> str:
        """Destroy a room for all its occupants."""
        await self.host.rooms.destroy(self.actor(msg), args[0])
        return f"Destroyed the room {code(args[0])}."

    @room_command("ROOM PERSON …", 2, None)
    async def room_invite(self, msg: Message, args: list[str]) -> str:
        """Invite people to a room."""
        await self.host.rooms.invite(self.actor(msg), args[0], args[1:])
        return f"Invited {', '.join(map(code, args[1:]))} to the room {code(args[0])}."

    @room_command("ROOM …", 1, None)
    async def room_occupants(self, msg: Message, args: list[str]) -> str:
        """List the occupants of rooms."""
        shown = []
        for name in args:
            names = await self.host.rooms.occupants(self.actor(msg), name)
            head = f"Occupants in {code(name)}:" if names else f"{code(name)} has no other occupants."
            shown.append("\n".join([head, "", *(f"- {code(occupant)}" for occupant in names)]).rstrip())
        return "\n\n".join(shown)

    @room_command("ROOM [TOPIC]", 1, None)
    async def room_topic(self, msg: Message, args: list[str]) -> str:
        """Show or set the topic of a room."""
        if len(args) > 1:
            await self.host.rooms.set_topic(self.actor(msg), args[0], " ".join(args[1:]))
            return f"Topic for {code(args[0])} set."
        topic = await self.host.rooms.topic(self.actor(msg), args[0])
        return f"Topic for {code(args[0])}: {code(topic)}" if topic else f"No topic is set for {code(args[0])}."

    @room_command("", 0, 0)
    async def room_list(self, msg: Message, args: list[str]) -> str:
        """List the rooms that the bot is in."""
        several = len(self.host.networks.backends) > 1
        joined = await self.host.rooms.rooms(self.actor(msg))
        names = [f"{network}:{name}" if several else name for network, name in joined]
        if not names:
            return "The bot is not in any rooms."
        return "The bot is in these rooms:\n\n" + "\n".join(f"- {code(name)}" for name in names)

    def _room_named(self, name: str) -> Identifier:
        try:
            return self.query_room(name)
        except NotImplementedError:
            # The network may still have identifiers of rooms.
            return self.build_identifier(name)

    def _relay(self, text: str, listeners: Iterable[str], named: Callable[[str], Identifier]) -> None:
        """Send the text unchanged. As Markdown, it could lose characters and contain misleading links."""
        for name in listeners:
            try:
                self.send(named(name), plain_lines(text))
            except Exception as error:
                self.log.warning("A message could not be relayed to %s: %s", name, error)


def _listeners(relays: Mapping[str, Iterable[str] | str], speaker: Identifier, names: Iterable[str]) -> Iterator[str]:
    """Yield the recipients for messages of `speaker`, who has these names. Keys may name a network, as "libera:#ops"."""
    fold = rules_of(speaker).fold
    folded = {fold(name) for name in names}
    for named, listeners in relays.items():
        if fold(named.removeprefix(f"{speaker.network}:")) in folded:
            yield from (listeners,) if isinstance(listeners, str) else listeners
