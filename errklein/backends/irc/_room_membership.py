"""The rooms of an IRC network: which ones the bot is in or joins, and who comes and goes there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from errklein.backends.irc._casemapping import CaseMapping, same_name
from errklein.backends.irc._hostmasks import HostmaskCache
from errklein.backends.irc._line_encoding import strip_controls
from errklein.backends.irc._rooms import Rooms, RoomState, join_commands, nick_of
from errklein.backends.irc.identifiers import IRCPerson, IRCRoom, IRCRoomOccupant
from errklein.backends.irc.settings import IRCSettings
from errklein.chat import OFFLINE, ONLINE, Presence, RoomNotJoinedError, read_only
from errklein.config import ConfigError
from errklein.ports import Backend, BackendEvents


class RoomMembership:
    """The rooms of `backend`, and the identifiers of the people in them.

    `send` writes lines from any thread; they are dropped while the bot isn't signed on. `rooms_joined` is called when
    the bot is in all rooms that it joins, as far as can be known. `events` are notified once they are assigned.
    """

    log = Logger()

    JOIN_TIMEOUT = 10.0
    """Seconds after which `rooms_joined` no longer waits for rooms that the server says nothing about."""

    name_rules: CaseMapping = read_only(
        "_rooms.casemapping", "The case mapping of the server; RFC1459 until the server announces one."
    )

    def __init__(
        self,
        reactor: Any,
        settings: IRCSettings,
        backend: Backend,
        send: Callable[..., None],
        rooms_joined: Callable[[], None],
    ) -> None:
        self.events: BackendEvents | None = None
        self.bot_identifier: IRCPerson | None = None
        """The bot itself; None before the first welcome."""
        self._reactor = reactor
        self._settings = settings
        self._backend = backend
        self.send = send
        self._rooms_joined = rooms_joined
        self._rooms = Rooms(settings.rooms())
        self._hostmasks = HostmaskCache(reactor.seconds)
        self._nickname: str | None = None
        self._inviters: dict[str, IRCPerson] = {}
        self._pending: set[str] = set()
        self._timers: dict[str, IDelayedCall] = {}

    def is_bot(self, nick: str) -> bool:
        """Whether the nick is the bot's own; never while there is no connection."""
        return self._nickname is not None and self._same(nick, self._nickname)

    def person(self, mask: str) -> IRCPerson:
        """The person of the mask; raises ValueError if it isn't one."""
        acl_pattern = self._settings.acl_pattern
        return IRCPerson(mask, network=self._settings.network, acl_pattern=acl_pattern, casemapping=self.name_rules)

    def room(self, name: str) -> IRCRoom:
        """The room of that name; raises ValueError if it can't be one."""
        return IRCRoom(name, network=self._settings.network, actions=self, casemapping=self.name_rules)

    def occupant(self, mask: str, room: IRCRoom) -> IRCRoomOccupant:
        """The person of the mask in the room."""
        return IRCRoomOccupant(mask, room, acl_pattern=self._settings.acl_pattern)

    def holder(self, nick: str) -> IRCPerson | None:
        """The current holder of the nick, with the full mask; None if that is unknown. See `HostmaskCache`."""
        mask = self._hostmasks.mask_of(nick, self._rooms.joined)
        # The full mask, not what IRC_ACL_PATTERN makes of it, which may be the nick alone.
        return None if mask is None else IRCPerson(mask, network=self._settings.network, casemapping=self.name_rules)

    # For IRCRoom, from any thread

    def join_room(self, name: str, password: str | None) -> None:
        """Join the room, now and after each reconnection."""
        password = password or self._rooms.password_of(name)
        if any(character in password for character in " ,\r\n\0"):
            raise ValueError("a room's password has neither spaces nor commas nor line breaks")
        self._rooms.want(name, password)
        self.send(*join_commands([(name, password)]))

    def leave_room(self, name: str, reason: str | None) -> None:
        """Leave the room, and don't join it after the next reconnection."""
        self._rooms.unwant(name)
        self.send(f"PART {name} :{strip_controls(reason)}" if reason else f"PART {name}")

    @property
    def joined_rooms(self) -> list[IRCRoom]:
        """The rooms that the bot is in."""
        return [self.room(state.name) for state in self._rooms.joined]

    def is_joined(self, name: str) -> bool:
        """Whether the bot is in the room."""
        return self._rooms.state(name) is not None

    def is_known(self, name: str) -> bool:
        """Whether the bot is in the room, or joins it."""
        return self.is_joined(name) or self._rooms.is_wanted(name)

    def state_of(self, name: str) -> RoomState:
        """What is known of a room that the bot is in; raises RoomNotJoinedError."""
        state = self._rooms.state(name)
        if state is None:
            raise RoomNotJoinedError(f"the bot is not in {name}")
        return state

    def occupants_of(self, name: str) -> Sequence[IRCRoomOccupant]:
        """The people in the room; raises RoomNotJoinedError."""
        room = self.room(name)
        return [self.occupant(mask, room) for mask in list(self.state_of(name).masks.values())]

    def signed_on(self, nickname: str, casemapping: CaseMapping) -> None:
        """The server has welcomed the bot, under that nick."""
        self._nickname = nickname
        self.casemapping_changed(casemapping)
        self.bot_identifier = self.person(nickname)

    def connection_lost(self) -> None:
        """Forget what only the server knows."""
        self._nickname = None
        for state in self._rooms.joined:
            self._rooms.leave(state.name)
        self._hostmasks.clear()
        self.stop()

    def stop(self) -> None:
        """Join no more rooms."""
        self._pending.clear()
        while self._timers:
            self._timers.popitem()[1].cancel()

    def join_configured(self, delay: float) -> None:
        """Join all rooms to be in, after `delay` seconds."""
        self._later("join", delay, self._join_configured)

    def nickserv_replied(self) -> None:
        """Don't wait any longer for NickServ before rooms are joined."""
        if "join" in self._timers:
            self.join_configured(0.0)

    def room_of_message(self, target: str, sender: str, replayed: bool) -> RoomState | None:
        """The room that a message goes to, None if it goes to a person; learns the sender's mask unless it is replayed."""
        state = self._rooms.state(target)
        if replayed:
            return state
        if state is None:
            if self.is_bot(target):
                self._hostmasks.add(sender, self._rooms.joined)
        elif state.mask_of(nick_of(sender)) is not None:
            # Not of somebody outside: the server wouldn't tell when they quit or change their nick.
            state.add(sender)
        return state

    # Events of the protocol

    def casemapping_changed(self, casemapping: CaseMapping) -> None:
        """The server announced its case mapping: use it for rooms, occupants and new identifiers."""
        self._rooms.set_casemapping(casemapping)
        self._hostmasks.set_casemapping(casemapping)
        if self.bot_identifier is not None:
            self.bot_identifier = self.person(str(self.bot_identifier))

    def joined(self, mask: str, room: str) -> None:
        """Somebody, perhaps the bot, has joined the room."""
        itself = self.is_bot(nick_of(mask))
        state = self._rooms.enter(room) if itself else self._rooms.state(room)
        if state is None:
            return
        if itself:
            self.bot_identifier = self.person(mask)
            self._settled(room)
        state.add(mask)
        self._hostmasks.forget(nick_of(mask))
        if self.events is not None:
            occupant = self.occupant(mask, self.room(state.name))
            if not itself:
                self.events.presence_changed(self._backend, Presence(self.person(mask), status=ONLINE))
            inviter = self._inviters.pop(self.name_rules.fold(state.name), None) if itself else None
            self.events.room_joined(self._backend, occupant.room, occupant, inviter)

    def join_failed(self, room: str, reason: str) -> None:
        """The bot could not join the room."""
        if self._rooms.state(room) is None and self._rooms.is_wanted(room):
            network = self._settings.network
            self.log.warn("{network}: can't join {room}: {reason}", network=network, room=room, reason=reason)
            self._settled(room)

    def parted(self, mask: str, room: str, kicked_by: str = "") -> None:
        """Somebody, perhaps the bot, has left the room, or was kicked by another mask."""
        state = self._rooms.state(room)
        if state is None:
            return
        occupant = self.occupant(state.mask_of(nick_of(mask)) or mask, self.room(state.name))
        state.remove(nick_of(mask))
        if self.is_bot(nick_of(mask)):
            self._rooms.leave(room)
        if self.events is not None:
            kicker = self._kicker(kicked_by, state) if kicked_by else None
            self.events.room_left(self._backend, occupant.room, occupant, kicker)

    def kicked(self, nick: str, room: str, by: str, reason: str) -> None:
        """Somebody was kicked out of the room by the mask `by`. The bot comes back after IRC_RECONNECT_ON_KICK seconds."""
        self.parted(nick, room, by)
        if not self.is_bot(nick):
            return
        self.log.warn(
            "{network}: {by} threw the bot out of {room}: {reason}",
            network=self._settings.network,
            by=nick_of(by),
            room=room,
            reason=reason,
        )
        delay = self._settings.rejoin_after_kick
        if delay is not None and self._rooms.is_wanted(room):
            self._later(f"rejoin {self.name_rules.fold(room)}", delay, partial(self._rejoin, room))

    def quit(self, mask: str) -> None:
        """Somebody has left the network, and so every room."""
        nick = nick_of(mask)
        if self.is_bot(nick):
            return
        self._hostmasks.forget(nick)
        states = [state for state in self._rooms.joined if state.mask_of(nick) is not None]
        for state in states:
            self.parted(mask, state.name)
        if states and self.events is not None:
            self.events.presence_changed(self._backend, Presence(self.person(mask), status=OFFLINE))

    def nick_changed(self, mask: str, nick: str) -> None:
        """Somebody, perhaps the bot, has another nick."""
        old, new = nick_of(mask), nick + mask[len(nick_of(mask)) :]
        self._rooms.rename(old, new)
        self._hostmasks.forget(old)
        self._hostmasks.forget(nick)
        if self.bot_identifier is not None and self._same(self.bot_identifier.nick, old):
            self._nickname = nick
            self.bot_identifier = self.person(new)

    def names_received(self, room: str, nicks: Sequence[str]) -> None:
        """Some of those who are in a room that the bot has joined."""
        state = self._rooms.state(room)
        if state is not None:
            for nick in nicks:
                state.add(nick)

    def topic_received(self, room: str, topic: str, changed: bool) -> None:
        """The topic of the room; `changed` if somebody changed it just now."""
        state = self._rooms.state(room)
        if state is not None:
            state.topic = topic
            if changed and self.events is not None:
                self.events.room_topic_changed(self._backend, self.room(state.name))

    def invited(self, room: str, by: str) -> None:
        """The mask `by` invites the bot; it joins if it is to be in the room."""
        if self._rooms.is_wanted(room) and self._rooms.state(room) is None:
            inviter = self._person_or_none(by)
            if inviter is not None:
                self._inviters[self.name_rules.fold(room)] = inviter
            self._rejoin(room)

    def _join_configured(self) -> None:
        try:
            self._rooms.reconfigure(self._settings.rooms())
        except ConfigError as error:
            self.log.error("{error}; the rooms stay as they were", error=str(error))
        self._pending = {name for name, _ in self._rooms.wanted}
        self.send(*join_commands(self._rooms.wanted))
        self._later("joined", self.JOIN_TIMEOUT if self._pending else 0.0, self._rooms_joined)

    def _settled(self, room: str) -> None:
        settled = {name for name in self._pending if self._same(name, room)}
        self._pending -= settled
        if settled and not self._pending:
            self._later("joined", 0.0, self._rooms_joined)

    def _rejoin(self, room: str) -> None:
        if self._rooms.is_wanted(room):
            self.send(*join_commands([(room, self._rooms.password_of(room))]))

    def _kicker(self, mask: str, state: RoomState) -> IRCPerson | None:
        """Who kicked somebody: an occupant, unless it was a service from outside; None for a server."""
        known = state.mask_of(nick_of(mask)) is not None
        return self.occupant(mask, self.room(state.name)) if known else self._person_or_none(mask)

    def _person_or_none(self, mask: str) -> IRCPerson | None:
        """The person of the mask; None if it is a server's name."""
        try:
            return self.person(mask)
        except ValueError:
            return None

    def _same(self, one: str, other: str) -> bool:
        """Whether two names are equal on this server."""
        return same_name(one, other, self.name_rules)

    def _later(self, name: str, delay: float, function: Callable[[], Any]) -> None:
        """Call the function once after `delay` seconds; another call of the same name takes its place."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

        def due() -> None:
            self._timers.pop(name, None)
            function()

        if delay:
            self._timers[name] = self._reactor.callLater(delay, due)
        else:
            function()
