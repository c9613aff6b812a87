"""IRC as one of errklein's networks."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.backends.irc.connection import Backoff, endpoint_for
from errklein.backends.irc.identifiers import (
    IRCPerson,
    IRCRoom,
    IRCRoomOccupant,
    casefold,
    split_occupant,
)
from errklein.backends.irc.lines import cleaned, room_for_text, text_lines
from errklein.backends.irc.link import Link
from errklein.backends.irc.outgoing import IRCPace, Line
from errklein.backends.irc.rooms import Rooms, RoomState, join_commands, nick_of
from errklein.backends.irc.settings import IRCSettings
from errklein.backends.outbox import NotConfirmed, Outbox
from errklein.chat import OFFLINE, ONLINE, Identifier, Message, Presence, Room
from errklein.chat.identifiers import RoomNotJoinedError
from errklein.ports import BackendEvents
from errklein.text import PARTS_CAP, at_most, to_irc

_LEAST_ROOM = 64
"""How many bytes of text have to fit into a line. No server lets names take more than this leaves them."""

_WORD = re.compile(r"[^\s,:;!?()<>\"'@.]+")


class IRCBackend:
    """One IRC network, as the view `config` of the configuration describes it.

    Tests pass their own `endpoint`, `render` (Markdown to IRC's text) and `chance` (what random.random is).
    """

    log = Logger()

    mode = "irc"

    enters_rooms = True
    """Nobody else needs to have the bot enter the rooms of CHATROOM_PRESENCE."""

    ROOMS_WITHIN = 10.0
    """After how many seconds the outbox no longer waits for rooms that the server says nothing about."""

    NICKSERV_WITHIN = 3.0
    """For how many seconds rooms wait for NickServ, for some let only those in who are known to it."""

    LAST_WORDS_WITHIN = 0.4
    """How many seconds `disconnect` gives to what is still queued."""

    def __init__(
        self,
        reactor: Any,
        config: Any,
        *,
        endpoint: IStreamClientEndpoint | None = None,
        render: Callable[[str], str] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings = IRCSettings.read(config)
        self.network = settings.network
        self.message_size_limit = settings.message_size_limit
        self._reactor = reactor
        self._render = render or partial(to_irc, compact=getattr(config, "COMPACT_OUTPUT", True))
        self._home = threading.get_ident()
        self._pace = IRCPace(reactor.seconds, settings.channel_rate, settings.private_rate)
        self._outbox: Outbox[Line] = Outbox(
            reactor, self.network, self._transmit, self._pace, limit=settings.outbox_limit
        )
        self._link = Link(reactor, settings, endpoint or endpoint_for(reactor, settings), Backoff(chance), self)
        self._rooms = Rooms(settings.rooms)
        self._events: BackendEvents | None = None
        self._identifier: IRCPerson | None = None
        self._away = ""
        self._inviters: dict[str, IRCPerson] = {}
        self._pending: set[str] = set()
        self._timers: dict[str, IDelayedCall] = {}

    # ports.Backend

    @property
    def bot_identifier(self) -> IRCPerson | None:
        """The bot itself, after the server's welcome."""
        return self._identifier

    def connect(self, events: BackendEvents) -> None:
        """Begin to connect, and go on reconnecting until `disconnect`."""
        self._events = events
        self._link.connect()

    def disconnect(self) -> Deferred[None]:
        """Say what is queued as far as it goes quickly, then good-bye. Fires when the connection is gone."""
        self._link.leave()
        return self._outbox.close(self.LAST_WORDS_WITHIN).addCallback(self._say_goodbye)

    def send_message(self, message: Message) -> Awaitable[None] | None:
        """Accept the message into the outbox, from any thread; see ports.Backend. Raises ValueError for a bad address.

        `extras["notice"]` makes it a NOTICE.
        """
        target = self._target(message.to)
        command = "NOTICE" if message.extras.get("notice") else "PRIVMSG"
        nick = max(self.settings.nickname + "__", self._identifier.nick if self._identifier else "", key=len)
        room = room_for_text(nick, self.settings.username, command, target)
        if room < _LEAST_ROOM:
            raise ValueError(f"{target[:20]}… is too long a name to say anything to")
        size = min(room, self.message_size_limit)
        text = self._render(message.body)
        longest = PARTS_CAP * size
        lines = at_most(text_lines(text[:longest], size), cut=len(text) > longest)
        return self._outbox.put([Line(command, target, line) for line in lines])

    def build_identifier(self, text: str) -> IRCPerson | IRCRoom:
        """`#room`, `nick`, `nick!user@host`, or `#room/nick` for somebody in a room; raises ValueError for the rest."""
        if text[:1] not in ("#", "&", "+", "!"):
            return self._person(text)
        occupant = split_occupant(text)
        if occupant is None or self._rooms.state(text) or self._rooms.is_wanted(text):
            return self._room(text)
        return self._occupant(occupant[1], self._room(occupant[0]))

    def build_reply(self, message: Message, text: str, private: bool = False, threaded: bool = False) -> Message:
        """An answer to where `message` came from, or to its sender alone. IRC has no threads."""
        frm, to = message.frm, message.to
        if isinstance(to, IRCRoom) and not private:
            return Message(text, frm=self._identifier, to=to, parent=message if threaded else None)
        if isinstance(frm, IRCRoomOccupant):
            frm = frm.as_person
        return Message(text, frm=self._identifier, to=frm, parent=message if threaded else None)

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Put the nick and a colon in front, as people do."""
        nick = getattr(identifier, "nick", None) or str(identifier)
        message.body = f"{nick}: {message.body}"

    def is_from_self(self, message: Message) -> bool:
        """Whether the bot said it."""
        nick = getattr(message.frm, "nick", None)
        return nick is not None and self._identifier is not None and self._is_me(nick)

    def rooms(self) -> Sequence[Room]:
        """The rooms that the bot is in."""
        return [self._room(state.name) for state in self._rooms.joined]

    def query_room(self, name: str) -> IRCRoom:
        """The room of that name; raises ValueError if it can't be one."""
        return self._room(name)

    def change_presence(self, status: str, message: str) -> None:
        """Marked as away, with `message`, unless `status` is ONLINE. From any thread; kept across reconnections."""
        self._away = "" if status == ONLINE else cleaned(message or status)
        self._on_reactor(self._tell_presence)

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
        self._on_reactor(self._send, f"PART {name} :{cleaned(reason)}" if reason else f"PART {name}")

    def set_topic(self, name: str, topic: str) -> None:
        """Ask the server for another topic."""
        self._on_reactor(self._send, f"TOPIC {name} :{cleaned(topic)}")

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

    # protocol.IRCEvents

    def signed_on(self) -> None:
        """Tell the bot; then the rooms, and when the bot is in them what is queued."""
        if self._link.protocol is None:
            return
        self._identifier = self._person(self._link.protocol.nickname)
        if self._away:
            self._tell_presence()
        if self._events is not None:
            self._events.backend_connected(self)
        self._later("enter rooms", self.NICKSERV_WITHIN if self.settings.nickserv_password else 0.0, self._enter_rooms)

    def lost(self, reason: Failure) -> None:
        """Wait, and try again."""
        protocol = self._link.protocol
        self._outbox.pause()
        self._forget_timers()
        self._rooms.leave_all()
        if protocol is not None and protocol.flooded:
            self._pace.slow_down()
        why = self._link.ended(reason)
        if why is not None and protocol is not None and protocol.signed_on_at is not None and self._events is not None:
            self._events.backend_disconnected(self, why)

    def said(self, sender: str, target: str, text: str, kind: str) -> None:
        """A message to the bot or to a room."""
        if "!" not in sender:
            # Servers say a lot to themselves.
            return
        if kind == "notice" and casefold(nick_of(sender)) == "nickserv" and "enter rooms" in self._timers:
            self._later("enter rooms", 0.0, self._enter_rooms)
        extras = {} if kind == "message" else {kind: True}
        state = self._rooms.state(target)
        if state is not None:
            state.add(sender)
            room = self._room(state.name)
            message = Message(text, frm=self._occupant(sender, room), to=room, extras=extras)
        elif self._is_me(target):
            message = Message(text, frm=self._person(sender), to=self._identifier, extras=extras)
        else:
            return
        if self._events is None:
            return
        self._events.message_received(self, message)
        if state is not None:
            words = dict.fromkeys(casefold(word) for word in _WORD.findall(text))
            people = [self._occupant(state.masks[word], room) for word in words if word in state.masks]
            if people:
                self._events.mention_received(self, message, people)

    def entered(self, mask: str, room: str) -> None:
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
        if self._events is not None:
            occupant = self._occupant(mask, self._room(state.name))
            if not self._is_me(nick_of(mask)):
                self._events.presence_changed(self, Presence(self._person(mask), status=ONLINE))
            inviter = self._inviters.pop(casefold(state.name), None) if self._is_me(nick_of(mask)) else None
            self._events.room_joined(self, occupant.room, occupant, inviter)

    def not_entered(self, room: str, reason: str) -> None:
        """The server says no."""
        if self._rooms.state(room) is None and self._rooms.is_wanted(room):
            self.log.warn("{network}: can't join {room}: {reason}", network=self.network, room=room, reason=reason)
            self._settled(room)

    def left_room(self, mask: str, room: str, thrown_out_by: str = "") -> None:
        """Somebody left a room, or was thrown out by another mask."""
        state = self._rooms.state(room)
        if state is None:
            return
        occupant = self._occupant(state.masks.get(casefold(nick_of(mask)), mask), self._room(state.name))
        state.remove(nick_of(mask))
        if self._is_me(nick_of(mask)):
            self._rooms.leave(room)
        if self._events is not None:
            kicker = self._kicker(thrown_out_by, state) if thrown_out_by else None
            self._events.room_left(self, occupant.room, occupant, kicker)

    def kicked(self, nick: str, room: str, by: str, reason: str) -> None:
        """Somebody was thrown out. The bot comes back after IRC_RECONNECT_ON_KICK seconds."""
        self.left_room(nick, room, by)
        if self._is_me(nick):
            self.log.warn(
                "{network}: {by} threw the bot out of {room}: {reason}",
                network=self.network,
                by=nick_of(by),
                room=room,
                reason=reason,
            )
            if self.settings.rejoin_after_kick is not None and self._rooms.is_wanted(room):
                self._later(f"rejoin {casefold(room)}", self.settings.rejoin_after_kick, partial(self._rejoin, room))

    def quitted(self, mask: str) -> None:
        """Somebody left the network, and so every room."""
        nick = nick_of(mask)
        if self._is_me(nick):
            return
        states = [state for state in self._rooms.joined if casefold(nick) in state.masks]
        for state in states:
            self.left_room(mask, state.name)
        if states and self._events is not None:
            self._events.presence_changed(self, Presence(self._person(mask), status=OFFLINE))

    def renamed(self, mask: str, nick: str) -> None:
        """Somebody, perhaps the bot, has another nick."""
        was_me = self._identifier is not None and casefold(self._identifier.nick) == casefold(nick_of(mask))
        new = nick + mask[len(nick_of(mask)) :]
        self._rooms.rename(nick_of(mask), new)
        if was_me:
            self._identifier = self._person(new)

    def present(self, room: str, nicks: Sequence[str]) -> None:
        """Some of those in a room that the bot has entered."""
        state = self._rooms.state(room)
        if state is not None:
            for nick in nicks:
                state.add(nick)

    def topic_told(self, room: str, topic: str, changed: bool) -> None:
        """The topic of a room."""
        state = self._rooms.state(room)
        if state is not None:
            state.topic = topic
            if changed and self._events is not None:
                self._events.room_topic_changed(self, self._room(state.name))

    def invited(self, room: str, by: str) -> None:
        """Come in, if it is a room to be in."""
        if self._rooms.is_wanted(room) and self._rooms.state(room) is None:
            self._inviters[casefold(room)] = self._person(by)
            self._rejoin(room)

    # Rooms and lines

    def _say_goodbye(self, drained: None) -> Deferred[None]:
        self._forget_timers()
        return self._link.say_goodbye()

    def _enter_rooms(self) -> None:
        self._pending = {casefold(name) for name, _ in self._rooms.wanted}
        self._send(*join_commands(self._rooms.wanted))
        if self._pending:
            self._later("rooms", self.ROOMS_WITHIN, self._outbox.resume)
        else:
            self._outbox.resume()

    def _settled(self, room: str) -> None:
        if casefold(room) in self._pending:
            self._pending.discard(casefold(room))
            if not self._pending:
                self._later("rooms", 0.0, self._outbox.resume)

    def _rejoin(self, room: str) -> None:
        if self._rooms.is_wanted(room):
            self._send(*join_commands([(room, self._rooms.password_of(room))]))

    def _transmit(self, line: Line) -> Deferred[None]:
        if self._link.protocol is None:
            return fail(NotConfirmed("there is no connection"))
        return self._link.protocol.say_line(line)

    def _tell_presence(self) -> None:
        self._send(f"AWAY :{self._away}" if self._away else "AWAY")

    def _send(self, *lines: str) -> None:
        if self._link.protocol is not None and self._link.protocol.signed_on_at is not None:
            for line in lines:
                self._link.protocol.sendLine(line)

    def _target(self, to: Identifier | None) -> str:
        if isinstance(to, (IRCRoom, IRCPerson)) and to.network in ("", self.network):
            return to.room if isinstance(to, IRCRoom) else to.nick
        raise ValueError(f"{to!r} is neither a person nor a room on {self.network}")

    # Small things

    def _is_me(self, nick: str) -> bool:
        return self._link.protocol is not None and casefold(nick) == casefold(self._link.protocol.nickname)

    def _person(self, mask: str) -> IRCPerson:
        return IRCPerson(mask, network=self.network, acl_pattern=self.settings.acl_pattern)

    def _room(self, name: str) -> IRCRoom:
        return IRCRoom(name, network=self.network, actions=self)

    def _occupant(self, mask: str, room: IRCRoom) -> IRCRoomOccupant:
        return IRCRoomOccupant(mask, room, acl_pattern=self.settings.acl_pattern)

    def _kicker(self, mask: str, state: RoomState) -> IRCPerson:
        """Who threw somebody out: an occupant, unless it was a server or a service."""
        known = casefold(nick_of(mask)) in state.masks
        return self._occupant(mask, self._room(state.name)) if known else self._person(mask)

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
