"""The half of an IRC network that is about its rooms: who comes and goes, and the rooms that the bot is to be in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from errklein.backends.irc.casemapping import CaseMapping, same_name
from errklein.backends.irc.hostmasks import HostmaskCache
from errklein.backends.irc.identifiers import IRCPerson, IRCRoom, IRCRoomOccupant
from errklein.backends.irc.line_encoding import strip_controls
from errklein.backends.irc.rooms import Rooms, RoomState, join_commands, nick_of
from errklein.backends.irc.settings import IRCSettings
from errklein.chat import OFFLINE, ONLINE, Presence
from errklein.chat.identifiers import RoomNotJoinedError
from errklein.config.settings import ConfigError
from errklein.ports import Backend, BackendEvents


class RoomLife:
    """What IRCBackend does about rooms: it is this, and adds the connection, by the methods below that it has to have."""

    log = Logger()

    ROOMS_WITHIN = 10.0
    """After how many seconds the outbox no longer waits for rooms that the server says nothing about."""

    def __init__(self, reactor: Any, settings: IRCSettings) -> None:
        self.settings = settings
        self.network = settings.network
        self._reactor = reactor
        self._home = threading.get_ident()
        self._rooms = Rooms(settings.rooms())
        self._hostmasks = HostmaskCache(reactor.seconds)
        self._events: BackendEvents | None = None
        self._identifier: IRCPerson | None = None
        self._inviters: dict[str, IRCPerson] = {}
        self._pending: set[str] = set()
        self._timers: dict[str, IDelayedCall] = {}

    @property
    def name_rules(self) -> CaseMapping:
        """The case mapping of the server; RFC1459 until the server announces one."""
        return self._rooms.casemapping

    # What the connection adds

    @property
    def _nickname(self) -> str | None:
        """The bot's nick; None while there is no connection."""
        raise NotImplementedError

    def _send(self, *lines: str) -> None:
        """Write the lines, if the server has let the bot in."""
        raise NotImplementedError

    def _rooms_entered(self) -> None:
        """Called when the bot is in all rooms that it is to be in, as far as can be known."""
        raise NotImplementedError

    # identifiers.RoomActions, for any thread

    def join_room(self, name: str, password: str | None) -> None:
        """Enter the room, now and after each reconnection."""
        password = password or self._rooms.password_of(name)
        if any(character in password for character in " ,\r\n\0"):
            raise ValueError("a room's password has neither spaces nor commas nor line breaks")
        self._rooms.want(name, password)
        self._on_reactor(self._send, *join_commands([(name, password)]))

    def leave_room(self, name: str, reason: str | None) -> None:
        """Leave it for good."""
        self._rooms.unwant(name)
        self._on_reactor(self._send, f"PART {name} :{strip_controls(reason)}" if reason else f"PART {name}")

    def set_topic(self, name: str, topic: str) -> None:
        """Ask the server for another topic."""
        self._on_reactor(self._send, f"TOPIC {name} :{strip_controls(topic)}")

    def invite_to(self, name: str, nick: str) -> None:
        """Ask somebody in."""
        self._on_reactor(self._send, f"INVITE {nick} {name}")

    def is_joined(self, name: str) -> bool:
        """Whether the bot is in the room."""
        return self._rooms.state(name) is not None

    def topic_of(self, name: str) -> str | None:
        """The topic; raises RoomNotJoinedError."""
        return self._state(name).topic or None

    def occupants_of(self, name: str) -> Sequence[IRCRoomOccupant]:
        """Who is there; raises RoomNotJoinedError."""
        room = self._room(name)
        return [self._occupant(mask, room) for mask in list(self._state(name).masks.values())]

    # protocol.IRCEvents, as far as names and rooms go

    def casemapping_changed(self, casemapping: CaseMapping) -> None:
        """The server announced its case mapping: use it for rooms, occupants and new identifiers."""
        self._rooms.set_casemapping(casemapping)
        self._hostmasks.set_casemapping(casemapping)
        if self._identifier is not None:
            self._identifier = self._person(str(self._identifier))

    def joined(self, mask: str, room: str) -> None:
        """Somebody came into a room."""
        if self._is_me(nick_of(mask)):
            self._identifier = self._person(mask)
            state = self._rooms.enter(room)
            self._settled(room)
        else:
            known = self._rooms.state(room)
            if known is None:
                return
            state = known
        state.add(mask)
        self._hostmasks.forget(nick_of(mask))
        if self._events is not None:
            occupant = self._occupant(mask, self._room(state.name))
            if not self._is_me(nick_of(mask)):
                self._events.presence_changed(self._backend, Presence(self._person(mask), status=ONLINE))
            inviter = self._inviters.pop(self.name_rules.fold(state.name), None) if self._is_me(nick_of(mask)) else None
            self._events.room_joined(self._backend, occupant.room, occupant, inviter)

    def join_failed(self, room: str, reason: str) -> None:
        """The server says no."""
        if self._rooms.state(room) is None and self._rooms.is_wanted(room):
            self.log.warn("{network}: can't join {room}: {reason}", network=self.network, room=room, reason=reason)
            self._settled(room)

    def parted(self, mask: str, room: str, thrown_out_by: str = "") -> None:
        """Somebody left a room, or was thrown out by another mask."""
        state = self._rooms.state(room)
        if state is None:
            return
        occupant = self._occupant(state.mask_of(nick_of(mask)) or mask, self._room(state.name))
        state.remove(nick_of(mask))
        if self._is_me(nick_of(mask)):
            self._rooms.leave(room)
        if self._events is not None:
            kicker = self._kicker(thrown_out_by, state) if thrown_out_by else None
            self._events.room_left(self._backend, occupant.room, occupant, kicker)

    def kicked(self, nick: str, room: str, by: str, reason: str) -> None:
        """Somebody was thrown out. The bot comes back after IRC_RECONNECT_ON_KICK seconds."""
        self.parted(nick, room, by)
        if self._is_me(nick):
            self.log.warn(
                "{network}: {by} threw the bot out of {room}: {reason}",
                network=self.network,
                by=nick_of(by),
                room=room,
                reason=reason,
            )
            if self.settings.rejoin_after_kick is not None and self._rooms.is_wanted(room):
                self._later(
                    f"rejoin {self.name_rules.fold(room)}", self.settings.rejoin_after_kick, partial(self._rejoin, room)
                )

    def quit(self, mask: str) -> None:
        """Somebody left the network, and so every room."""
        nick = nick_of(mask)
        if self._is_me(nick):
            return
        self._hostmasks.forget(nick)
        states = [state for state in self._rooms.joined if state.mask_of(nick) is not None]
        for state in states:
            self.parted(mask, state.name)
        if states and self._events is not None:
            self._events.presence_changed(self._backend, Presence(self._person(mask), status=OFFLINE))

    def nick_changed(self, mask: str, nick: str) -> None:
        """Somebody, perhaps the bot, has another nick."""
        was_me = self._identifier is not None and self._same(self._identifier.nick, nick_of(mask))
        new = nick + mask[len(nick_of(mask)) :]
        self._rooms.rename(nick_of(mask), new)
        self._hostmasks.forget(nick_of(mask))
        self._hostmasks.forget(nick)
        if was_me:
            self._identifier = self._person(new)

    def names_received(self, room: str, nicks: Sequence[str]) -> None:
        """Some of those in a room that the bot has entered."""
        state = self._rooms.state(room)
        if state is not None:
            for nick in nicks:
                state.add(nick)

    def topic_received(self, room: str, topic: str, changed: bool) -> None:
        """The topic of a room."""
        state = self._rooms.state(room)
        if state is not None:
            state.topic = topic
            if changed and self._events is not None:
                self._events.room_topic_changed(self._backend, self._room(state.name))

    def invited(self, room: str, by: str) -> None:
        """Come in, if it is a room to be in."""
        if self._rooms.is_wanted(room) and self._rooms.state(room) is None:
            inviter = self._person_or_none(by)
            if inviter is not None:
                self._inviters[self.name_rules.fold(room)] = inviter
            self._rejoin(room)

    # Entering

    def _enter_rooms(self) -> None:
        try:
            self._rooms.reconfigure(self.settings.rooms())
        except ConfigError as error:
            self.log.error("{error}; the rooms stay as they were", error=str(error))
        self._pending = {name for name, _ in self._rooms.wanted}
        self._send(*join_commands(self._rooms.wanted))
        if self._pending:
            self._later("rooms", self.ROOMS_WITHIN, self._rooms_entered)
        else:
            self._rooms_entered()

    def _settled(self, room: str) -> None:
        settled = {name for name in self._pending if self._same(name, room)}
        if settled:
            self._pending -= settled
            if not self._pending:
                self._later("rooms", 0.0, self._rooms_entered)

    def _rejoin(self, room: str) -> None:
        if self._rooms.is_wanted(room):
            self._send(*join_commands([(room, self._rooms.password_of(room))]))

    def _kicker(self, mask: str, state: RoomState) -> IRCPerson | None:
        """Who threw somebody out: an occupant, unless it was a service from outside; None for a server."""
        known = state.mask_of(nick_of(mask)) is not None
        return self._occupant(mask, self._room(state.name)) if known else self._person_or_none(mask)

    def _person_or_none(self, mask: str) -> IRCPerson | None:
        """The person of the mask; None if it is a server's name."""
        try:
            return self._person(mask)
        except ValueError:
            return None

    # Small things

    @property
    def _backend(self) -> Backend:
        return cast(Backend, self)

    def _is_me(self, nick: str) -> bool:
        return self._nickname is not None and self._same(nick, self._nickname)

    def _same(self, one: str, other: str) -> bool:
        """Whether two names are equal on this server."""
        return same_name(one, other, self.name_rules)

    def _person(self, mask: str) -> IRCPerson:
        return IRCPerson(mask, network=self.network, acl_pattern=self.settings.acl_pattern, casemapping=self.name_rules)

    def _room(self, name: str) -> IRCRoom:
        return IRCRoom(name, network=self.network, actions=self, casemapping=self.name_rules)

    def _occupant(self, mask: str, room: IRCRoom) -> IRCRoomOccupant:
        return IRCRoomOccupant(mask, room, acl_pattern=self.settings.acl_pattern)

    def _state(self, name: str) -> RoomState:
        state = self._rooms.state(name)
        if state is None:
            raise RoomNotJoinedError(f"the bot is not in {name}")
        return state

    def _on_reactor(self, function: Callable[..., None], *args: Any) -> None:
        if threading.get_ident() == self._home:
            function(*args)
        else:
            self._reactor.callFromThread(function, *args)

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

    def _forget_timers(self) -> None:
        self._pending.clear()
        while self._timers:
            self._timers.popitem()[1].cancel()
