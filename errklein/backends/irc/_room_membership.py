"""Membership in the rooms of an IRC network: joining, leaving, and the events of occupants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from errklein.backends.irc._casemapping import CaseMapping, same_name
from errklein.backends.irc._joins import Joins
from errklein.backends.irc._line_encoding import strip_controls
from errklein.backends.irc._rate_limiter import IRCRateLimiter
from errklein.backends.irc._rooms import HostmaskCache, Rooms, RoomState, nick_of
from errklein.backends.irc.identifiers import IRCPerson, IRCRoom, IRCRoomOccupant
from errklein.backends.irc.settings import IRCSettings
from errklein.chat import OFFLINE, ONLINE, Presence, RoomNotJoinedError, read_only
from errklein.chat.outgoing import Wait
from errklein.config import ConfigError
from errklein.ports.chat import Backend, BackendEvents
from errklein.running import on_reactor_soon


class RoomMembership:
    """The rooms of one backend, and the identifiers of people in them.

    Assign `events` to have events reported.

    :param backend: The backend, for events.
    :param send: Writes lines, from any thread. Lines are dropped while the bot isn't signed on.
    :param limiter: The rate limits.
    :param chance: Returns random numbers from 0 to 1, for the delays between attempts to join.
    :param ready: Called when the bot begins to join its rooms, and again after each JOIN.
    """

    log = Logger()

    name_rules: CaseMapping = read_only(
        "_rooms.casemapping", "The server's case mapping; RFC1459 until the server announces one."
    )

    def __init__(
        self,
        reactor: Any,
        settings: IRCSettings,
        backend: Backend,
        send: Callable[..., None],
        limiter: IRCRateLimiter,
        chance: Callable[[], float],
        ready: Callable[[], None],
    ) -> None:
        self.events: BackendEvents | None = None
        self.bot_identifier: IRCPerson | None = None
        """The bot's identifier; None before the server's first welcome."""
        self._reactor = reactor
        self._settings = settings
        self._backend = backend
        self.send = send
        self._ready = ready
        self._rooms = Rooms(settings.rooms())
        self._joins = Joins(reactor, settings.network, self._rooms, limiter, send, chance)
        self._hostmasks = HostmaskCache(reactor.seconds)
        self._nickname: str | None = None
        self._inviters: dict[str, IRCPerson] = {}
        self._identifying: IDelayedCall | None = None

    def is_bot(self, nick: str) -> bool:
        """Return whether the nick is the bot's. False without a connection."""
        return self._nickname is not None and self._same(nick, self._nickname)

    def person(self, mask: str) -> IRCPerson:
        """Return the person of a nick or mask; raises ValueError if it is invalid."""
        acl_pattern = self._settings.acl_pattern
        return IRCPerson(mask, network=self._settings.network, acl_pattern=acl_pattern, casemapping=self.name_rules)

    def room(self, name: str) -> IRCRoom:
        """Return the room of that name; raises ValueError if the name is invalid."""
        return IRCRoom(name, network=self._settings.network, actions=self, casemapping=self.name_rules)

    def occupant(self, mask: str, room: IRCRoom) -> IRCRoomOccupant:
        """Return the occupant of the room with that nick or mask."""
        return IRCRoomOccupant(mask, room, acl_pattern=self._settings.acl_pattern)

    def holder(self, nick: str) -> IRCPerson | None:
        """Return the current holder of the nick, with the full mask; None if it is unknown. See `HostmaskCache`."""
        mask = self._hostmasks.mask_of(nick, self._rooms.joined)
        # Without IRC_ACL_PATTERN, which may reduce the mask to the nick.
        return None if mask is None else IRCPerson(mask, network=self._settings.network, casemapping=self.name_rules)

    # For IRCRoom, from any thread

    def join_room(self, name: str, password: str | None) -> None:
        """Join the room, now and after each reconnection. Raises ValueError for an invalid password."""
        password = password or self._rooms.password_of(name)
        if any(character in password for character in " ,\r\n\0"):
            raise ValueError(f"the password of {name} must not contain spaces, commas or line breaks")
        self._rooms.want(name, password)
        on_reactor_soon(self._reactor, self._join, name)

    def leave_room(self, name: str, reason: str | None) -> None:
        """Leave the room, and don't join it after the next reconnection."""
        self._rooms.unwant(name)
        on_reactor_soon(self._reactor, self._joins.forget, name)
        self.send(f"PART {name} :{strip_controls(reason)}" if reason else f"PART {name}")

    @property
    def joined_rooms(self) -> list[IRCRoom]:
        """The rooms that the bot is in."""
        return [self.room(state.name) for state in self._rooms.joined]

    def is_joined(self, name: str) -> bool:
        """Return whether the bot is in the room."""
        return self._rooms.state(name) is not None

    def is_known(self, name: str) -> bool:
        """Return whether the bot is in the room or should join it."""
        return self.is_joined(name) or self._rooms.is_wanted(name)

    def why_outside(self, name: str) -> str | None:
        """Return why the bot isn't in a room that it is about to join, see `Joins.reason`; None for any other room."""
        is_missing = self._rooms.is_wanted(name) and not self.is_joined(name) and self._nickname is not None
        return self._joins.reason(name) if is_missing else None

    def status(self, name: str) -> Wait:
        """Return whether the bot is in a room that it should be in, and since when, or why not; see `Joins.status`."""
        status = self._joins.status(name)
        if self.is_joined(name):
            return status._replace(state=f"the bot is in {name}")
        cause = status.cause or "the server has not replied to JOIN yet"
        return status._replace(state=f"the bot isn't in {name}", cause=cause)

    def state_of(self, name: str) -> RoomState:
        """Return the state of a room; raises RoomNotJoinedError if the bot isn't in it."""
        state = self._rooms.state(name)
        if state is None:
            raise RoomNotJoinedError(f"the bot is not in {name}")
        return state

    def occupants_of(self, name: str) -> Sequence[IRCRoomOccupant]:
        """Return the people in the room; raises RoomNotJoinedError if the bot isn't in it."""
        room = self.room(name)
        return [self.occupant(mask, room) for mask in list(self.state_of(name).masks.values())]

    def signed_on(self, nickname: str, casemapping: CaseMapping) -> None:
        """Store the bot's nick and the case mapping after the server's welcome."""
        self._nickname = nickname
        self.casemapping_changed(casemapping)
        self.bot_identifier = self.person(nickname)

    def connection_lost(self) -> None:
        """Clear all state of the connection. The rooms to join are kept."""
        self._nickname = None
        for state in self._rooms.joined:
            self._rooms.leave(state.name)
        self._hostmasks.clear()
        self.stop()

    def stop(self) -> None:
        """Cancel all timers, so that no more rooms are joined."""
        self._joins.stop()
        if self._identifying is not None:
            self._identifying.cancel()
            self._identifying = None

    def join_configured(self, delay: float) -> None:
        """Join all configured rooms, and those that plugins have joined, after `delay` seconds."""
        if delay:
            self._identifying = self._reactor.callLater(delay, self._join_configured)
        else:
            self._join_configured()

    def nickserv_replied(self) -> None:
        """Join the rooms at once if they still wait for NickServ."""
        if self._identifying is not None:
            self._identifying.cancel()
            self._join_configured()

    def most_joins(self, most: int) -> None:
        """Use the maximum number of rooms in a JOIN command that the server has announced."""
        self._joins.most = max(1, most)

    def room_of_message(self, target: str, sender: str, replayed: bool) -> RoomState | None:
        """Return the room that a message is sent to; None for a private message.

        Stores the sender's mask unless the message is replayed.
        """
        state = self._rooms.state(target)
        if replayed:
            return state
        if state is None:
            if self.is_bot(target):
                self._hostmasks.add(sender, self._rooms.joined)
        elif state.mask_of(nick_of(sender)) is not None:
            # Not for people outside the room, whose quits and nick changes the server doesn't report.
            state.add(sender)
        return state

    # Events of the protocol

    def casemapping_changed(self, casemapping: CaseMapping) -> None:
        """Use the case mapping for rooms, occupants and new identifiers."""
        self._rooms.set_casemapping(casemapping)
        self._hostmasks.set_casemapping(casemapping)
        if self.bot_identifier is not None:
            self.bot_identifier = self.person(str(self.bot_identifier))

    def joined(self, mask: str, room: str) -> None:
        """Handle the JOIN of a person or the bot."""
        itself = self.is_bot(nick_of(mask))
        state = self._rooms.enter(room) if itself else self._rooms.state(room)
        if state is None:
            return
        if itself:
            self.bot_identifier = self.person(mask)
            self._joins.joined(room)
        state.add(mask)
        self._hostmasks.forget(nick_of(mask))
        if self.events is not None:
            occupant = self.occupant(mask, self.room(state.name))
            if not itself:
                self.events.presence_changed(self._backend, Presence(self.person(mask), status=ONLINE))
            inviter = self._inviters.pop(self.name_rules.fold(state.name), None) if itself else None
            self.events.room_joined(self._backend, occupant.room, occupant, inviter)
        if itself:
            self._ready()

    def join_failed(self, room: str, reason: str) -> None:
        """Handle an error reply to the bot's JOIN."""
        if self._rooms.state(room) is None and self._rooms.is_wanted(room):
            self._joins.failed(room, reason)

    def parted(self, mask: str, room: str, kicked_by: str = "") -> None:
        """Handle the departure of a person or the bot. `kicked_by` is the mask of the person who kicked, if one did."""
        state = self._rooms.state(room)
        if state is None:
            return
        occupant = self.occupant(state.mask_of(nick_of(mask)) or mask, self.room(state.name))
        state.remove(nick_of(mask))
        if self.is_bot(nick_of(mask)):
            self._rooms.leave(room)
            if not kicked_by and self._rooms.is_wanted(room):
                self._joins.failed(room, "the server has removed the bot from it")
        if self.events is not None:
            kicker = self._kicker(kicked_by, state) if kicked_by else None
            self.events.room_left(self._backend, occupant.room, occupant, kicker)

    def kicked(self, nick: str, room: str, by: str, reason: str) -> None:
        """Handle a KICK by the mask `by`. The bot joins again after IRC_RECONNECT_ON_KICK seconds."""
        was_joined = self.is_joined(room)
        self.parted(nick, room, by)
        if not was_joined or not self.is_bot(nick):
            return
        text, delay = f"{nick_of(by)} kicked the bot: {reason}", self._settings.rejoin_after_kick
        if delay is not None and self._rooms.is_wanted(room):
            self._joins.failed(room, text, delay)
        else:
            self._joins.give_up(room, text)

    def quit(self, mask: str) -> None:
        """Handle the QUIT of a person, who leaves all rooms."""
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
        """Handle a nick change of a person or the bot."""
        old, new = nick_of(mask), nick + mask[len(nick_of(mask)) :]
        self._rooms.rename(old, new)
        self._hostmasks.forget(old)
        self._hostmasks.forget(nick)
        if self.bot_identifier is not None and self._same(self.bot_identifier.nick, old):
            self._nickname = nick
            self.bot_identifier = self.person(new)

    def names_received(self, room: str, nicks: Sequence[str]) -> None:
        """Add nicks from NAMES to the occupants of a room that the bot is in."""
        state = self._rooms.state(room)
        if state is not None:
            for nick in nicks:
                state.add(nick)

    def topic_received(self, room: str, topic: str, changed: bool) -> None:
        """Store the topic of a room. `changed` is False for the topic that the server sends after a JOIN."""
        state = self._rooms.state(room)
        if state is not None:
            state.topic = topic
            if changed and self.events is not None:
                self.events.room_topic_changed(self._backend, self.room(state.name))

    def invited(self, room: str, by: str) -> None:
        """Handle an INVITE of the bot by the mask `by`: join the room if it is one that the bot should be in."""
        if self._rooms.is_wanted(room) and self._rooms.state(room) is None:
            inviter = self._person_or_none(by)
            if inviter is not None:
                self._inviters[self.name_rules.fold(room)] = inviter
            self._join(room)

    def _join_configured(self) -> None:
        self._identifying = None
        try:
            self._rooms.reconfigure(self._settings.rooms())
        except ConfigError as error:
            self.log.error("{error}; CHATROOM_PRESENCE is unchanged", error=str(error))
        self._joins.join(*(name for name, _ in self._rooms.wanted))
        self._ready()

    def _join(self, name: str) -> None:
        if self._nickname is not None:
            self._joins.forget(name)
            self._joins.join(name)

    def _kicker(self, mask: str, state: RoomState) -> IRCPerson | None:
        """Return the person who kicked: an occupant, or a person outside, such as a service. None for a server."""
        known = state.mask_of(nick_of(mask)) is not None
        return self.occupant(mask, self.room(state.name)) if known else self._person_or_none(mask)

    def _person_or_none(self, mask: str) -> IRCPerson | None:
        """Return the person of the mask; None for the name of a server."""
        try:
            return self.person(mask)
        except ValueError:
            return None

    def _same(self, one: str, other: str) -> bool:
        """Return whether two names are equal on this server."""
        return same_name(one, other, self.name_rules)
