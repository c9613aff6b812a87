"""The rooms of an IRC network: their occupants, the joining of rooms, and the events in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from errklein.chat import OFFLINE, ONLINE, Presence, RoomNotJoinedError
from errklein.chat.outgoing import Wait
from errklein.config import ConfigError
from errklein.networks._connection import Backoff
from errklein.networks.context import Latest, NetworkContext
from errklein.networks.irc._lines import strip_controls
from errklein.networks.irc.identifiers import CaseMapping, IRCPerson, IRCRoom, IRCRoomOccupant
from errklein.running import cancel_timers, on_reactor_soon

if TYPE_CHECKING:
    from errklein.networks.irc._backend import IRCBackend

LIFETIME = 60.0
"""Seconds for which a private message identifies the holder of a nick. The server reports quits and nick changes only for
people in the bot's rooms."""
_WORD = re.compile(r"[^\s,:;!?()<>\"'@.]+")


@dataclass
class RoomState:
    """A room that the bot is in: its name in the server's spelling, its topic, and the occupants' masks by folded nick.
    A mask is `nick!user@host`, or the nick alone as long as the rest is unknown."""

    name: str
    casemapping: CaseMapping
    topic: str = ""
    masks: dict[str, str] = field(default_factory=dict)
    identifier: IRCRoom | None = None  # the identifier of the room with this case mapping, when it was created

    def add(self, mask: str) -> None:
        nick = nick_of(mask)
        key = self.casemapping.fold(nick)
        if "!" in mask or key not in self.masks:
            self.masks[key] = mask

    def renew(self, mask: str) -> None:
        """Store the mask of an occupant. The server doesn't report quits and nick changes of people outside the room."""
        key = self.casemapping.fold(nick_of(mask))
        if key in self.masks:
            self.masks[key] = mask

    def mask_of(self, nick: str) -> str | None:
        return self.masks.get(self.casemapping.fold(nick))

    def remove(self, nick: str) -> bool:
        return self.masks.pop(self.casemapping.fold(nick), None) is not None

    def set_casemapping(self, casemapping: CaseMapping) -> None:
        self.casemapping, self.identifier = casemapping, None
        self.masks = {casemapping.fold(nick_of(mask)): mask for mask in self.masks.values()}


def nick_of(mask: str) -> str:
    return mask.partition("!")[0]


def join_line(rooms: Iterable[tuple[str, str]], most: int, size: int = 500) -> tuple[str, Sequence[str]]:
    """Return a JOIN command for the first of the rooms, as many as fit in `size` bytes after "JOIN ", and their names (RFC 1459,
    section 4.2.1). Rooms with passwords come first, since passwords are assigned by position."""
    taken: list[tuple[str, str]] = []
    for name, key in islice(rooms, most):
        size -= len(name.encode("utf-8")) + 1 + (len(key.encode("utf-8")) + 1 if key else 0)
        if size < 0 and taken:
            break
        taken.append((name, key))
    taken.sort(key=lambda room: not room[1])
    names = [name for name, _ in taken]
    return " ".join(["JOIN", ",".join(names), ",".join(key for _, key in taken if key)]).rstrip(), names


_PAUSE = 4
"""The pause between two JOIN commands, in intervals of the server's pace. Half of the lines are left to messages."""
_STABLE_AFTER = 60.0  # the seconds in a room after which attempts to join it begin anew


@dataclass
class _Attempts:
    """The attempts to join a room. `reason` is why the last one has failed: "" if none has, None if there is no other one; `text`
    is the reason in any case. `timer` is the next one, or the end of the wait for a reply. `since`: joined or left the room."""

    backoff: Backoff
    reason: str | None = ""
    timer: IDelayedCall | None = None
    joined_at: float | None = None
    text: str = ""
    next_at: float = 0.0
    since: float = 0.0


class Joins:
    """Joins the rooms that the bot should be in, several with one command, until it is in them."""

    log = Logger()
    TIMEOUT = 30.0  # seconds without a reply to JOIN after which the room is tried again

    def __init__(self, backend: IRCBackend, rooms: RoomMembership, chance: Callable[[], float]) -> None:
        self.most = 1000  # maximum number of rooms in a command, which the server may announce
        self._backend, self._reactor, self._limiter = backend, backend.reactor, backend.limiter
        self._rooms, self._chance = rooms, chance
        # By name: the server may announce another case mapping.
        self._queue: dict[str, None] = {}
        self._attempts: dict[str, _Attempts] = {}
        self._next: IDelayedCall | None = None

    def reason(self, name: str) -> str | None:
        """Return why the bot isn't in a room that it is about to join; "" if no attempt has failed. None without
        further attempts, and for any other room. May be called in any thread."""
        if not self._rooms.is_missing(name):
            return None
        attempts = self._attempts.get(self._rooms.key(name))
        return "" if attempts is None else attempts.reason

    def status(self, name: str) -> Wait:
        attempts = self._attempts.get(self._rooms.key(name)) or _Attempts(Backoff(self._chance))
        if self._rooms.is_joined(name):
            return Wait(f"the bot is in {name}", attempts.since)
        cause = attempts.text or "the server has not replied to JOIN yet"
        return Wait(f"the bot isn't in {name}", attempts.since, cause, attempts.next_at)

    def join(self, *names: str) -> None:
        self._queue.update(dict.fromkeys(names))
        if self._next is None:
            self._go_on()

    def joined(self, name: str) -> None:
        attempts = self._of(name)
        attempts.reason, attempts.text, attempts.next_at = "", "", 0.0
        attempts.joined_at = attempts.since = self._reactor.seconds()
        cancel_timers(attempts.timer)

    def failed(self, name: str, reason: str, delay: float | None = None) -> None:
        """If the bot should be in the room, join it later: after `delay` seconds, or twice the time that the last attempt has waited."""
        if not self._rooms.is_missing(name):
            return
        attempts = self._of(name)
        if attempts.joined_at is not None and self._reactor.seconds() - attempts.joined_at >= _STABLE_AFTER:
            attempts.backoff.reset()
        if attempts.joined_at is not None or not attempts.since:
            attempts.since = self._reactor.seconds()
        attempts.joined_at = None
        if reason != attempts.reason:
            self._log(name, reason)
        attempts.reason = attempts.text = reason
        delay = attempts.backoff.delay() if delay is None else delay
        attempts.next_at = self._reactor.seconds() + delay
        self._later(attempts, delay, self.join, name)

    def give_up(self, name: str, reason: str) -> None:
        """Note that the bot doesn't join the room until `forget` is called."""
        self.forget(name)
        attempts = self._of(name)
        attempts.reason, attempts.since = None, self._reactor.seconds()
        attempts.text = f"{reason}; it doesn't join again by itself"
        self._log(name, reason)

    def forget(self, name: str) -> None:
        if (attempts := self._attempts.pop(self._rooms.key(name), None)) is not None:
            cancel_timers(attempts.timer)

    def stop(self) -> None:
        cancel_timers(self._next, *(attempts.timer for attempts in self._attempts.values()))
        self._next = None
        self._queue.clear()
        self._attempts.clear()

    def _of(self, name: str) -> _Attempts:
        return self._attempts.setdefault(self._rooms.key(name), _Attempts(Backoff(self._chance)))

    def _log(self, name: str, reason: str) -> None:
        self.log.warn("{network}: not in {room} ({reason})", network=self._backend.network, room=name, reason=reason)

    def _go_on(self) -> None:
        self._next = None
        if not any(map(self._rooms.is_missing, self._queue)):
            self._queue.clear()
        elif wait := self._limiter.take_join():
            self._next = self._reactor.callLater(wait, self._send_next)
        else:
            self._send_next()

    def _send_next(self) -> None:
        missing = ((name, self._rooms.password_of(name)) for name in self._queue if self._rooms.is_missing(name))
        line, names = join_line(missing, self.most)
        for name in names:
            del self._queue[name]
            self._of(name).next_at = 0.0
            self._later(self._of(name), self.TIMEOUT, self.failed, name, "the server does not reply to JOIN")
        if names:
            self._backend.send(line)
        self._next = self._reactor.callLater(_PAUSE * self._limiter.interval, self._go_on)

    def _later(self, attempts: _Attempts, delay: float, call: Callable[..., None], *args: str) -> None:
        cancel_timers(attempts.timer)
        attempts.timer = self._reactor.callLater(delay, call, *args)


class RoomMembership:
    """The rooms of one backend, the identifiers of people in them, and the events in them, which it reports. Names are
    compared by the server's case mapping."""

    log = Logger()

    def __init__(self, backend: IRCBackend, context: NetworkContext) -> None:
        self.bot_identifier: IRCPerson | None = None  # the bot's identifier; None before the server's first welcome
        self.name_rules = CaseMapping.RFC1459  # the server's case mapping; RFC1459 until the server announces one
        self.send = backend.send
        self.joins = Joins(backend, self, context.chance)
        self._acl_pattern, self._rejoin_after = context.config.IRC_ACL_PATTERN, context.config.IRC_RECONNECT_ON_KICK
        self._backend, self._reactor = backend, backend.reactor
        self._settings = settings = backend.settings
        # The bot's nick; None without a connection.
        self._nickname: str | None = None
        self._configured = settings.rooms()
        # The rooms to join, with their passwords or empty strings. The keys are names as configured, not folded: the server's
        # case mapping may distinguish rooms that RFC1459 doesn't.
        self._wanted = dict(self._configured)
        self._index()
        self._joined: dict[str, RoomState] = {}
        # The masks of the latest senders of private messages, and when they have sent one.
        self._senders: dict[str, tuple[str, float]] = Latest()
        self._inviters: dict[str, IRCPerson] = {}
        self._identifying: IDelayedCall | None = None

    def key(self, name: str) -> str:
        return self.name_rules.fold(name)

    def is_bot(self, nick: str) -> bool:
        # Plugins' threads call this, too.
        own = self._nickname
        return own is not None and self.key(nick) == self.key(own)

    def person(self, mask: str) -> IRCPerson:
        network, pattern = self._settings.network, self._acl_pattern
        return IRCPerson(mask, network=network, acl_pattern=pattern, casemapping=self.name_rules)

    def room(self, name: str) -> IRCRoom:
        return IRCRoom(name, network=self._settings.network, actions=self, casemapping=self.name_rules)

    def occupant(self, mask: str, room: IRCRoom) -> IRCRoomOccupant:
        return IRCRoomOccupant(mask, room, acl_pattern=self._acl_pattern)

    def holder(self, nick: str) -> IRCPerson | None:
        # For people in the bot's rooms the server reports nick changes and quits, so these masks are current.
        masks = (state.mask_of(nick) or "" for state in self._joined.values())
        mask = next((mask for mask in masks if "!" in mask), "")
        if not mask:
            mask, since = self._senders.get(self.key(nick), ("", 0.0))
            if not mask or self._reactor.seconds() - since > LIFETIME:
                return None
        # Without IRC_ACL_PATTERN, which may reduce the mask to the nick.
        return IRCPerson(mask, network=self._settings.network, casemapping=self.name_rules)

    # For IRCRoom, from any thread

    def join_room(self, name: str, password: str | None) -> None:
        """Join the room, now and after each reconnection. Raises ValueError for an invalid password."""
        password = password or self.password_of(name)
        if any(character in password for character in " ,\r\n\0"):
            raise ValueError(f"the password of {name} must not contain spaces, commas or line breaks")
        self._want(name, password)
        on_reactor_soon(self._reactor, self._join, name)

    def leave_room(self, name: str, reason: str | None) -> None:
        self._unwant(name)
        on_reactor_soon(self._reactor, self.joins.forget, name)
        self.send(f"PART {name} :{strip_controls(reason)}" if reason else f"PART {name}")

    @property
    def joined_rooms(self) -> list[IRCRoom]:
        return [self.room(state.name) for state in list(self._joined.values())]

    def is_joined(self, name: str) -> bool:
        return self.key(name) in self._joined

    def is_wanted(self, name: str) -> bool:
        return self.key(name) in self._names

    def is_known(self, name: str) -> bool:
        return self.is_joined(name) or self.is_wanted(name)

    def is_missing(self, name: str) -> bool:
        """Return whether there is a connection, but the bot isn't in a room that it should join."""
        return self._nickname is not None and self.is_wanted(name) and not self.is_joined(name)

    def password_of(self, name: str) -> str:
        names = self._names.get(self.key(name))
        return self._wanted[name if name in names else names[0]] if names else ""

    def state_of(self, name: str) -> RoomState:
        if (state := self._state(name)) is None:
            raise RoomNotJoinedError(f"the bot is not in {name}")
        return state

    def occupants_of(self, name: str) -> Sequence[IRCRoomOccupant]:
        room = self.room(name)
        return [self.occupant(mask, room) for mask in list(self.state_of(name).masks.values())]

    def signed_on(self, nickname: str, casemapping: CaseMapping) -> None:
        self._nickname = nickname
        self.casemapping_changed(casemapping)
        self.bot_identifier = self.person(nickname)

    def connection_lost(self) -> None:
        self._nickname = None
        self._joined.clear()
        self._senders.clear()
        self.stop()

    def stop(self) -> None:
        self.joins.stop()
        cancel_timers(self._identifying)
        self._identifying = None

    def nickserv_replied(self) -> None:
        if self._identifying is not None:
            self._identifying.cancel()
            self.join_configured()

    def parties(
        self, sender: str, target: str, text: str, replayed: bool
    ) -> tuple[IRCPerson, IRCPerson | IRCRoom | None, list[IRCRoomOccupant]] | None:
        """Return the sender and the recipient of a message, and the occupants of the room whose nicks are in the text. None
        if it is neither for the bot nor for one of its rooms. Stores the sender's mask unless the message is replayed."""
        if (state := self._state(target)) is not None:
            if not replayed:
                state.renew(sender)
            room = state.identifier = state.identifier or self.room(state.name)
            words = dict.fromkeys(_WORD.findall(self.name_rules.fold(text)))
            mentioned = [self.occupant(state.masks[word], room) for word in words if word in state.masks]
            return self.occupant(sender, room), room, mentioned
        if not self.is_bot(target):
            return None
        if not replayed:
            self._add_sender(sender)
        return self.person(sender), self.bot_identifier, []

    def casemapping_changed(self, casemapping: CaseMapping) -> None:
        self.name_rules = casemapping
        self._senders.clear()
        for state in self._joined.values():
            state.set_casemapping(casemapping)
        self._joined = {self.key(state.name): state for state in self._joined.values()}
        self._index()
        if self.bot_identifier is not None:
            self.bot_identifier = self.person(str(self.bot_identifier))

    def joined(self, mask: str, room: str) -> None:
        itself = self.is_bot(nick_of(mask))
        if itself:
            self._joined[self.key(room)] = RoomState(room, self.name_rules)
            self.bot_identifier = self.person(mask)
            self.joins.joined(room)
        if (state := self._state(room)) is None:
            return
        state.add(mask)
        self._forget(nick_of(mask))
        occupant = self.occupant(mask, self.room(state.name))
        if not itself:
            self._backend.report("presence_changed", Presence(self.person(mask), status=ONLINE))
        inviter = self._inviters.pop(self.key(state.name), None) if itself else None
        self._backend.report("room_joined", occupant.room, occupant, inviter)
        if itself:
            # What waits for the room is sent.
            self._backend.outbox.resume()

    def parted(self, mask: str, room: str, kicked_by: str = "") -> None:
        """Handle the departure of a person or the bot. `kicked_by` is the mask of the person who kicked, if one did."""
        if (state := self._state(room)) is None:
            return
        occupant = self.occupant(state.mask_of(nick_of(mask)) or mask, self.room(state.name))
        state.remove(nick_of(mask))
        if self.is_bot(nick_of(mask)):
            del self._joined[self.key(room)]
            if not kicked_by:
                self.joins.failed(room, "the server has removed the bot from it")
        kicker = self._kicker(kicked_by, state) if kicked_by else None
        self._backend.report("room_left", occupant.room, occupant, kicker)

    def kicked(self, nick: str, room: str, by: str, reason: str) -> None:
        was_joined = self.is_joined(room)
        self.parted(nick, room, by)
        if not was_joined or not self.is_bot(nick):
            return
        text = f"{nick_of(by)} kicked the bot: {reason}"
        if self._rejoin_after is not None and self.is_wanted(room):
            self.joins.failed(room, text, self._rejoin_after)
        else:
            self.joins.give_up(room, text)

    def quit(self, mask: str) -> None:
        nick = nick_of(mask)
        if self.is_bot(nick):
            return
        self._forget(nick)
        states = [state for state in self._joined.values() if state.mask_of(nick) is not None]
        for state in states:
            self.parted(mask, state.name)
        if states:
            self._backend.report("presence_changed", Presence(self.person(mask), status=OFFLINE))

    def nick_changed(self, mask: str, nick: str) -> None:
        """Handle a nick change of a person or the bot. Neither nick identifies a sender any more."""
        old, new = nick_of(mask), nick + mask[len(nick_of(mask)) :]
        for state in self._joined.values():
            if state.remove(old):
                state.add(new)
        self._forget(old)
        self._forget(nick)
        if self.is_bot(old):
            self._nickname = nick
            self.bot_identifier = self.person(new)

    def names_received(self, room: str, nicks: Sequence[str]) -> None:
        if (state := self._state(room)) is not None:
            for nick in nicks:
                state.add(nick)

    def topic_received(self, room: str, topic: str, changed: bool) -> None:
        """Store the topic of a room. `changed` is False for the topic that the server sends after a JOIN."""
        if (state := self._state(room)) is not None:
            state.topic = topic
            if changed:
                self._backend.report("room_topic_changed", self.room(state.name))

    def invited(self, room: str, by: str) -> None:
        if self.is_missing(room):
            if (inviter := self._person_or_none(by)) is not None:
                self._inviters[self.key(room)] = inviter
            self._join(room)

    def join_configured(self, delay: float = 0.0) -> None:
        """Join the rooms of CHATROOM_PRESENCE, and those that plugins have joined, after so many seconds."""
        self._identifying = self._reactor.callLater(delay, self.join_configured) if delay else None
        if delay:
            return
        before = self._configured
        try:
            self._configured = self._settings.rooms()
        except ConfigError as error:
            self.log.error("{error}; CHATROOM_PRESENCE is unchanged", error=str(error))
        for name in before.keys() - self._configured.keys():
            self._unwant(name)
        for name, password in self._configured.items():
            if before.get(name) != password:
                self._want(name, password)
        self.joins.join(*self._wanted)
        # From now on, messages to rooms wait for these.
        self._backend.outbox.resume()

    def _join(self, name: str) -> None:
        if self._nickname is not None:
            self.joins.forget(name)
            self.joins.join(name)

    def _want(self, name: str, password: str) -> None:
        self._unwant(name)
        self._wanted[name] = password
        self._names[self.key(name)] = [name]

    def _unwant(self, name: str) -> None:
        for other in self._names.pop(self.key(name), ()):
            del self._wanted[other]

    def _index(self) -> None:
        """Collect the rooms to join by their folded names: thousands of them are looked up while they are joined."""
        self._names: dict[str, list[str]] = {}
        for name in self._wanted:
            self._names.setdefault(self.key(name), []).append(name)

    def _state(self, name: str) -> RoomState | None:
        return self._joined.get(self.key(name))

    def _add_sender(self, mask: str) -> None:
        """Store the mask of the sender of a private message for LIFETIME, and in the rooms that the sender is in. Not
        for replayed messages: their masks may be outdated."""
        nick = nick_of(mask)
        self._forget(nick)
        self._senders[self.key(nick)] = mask, self._reactor.seconds()
        for state in self._joined.values():
            state.renew(mask)

    def _forget(self, nick: str) -> None:
        """Forget the sender with that nick, after its holder has quit or changed it, or another person has taken it."""
        self._senders.pop(self.key(nick), None)

    def _kicker(self, mask: str, state: RoomState) -> IRCPerson | None:
        """Return the person who kicked: an occupant, or a person outside, such as a service. None for a server."""
        known = state.mask_of(nick_of(mask)) is not None
        return self.occupant(mask, self.room(state.name)) if known else self._person_or_none(mask)

    def _person_or_none(self, mask: str) -> IRCPerson | None:
        with suppress(ValueError):
            return self.person(mask)
        return None
