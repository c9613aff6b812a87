"""IRC as one of errklein's networks."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from errklein.backends.irc.connection import Backoff, endpoint_for
from errklein.backends.irc.identifiers import (
    IRCPerson,
    IRCRoom,
    IRCRoomOccupant,
    split_occupant,
)
from errklein.backends.irc.line_encoding import split_lines, strip_controls, text_capacity
from errklein.backends.irc.rate_limit import IRCRateLimit, MessageLine
from errklein.backends.irc.reconnection import Reconnector
from errklein.backends.irc.room_membership import RoomLife
from errklein.backends.irc.rooms import nick_of
from errklein.backends.irc.settings import IRCSettings
from errklein.backends.outbox import NotConfirmed, Outbox
from errklein.chat import ONLINE, Identifier, Message, Room
from errklein.ports import BackendEvents
from errklein.text import PARTS_CAP, at_most, to_irc

_LEAST_ROOM = 64
"""How many bytes of text have to fit into a line. No server lets names take more than this leaves them."""

_WORD = re.compile(r"[^\s,:;!?()<>\"'@.]+")


class IRCBackend(RoomLife):
    """One IRC network, as the view `config` of the configuration describes it.

    Tests pass their own `endpoint`, `render` (Markdown to IRC's text) and `chance` (what random.random is).
    """

    mode = "irc"

    enters_rooms = True
    """Nobody else needs to have the bot enter the rooms of CHATROOM_PRESENCE."""

    NICKSERV_WITHIN = 3.0
    """For how many seconds rooms wait for NickServ, for some let only those in who are known to it."""

    def __init__(
        self,
        reactor: Any,
        config: Any,
        *,
        endpoint: IStreamClientEndpoint | None = None,
        render: Callable[[str], str] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        settings = IRCSettings.read(config)
        super().__init__(reactor, settings)
        self.message_size_limit = settings.message_size_limit
        self._render = render or partial(to_irc, compact=getattr(config, "COMPACT_OUTPUT", True))
        self._rate_limit = IRCRateLimit(reactor.seconds, settings.channel_rate, settings.private_rate)
        self._outbox: Outbox[MessageLine] = Outbox(
            reactor, self.network, self._transmit, self._rate_limit, limit=settings.outbox_limit
        )
        backoff = Backoff(chance, settings.reconnect_after)
        self._reconnector = Reconnector(reactor, settings, endpoint or endpoint_for(reactor, settings), backoff, self)
        self._away = ""

    # ports.Backend

    @property
    def bot_identifier(self) -> IRCPerson | None:
        """The bot itself, after the server's welcome."""
        return self._identifier

    def connect(self, events: BackendEvents) -> None:
        """Begin to connect, and go on reconnecting until `disconnect`."""
        self._events = events
        self._reconnector.connect()

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """Send the queue for up to `grace` seconds, then QUIT. Fires when the connection is closed.

        A connection that breaks during this time is reestablished. The queue is dropped at once if the network is not
        connected and no attempt to connect begins in time.
        """
        grace = grace if self._reconnector.will_connect_within(grace) else 0.0
        return self._outbox.close(grace).addCallback(self._quit)

    def send_message(self, message: Message) -> Awaitable[None] | None:
        """Accept the message into the outbox, from any thread; see ports.Backend. Raises ValueError for a bad address.

        `extras["notice"]` makes it a NOTICE.
        """
        target = self._target(message.to)
        command = "NOTICE" if message.extras.get("notice") else "PRIVMSG"
        nick = max(self.settings.nickname + "__", self._identifier.nick if self._identifier else "", key=len)
        room = text_capacity(nick, self.settings.username, command, target)
        if room < _LEAST_ROOM:
            raise ValueError(f"{target[:20]}… is too long a name to say anything to")
        size = min(room, self.message_size_limit)
        text = self._render(message.body)
        longest = PARTS_CAP * size
        lines = at_most(split_lines(text[:longest], size), cut=len(text) > longest)
        return self._outbox.put(
            [MessageLine(command, target, line) for line in lines], recipient=target, text=message.body
        )

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

    def current_holder(self, person: Identifier) -> IRCPerson | None:
        """The current holder of the person's nick, with the full mask; None if that is unknown. See `HostmaskCache`."""
        mask = self._hostmasks.mask_of(person.nick or "", self._rooms.joined) if isinstance(person, IRCPerson) else None
        # The full mask, not what IRC_ACL_PATTERN makes of it, which may be the nick alone.
        return None if mask is None else IRCPerson(mask, network=self.network, casemapping=self.name_rules)

    def rooms(self) -> Sequence[Room]:
        """The rooms that the bot is in."""
        return [self._room(state.name) for state in self._rooms.joined]

    def query_room(self, name: str) -> IRCRoom:
        """The room of that name; raises ValueError if it can't be one."""
        return self._room(name)

    def change_presence(self, status: str, message: str) -> None:
        """Marked as away, with `message`, unless `status` is ONLINE. From any thread; kept across reconnections."""
        self._away = "" if status == ONLINE else strip_controls(message or status)
        self._on_reactor(self._tell_presence)

    # protocol.IRCEvents, but for rooms

    def signed_on(self) -> None:
        """Tell the bot; then the rooms, and when the bot is in them what is queued."""
        if self._reconnector.protocol is None:
            return
        self.casemapping_changed(self._reconnector.protocol.casemapping)
        self._identifier = self._person(self._reconnector.protocol.nickname)
        if self._away:
            self._tell_presence()
        if self._events is not None:
            self._events.backend_connected(self)
        self._later("enter rooms", self.NICKSERV_WITHIN if self.settings.nickserv_password else 0.0, self._enter_rooms)

    def connection_lost(self, reason: Failure) -> None:
        """Wait, and try again."""
        protocol = self._reconnector.protocol
        self._outbox.pause()
        self._forget_timers()
        self._rooms.leave_all()
        self._hostmasks.clear()
        if protocol is not None and protocol.flooded:
            self._rate_limit.slow_down()
        why = self._reconnector.ended(reason)
        if why is not None and protocol is not None and protocol.signed_on_at is not None and self._events is not None:
            self._events.backend_disconnected(self, why)

    def message_received(self, sender: str, target: str, text: str, kind: str, replayed: bool) -> None:
        """A message to the bot or to a room; replayed ones are marked as delayed."""
        if "!" not in sender:
            # Servers say a lot to themselves.
            return
        from_nickserv = kind == "notice" and not replayed and self._same(nick_of(sender), "NickServ")
        if from_nickserv and "enter rooms" in self._timers:
            self._later("enter rooms", 0.0, self._enter_rooms)
        extras = {} if kind == "message" else {kind: True}
        state = self._rooms.state(target)
        if state is not None:
            if not replayed and state.mask_of(nick_of(sender)) is not None:
                # Not of somebody outside: the server wouldn't tell when they quit or change their nick.
                state.add(sender)
            room = self._room(state.name)
            message = Message(text, frm=self._occupant(sender, room), to=room, delayed=replayed, extras=extras)
        elif self._is_me(target):
            if not replayed:
                self._hostmasks.add(sender, self._rooms.joined)
            message = Message(text, frm=self._person(sender), to=self._identifier, delayed=replayed, extras=extras)
        else:
            return
        if self._events is None:
            return
        self._events.message_received(self, message)
        if state is not None and not replayed:
            words = dict.fromkeys(self.name_rules.fold(word) for word in _WORD.findall(text))
            people = [self._occupant(mask, room) for word in words if (mask := state.mask_of(word)) is not None]
            if people:
                self._events.mention_received(self, message, people)

    # Lines

    @property
    def _nickname(self) -> str | None:
        return None if self._reconnector.protocol is None else self._reconnector.protocol.nickname

    def _rooms_entered(self) -> None:
        self._outbox.resume()

    def _quit(self, drained: None) -> Deferred[None]:
        self._forget_timers()
        return self._reconnector.quit()

    def _transmit(self, line: MessageLine) -> Deferred[None]:
        if self._reconnector.protocol is None:
            return fail(NotConfirmed("there is no connection"))
        return self._reconnector.protocol.transmit(line)

    def _tell_presence(self) -> None:
        self._send(f"AWAY :{self._away}" if self._away else "AWAY")

    def _send(self, *lines: str) -> None:
        if self._reconnector.protocol is not None and self._reconnector.protocol.signed_on_at is not None:
            for line in lines:
                self._reconnector.protocol.sendLine(line)

    def _target(self, to: Identifier | None) -> str:
        if isinstance(to, (IRCRoom, IRCPerson)) and to.network in ("", self.network):
            return to.room if isinstance(to, IRCRoom) else to.nick
        raise ValueError(f"{to!r} is neither a person nor a room on {self.network}")
