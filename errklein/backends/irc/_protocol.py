"""The protocol of one connection to an IRC server: registration, confirmed transmission of lines, and events.

Importing this module imports the reactor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from errklein.backends.irc._capabilities import BEGIN, REFUSALS, WANTED, Capabilities, authenticate_lines
from errklein.backends.irc._casemapping import CaseMapping, same_name
from errklein.backends.irc._client import RobustIRCClient
from errklein.backends.irc._nickname import Nickname
from errklein.backends.irc._rate_limiter import IRCRateLimiter
from errklein.backends.irc._replay import Replay
from errklein.backends.irc._room_replies import RoomReplies
from errklein.backends.irc._transmission import Transmission
from errklein.backends.irc.identifiers import is_room
from errklein.backends.irc.settings import IRCSettings
from errklein.backends.outbox import NotConfirmed

if TYPE_CHECKING:
    from errklein.backends.irc._backend import IRCBackend
    from errklein.backends.irc._room_membership import RoomMembership

_BANNED = re.compile(r"\b[dgkz]-?:?\s?lined?\b|\bbanned\b|access denied|bad password", re.IGNORECASE)
_KILLED = re.compile(r"\bkilled\b", re.IGNORECASE)
"""The end of one connection, for which the reason may name a ban."""
_NO_SASL = "the server doesn't support SASL, which BOT_IDENTITY['sasl_password'] requires"
_BAN_FOLLOWS = 10.0
"""Seconds after the announcement of a ban (465) within which the server closes the connection for it."""
_FLOODED = re.compile(r"flood|recvq|sendq", re.IGNORECASE)

# Numeric replies to failed JOINs: RFC 1459, section 6.1, and later ones.
_JOIN_ERRORS = frozenset(
    {"403", "405", "407", "437", "470", "471", "473", "474", "475", "476", "477", "479", "480", "489", "495", "520"}
)

_ROOM_EVENTS: Mapping[str, Callable[[RoomMembership, str, list[str]], None]] = {
    "PART": lambda rooms, mask, params: rooms.parted(mask, params[0]),
    "KICK": lambda rooms, mask, params: rooms.kicked(params[1], params[0], mask, params[-1]),
    "INVITE": lambda rooms, mask, params: rooms.invited(params[1], mask),
    "RPL_TOPIC": lambda rooms, mask, params: rooms.topic_received(params[1], params[2], False),
    "RPL_NOTOPIC": lambda rooms, mask, params: rooms.topic_received(params[1], "", False),
}
"""Handlers of messages that only concern a room."""


class IRCProtocol(RobustIRCClient):
    """One connection to the server. Reports messages and its state to `events`, and events in rooms to `rooms`.

    `signed_on_at` is the reactor's time of the server's welcome, None before it. `banned` is True if the server has refused
    the bot for good, and `flooded` if it has closed the connection for flooding. `casemapping` is the server's case mapping;
    RFC1459 until it announces one. `transmission` sends lines of messages.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        settings: IRCSettings,
        events: IRCBackend,
        rooms: RoomMembership,
        limiter: IRCRateLimiter,
    ) -> None:
        super().__init__(reactor)
        self.settings = settings
        self.nick = Nickname(
            reactor, settings.network, settings.nickname, self._same, self.sendLine, settings.nickserv_password
        )
        self.banned = False
        self._ban_told_at: float | None = None
        self.flooded = False
        self.signed_on_at: float | None = None
        self.casemapping = CaseMapping.RFC1459
        self._capabilities = Capabilities((*WANTED, *(["sasl"] if settings.sasl_password else [])))
        self.room_replies = RoomReplies(self._same)
        self._replay = Replay()
        self._replay_logged = False
        self._authenticated = False
        self._events = events
        self._rooms = rooms
        self._began = reactor.seconds()
        self._limiter = limiter
        self.transmission = Transmission(reactor, self._capabilities, limiter, self._same, self.write_lines)
        for command, handle in _ROOM_EVENTS.items():
            setattr(self, f"irc_{command}", partial(handle, rooms))

    @property
    def nickname(self) -> str:  # type: ignore[override]  # Twisted reads it
        """The bot's nick."""
        return self.nick.current

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail the unconfirmed lines, and report the end of the connection."""
        self.nick.stop()
        super().connectionLost(reason)
        self.transmission.lost(Failure(NotConfirmed("the connection was lost")))
        self.room_replies.lost()
        self._events.connection_lost(reason)

    def check_alive(self) -> None:
        """Also close the connection if the server completes no registration, or confirms no line, within DEAD_AFTER."""
        now = self.clock.seconds()
        if self.signed_on_at is None and now - self._began >= self.DEAD_AFTER:
            self.abort(f"the server didn't complete the registration within {self.DEAD_AFTER:.0f} s")
        elif self.transmission.silence >= self.DEAD_AFTER:
            self.abort(f"the server didn't confirm a line within {self.DEAD_AFTER:.0f} s")
        else:
            self.transmission.ask_again()
            super().check_alive()

    def irc_ERROR(self, prefix: str, params: list[str]) -> None:
        """Store the server's reason for closing the connection."""
        told = self._ban_told_at is not None and self.clock.seconds() - self._ban_told_at <= _BAN_FOLLOWS
        of_text = _BANNED.search(params[-1]) is not None and _KILLED.search(params[-1]) is None
        self.banned = self.banned or told or of_text
        self.flooded = _FLOODED.search(params[-1]) is not None
        self.reason = self.reason or params[-1]

    def register(self, nickname: str, hostname: str = "0", servername: str = "*") -> None:
        """Register the connection (RFC 1459, section 4.1). A server with capabilities waits for CAP END before it sends 001."""
        self.sendLine(BEGIN)
        if self.settings.password:
            self.sendLine(f"PASS :{self.settings.password}")
        self.nick.try_next()
        self.sendLine(f"USER {self.settings.username} {hostname} {servername} :{self.settings.realname}")

    def irc_CAP(self, prefix: str, params: list[str]) -> None:
        """Negotiate capabilities, then authenticate or end the negotiation."""
        before = self._capabilities.settled
        for line in self._capabilities.received(params[1].upper(), params[2:]):
            self.sendLine(line)
        if before or not self._capabilities.settled or self.signed_on_at is not None:
            return
        if not self.settings.sasl_password:
            self.sendLine("CAP END")
        elif "sasl" not in self._capabilities.enabled:
            self._refused(_NO_SASL)
        elif self._offers_plain(self._capabilities.sasl_mechanisms):
            self.sendLine("AUTHENTICATE PLAIN")

    def irc_908(self, prefix: str, params: list[str]) -> None:
        """Handle the list of the server's SASL mechanisms (RPL_SASLMECHS)."""
        if self.settings.sasl_password and self.signed_on_at is None:
            self._offers_plain(params[1].upper().split(","))

    def _offers_plain(self, mechanisms: Sequence[str]) -> bool:
        """Return whether the server may support SASL PLAIN; otherwise end the connection."""
        if mechanisms and "PLAIN" not in mechanisms:
            self._refused(f"the server doesn't support SASL PLAIN, only {', '.join(mechanisms)}")
            return False
        return True

    def irc_AUTHENTICATE(self, prefix: str, params: list[str]) -> None:
        """Send the account and the password when the server requests them."""
        if params[0] == "+" and self.settings.sasl_password and not self._authenticated:
            for line in authenticate_lines(self.settings.sasl_account, self.settings.sasl_password):
                self.sendLine(line)

    def irc_903(self, prefix: str, params: list[str]) -> None:
        """End the negotiation after a successful SASL authentication (RPL_SASLSUCCESS)."""
        self._authenticated = True
        self.sendLine("CAP END")

    def irc_RPL_WELCOME(self, prefix: str, params: list[str]) -> None:
        """Complete the registration with the nick in the welcome (001), which a server sends once."""
        if self.signed_on_at is not None:
            return
        if self.settings.sasl_password and not self._authenticated:
            self._refused(_NO_SASL)
            return
        self._replay.welcomed(self.tags)
        self.hostname = prefix
        self.signed_on_at = self.clock.seconds()
        self.nick.registered(params[0])
        self.nick.identify()
        self._events.signed_on()

    def irc_RPL_ISUPPORT(self, prefix: str, params: list[str]) -> None:
        """Use the case mapping that the server announces (005)."""
        announced = CaseMapping.announced(params[1:])
        if announced is not None:
            self.casemapping = announced
            self._rooms.casemapping_changed(announced)
        for token in params[1:]:
            # Clients with this mode are marked as bots. See https://ircv3.net/specs/extensions/bot-mode.
            if token.startswith("BOT=") and len(token) == 5:
                self.sendLine(f"MODE {self.nickname} +{token[-1]}")
        super().irc_RPL_ISUPPORT(prefix, params)  # type: ignore[no-untyped-call]
        most = (self.supported.getFeature("TARGMAX") or {}).get("JOIN")
        if most is not None:
            self._rooms.most_joins(most)

    def irc_ERR_NICKNAMEINUSE(self, prefix: str, params: list[str]) -> None:
        """Try the next nick during registration, when the server rejects one."""
        if self.signed_on_at is None and not self.nick.try_next():
            self.abort(f"the server rejects every nick that the bot tries ({params[-1]})")

    irc_ERR_ERRONEUSNICKNAME = irc_ERR_NICKNAMEINUSE
    irc_ERR_NICKCOLLISION = irc_ERR_NICKNAMEINUSE

    def irc_ERR_PASSWDMISMATCH(self, prefix: str, params: list[str]) -> None:
        """Store the reason when the server rejects its password; later, the reply is about another one, such as OPER's."""
        if self.signed_on_at is not None:
            return
        self.reason = f"the server rejects BOT_IDENTITY['password'] ({params[-1]})"
        self.banned = True

    def irc_ERR_YOUREBANNEDCREEP(self, prefix: str, params: list[str]) -> None:
        """Store the reason when the server has banned the bot. It closes the connection then."""
        self._ban_told_at = self.clock.seconds()
        if self.signed_on_at is None:
            self.reason = params[-1]
            self.banned = True

    def _refused(self, reason: str) -> None:
        """End the connection for good, also during the registration."""
        self.banned = True
        self.reason = self.reason or reason
        self.sendLine("QUIT")
        cast(ITCPTransport, self.transport).loseConnection()

    def _same(self, one: str, other: str) -> bool:
        """Return whether two names are equal on this server."""
        return same_name(one, other, self.casemapping)

    def irc_RPL_MYINFO(self, prefix: str, params: list[str]) -> None:
        """Use the pace of the server's software (004)."""
        self._limiter.server_is(params[2])

    def irc_PONG(self, prefix: str, params: list[str]) -> None:
        """Confirm the lines that the server has handled before the PING."""
        self._replay.answered(self.tags)
        self.transmission.answered(params)

    def numeric_received(self, number: str, params: list[str]) -> None:
        """Handle rejections of the account, of a line, and of a JOIN."""
        if number in REFUSALS and self.settings.sasl_password and self.signed_on_at is None:
            self._refused(f"the server rejects the SASL account {self.settings.sasl_account} ({params[-1]})")
        self.room_replies.rejected(number, params)
        if len(params) < 2 or self.transmission.numeric_received(number, params, self.tags):
            return
        if number in _JOIN_ERRORS:
            self._rooms.join_failed(params[1], params[-1])

    def handleCommand(self, command: str, prefix: str, params: list[str]) -> None:
        """Handle one line. In a playback batch only messages are handled; JOIN, PART and the like in it are ignored."""
        self._replay.received(self.tags)
        self.transmission.labelled(command, params, self.tags)
        if "label" in self.tags:
            self._replay.answered(self.tags)
        if command in ("PRIVMSG", "NOTICE"):
            if not self._is_echo(command, prefix, params):
                super().handleCommand(command, prefix, params)
        elif command == "BATCH" or not self._replay.in_playback(self.tags):
            super().handleCommand(command, prefix, params)

    def _is_echo(self, command: str, prefix: str, params: list[str]) -> bool:
        """Return whether the message is one that the bot has sent, perhaps on another connection of its account."""
        if "echo-message" not in self._capabilities.enabled or len(params) < 2:
            return False
        if not self._same(prefix.partition("!")[0], self.nickname) or self._replay.in_playback(self.tags):
            return False
        if self.transmission.echoed(command, params):
            self._replay.answered(self.tags)
            return True
        # A message to itself is received in addition to its echo.
        return not self._same(params[0], self.nickname)

    def irc_BATCH(self, prefix: str, params: list[str]) -> None:
        """Record the beginning or end of a batch."""
        self._replay.batch(params, self.tags)

    def message_received(self, sender: str, target: str, text: str, kind: str) -> None:
        """Report a message, and whether it is replayed."""
        replayed = self._replay.is_replayed(self.tags, self.casemapping.fold(target) if is_room(target) else None)
        if replayed and not self._replay_logged:
            self._replay_logged = True
            self.log.info(
                "{network}: the server replays old messages; they run no commands", network=self.settings.network
            )
        self._events.message_received(sender, target, text, kind, replayed, from_bot="bot" in self.tags)

    def irc_JOIN(self, prefix: str, params: list[str]) -> None:
        """Report a JOIN; the bot's own is the reference time for replayed messages of the room."""
        if self._same(prefix.partition("!")[0], self.nickname):
            self._replay.joined(self.casemapping.fold(params[0]), self.tags)
            self.room_replies.accepted("JOIN", params[0])
        self._rooms.joined(prefix, params[0])

    def irc_TOPIC(self, prefix: str, params: list[str]) -> None:
        """Report a new topic."""
        if self._same(prefix.partition("!")[0], self.nickname):
            self.room_replies.accepted("TOPIC", params[0])
        self._rooms.topic_received(params[0], params[1], True)

    def irc_RPL_INVITING(self, prefix: str, params: list[str]) -> None:
        """Report that the server has passed on an invitation (341)."""
        self.room_replies.accepted("INVITE", params[2], params[1])

    def irc_QUIT(self, prefix: str, params: list[str]) -> None:
        """Report a QUIT, and request the configured nick if its holder has quit."""
        self._rooms.quit(prefix)
        self.nick.released(prefix.partition("!")[0])

    def irc_NICK(self, prefix: str, params: list[str]) -> None:
        """Report a nick change of a person or the bot."""
        self.nick.changed(prefix.partition("!")[0], params[0])
        self._rooms.nick_changed(prefix, params[0])

    def irc_RPL_NAMREPLY(self, prefix: str, params: list[str]) -> None:
        """Report nicks in a room, without their prefixes such as "@" (RFC 1459, section 6.2, reply 353)."""
        marks = "".join(mark for mark, _ in self.supported.getFeature("PREFIX", {}).values()) + "~&@%+"
        self._rooms.names_received(params[2], [name.lstrip(marks) for name in params[3].split()])
