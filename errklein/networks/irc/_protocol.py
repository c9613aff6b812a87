"""The protocol of one connection to an IRC server. Importing this module imports the reactor. Twisted's IRCClient raises for
bytes that aren't UTF-8 and for lines that it can't parse, sends lines that are too long, and replies to CTCP requests without a
limit. Its heartbeat runs on the global reactor, and doesn't detect a silent server. `IRCProtocol` replaces these parts."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols import irc

from errklein.chat import Message, RoomError, read_only
from errklein.networks.irc import IRCSettings
from errklein.networks.irc._lines import Capabilities, Replay, Transmission, authenticate_lines, encode_line, parse_tags
from errklein.networks.irc.identifiers import CaseMapping, is_room, same_name
from errklein.networks.outbox import NotConfirmed
from errklein.text import sanitize

if TYPE_CHECKING:
    from errklein.networks.irc._backend import IRCBackend
    from errklein.networks.irc._rooms import RoomMembership

_ACKNOWLEDGE: int | None = getattr(socket, "TCP_QUICKACK", None)  # the option that acknowledges data at once
_BEGIN = "CAP LS 302"  # the first line to send. Version 302 enables multi-line lists, CAP NEW and CAP DEL.
_REFUSALS = ("902", "904", "905", "906")
"""Numeric replies that reject a SASL authentication. 908 lists the server's mechanisms, and comes before one of them."""
_BANNED = re.compile(r"\b[dgkz]-?:?\s?lined?\b|\bbanned\b|access denied|bad password", re.IGNORECASE)
_KILLED = re.compile(r"\bkilled\b", re.IGNORECASE)  # the end of one connection, for which the reason may name a ban
_NO_SASL = "the server doesn't support SASL, which BOT_IDENTITY['sasl_password'] requires"
_BAN_FOLLOWS = 10.0  # seconds from the announcement of a ban (465) in which the server closes the connection for it
_FLOODED = re.compile(r"flood|recvq|sendq", re.IGNORECASE)
# Numeric replies to failed JOINs: RFC 1459, section 6.1, and later ones.
_JOIN_ERRORS = frozenset(
    {"403", "405", "407", "437", "470", "471", "473", "474", "475", "476", "477", "479", "480", "489", "495", "520"}
)


class IRCProtocol(irc.IRCClient):
    """One connection to the server. Reports messages and its state to `backend`, and events in rooms to `rooms`. Invalid input
    from the server is ignored. `signed_on_at` is the reactor's time of the server's welcome. `banned` is True if the server
    has refused the bot for good, and `flooded` if it has closed the connection for flooding. `reason` is the reason for
    closing the connection: the bot's, or that of the server's ERROR. `tags` are those of the line being handled."""

    log = Logger()
    heartbeatInterval = None  # type: ignore[assignment]  # None turns Twisted's heartbeat off
    nickname: str = read_only("nick.current", "The bot's nick, which Twisted reads, too.")
    PING_AFTER = 20.0  # seconds of silence after which a PING is sent
    DEAD_AFTER = 45.0  # seconds of silence after which the connection is closed

    def __init__(self, backend: IRCBackend) -> None:
        self.clock: IReactorTime = backend.reactor
        self.settings = settings = backend.settings
        self.nick = Nickname(self.clock, settings, self._same, self.sendLine)
        self.reason = ""
        self.banned = self.flooded = False
        self.signed_on_at: float | None = None
        self.casemapping = CaseMapping.RFC1459
        self.tags: Mapping[str, str] = {}
        self.room_replies: RoomReplies = RoomReplies(self._same)
        self._capabilities = Capabilities(["sasl"] if settings.sasl_password else [])
        self.transmission = Transmission(self.clock, self._capabilities, backend.limiter, self._same, self.write_lines)
        self.replay: Replay = Replay()
        self._replay_logged = self._authenticated = self._pinged = False
        self._ban_told_at: float | None = None
        self.backend: IRCBackend = backend
        self.rooms: RoomMembership = backend.membership
        self._began = self._last_received = self.clock.seconds()
        self._watch = LoopingCall(self.check_alive)
        self._watch.clock = self.clock
        self._socket: socket.socket | None = None

    def connectionMade(self) -> None:
        self._last_received = self.clock.seconds()
        self._socket = _tcp_socket(self.transport)
        if self._socket is not None:
            # With Nagle's algorithm (RFC 896), a line would wait until the server has acknowledged the one before, up to 40 ms.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch.start(5.0, now=False)
        super().connectionMade()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.nick.stop()
        if self._watch.running:
            self._watch.stop()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.transmission.lost(Failure(NotConfirmed("the connection was lost")))
        self.room_replies.lost()
        self.backend.connection_lost(reason)

    def abort(self, reason: str) -> None:
        """Close the connection at once. `reason` is kept unless there is one already."""
        self.reason = self.reason or reason
        cast(ITCPTransport, self.transport).abortConnection()

    def check_alive(self) -> None:
        """Send a PING after a long silence. Called every 5 s. Close the connection if the server says nothing,
        completes no registration, or confirms no line, within DEAD_AFTER."""
        now = self.clock.seconds()
        silent = now - self._last_received
        if self.signed_on_at is None and now - self._began >= self.DEAD_AFTER:
            self.abort(f"the server didn't complete the registration within {self.DEAD_AFTER:.0f} s")
        elif self.transmission.silence >= self.DEAD_AFTER:
            self.abort(f"the server didn't confirm a line within {self.DEAD_AFTER:.0f} s")
        elif silent >= self.DEAD_AFTER:
            self.abort(f"nothing was received from the server for {silent:.0f} s")
        else:
            self.transmission.ask_again()
            if silent >= self.PING_AFTER and not self._pinged:
                self._pinged = True
                self.sendLine("PING :errklein-alive")

    def dataReceived(self, data: bytes) -> None:
        if self._socket is not None and _ACKNOWLEDGE is not None:
            # The kernel would wait up to 40 ms for something to send with the acknowledgement, and a server with Nagle's
            # algorithm sends the next command only after it. Replies such as PONG are answered with nothing.
            self._socket.setsockopt(socket.IPPROTO_TCP, _ACKNOWLEDGE, 1)
        self._last_received = self.clock.seconds()
        self._pinged = False
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        self.tags = {}
        if line.startswith(b"@"):
            # Tags are UTF-8; the rest of the line may be in another encoding.
            tags, _, line = line[1:].partition(b" ")
            self.tags = parse_tags(decode_line(tags))
            line = line.lstrip(b" ")
        text = decode_line(line).replace("\x00", "")
        try:
            prefix, command, params = irc.parsemsg(text)
        except (irc.IRCBadMessage, ValueError, IndexError):
            return
        if command.isdigit() and params:
            self.numeric_received(command, params)
        self.handleCommand(irc.numeric_to_symbolic.get(command, command), prefix, params)

    def sendLine(self, line: str) -> None:
        """Write one line, truncated to 512 bytes. Used for all lines except messages to people and rooms."""
        self.write_lines(encode_line(line))

    def write_lines(self, *lines: bytes) -> None:
        if self.transport is not None:
            self.transport.write(b"\r\n".join((*lines, b"")))

    def irc_ERROR(self, prefix: str, params: list[str]) -> None:
        told = self._ban_told_at is not None and self.clock.seconds() - self._ban_told_at <= _BAN_FOLLOWS
        of_text = _BANNED.search(params[-1]) is not None and _KILLED.search(params[-1]) is None
        self.banned = self.banned or told or of_text
        self.flooded = _FLOODED.search(params[-1]) is not None
        self.reason = self.reason or params[-1]

    def register(self, nickname: str, hostname: str = "0", servername: str = "*") -> None:
        """Register the connection (RFC 1459, section 4.1). A server with capabilities waits for CAP END before it sends 001."""
        self.sendLine(_BEGIN)
        if self.settings.password:
            self.sendLine(f"PASS :{self.settings.password}")
        self.nick.try_next()
        self.sendLine(f"USER {self.settings.username} {hostname} {servername} :{self.settings.realname}")

    def irc_CAP(self, prefix: str, params: list[str]) -> None:
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
        is_offered = not mechanisms or "PLAIN" in mechanisms
        if not is_offered:
            self._refused(f"the server doesn't support SASL PLAIN, only {', '.join(mechanisms)}")
        return is_offered

    def irc_AUTHENTICATE(self, prefix: str, params: list[str]) -> None:
        if params[0] == "+" and self.settings.sasl_password and not self._authenticated:
            for line in authenticate_lines(self.settings.sasl_account, self.settings.sasl_password):
                self.sendLine(line)

    def irc_903(self, prefix: str, params: list[str]) -> None:
        """End the negotiation after a successful SASL authentication (RPL_SASLSUCCESS)."""
        self._authenticated = True
        self.sendLine("CAP END")

    def irc_RPL_WELCOME(self, prefix: str, params: list[str]) -> None:
        if self.signed_on_at is not None:
            return
        if self.settings.sasl_password and not self._authenticated:
            self._refused(_NO_SASL)
            return
        self.replay.joined(None, self.tags)
        self.hostname = prefix
        self.signed_on_at = self.clock.seconds()
        self.nick.registered(params[0])
        self.nick.identify()
        self.backend.signed_on()

    def irc_RPL_ISUPPORT(self, prefix: str, params: list[str]) -> None:
        if (announced := CaseMapping.announced(params[1:])) is not None:
            self.casemapping = announced
            self.rooms.casemapping_changed(announced)
        for token in params[1:]:
            # Clients with this mode are marked as bots. See https://ircv3.net/specs/extensions/bot-mode.
            if token.startswith("BOT=") and len(token) == 5:
                self.sendLine(f"MODE {self.nickname} +{token[-1]}")
        super().irc_RPL_ISUPPORT(prefix, params)  # type: ignore[no-untyped-call]
        if (most := (self.supported.getFeature("TARGMAX") or {}).get("JOIN")) is not None:
            self.rooms.joins.most = max(1, most)

    def irc_ERR_NICKNAMEINUSE(self, prefix: str, params: list[str]) -> None:
        if self.signed_on_at is None and not self.nick.try_next():
            self.abort(f"the server rejects every nick that the bot tries ({params[-1]})")

    irc_ERR_ERRONEUSNICKNAME = irc_ERR_NICKNAMEINUSE
    irc_ERR_NICKCOLLISION = irc_ERR_NICKNAMEINUSE

    def irc_ERR_PASSWDMISMATCH(self, prefix: str, params: list[str]) -> None:
        """Store the reason when the server rejects its password; later, the reply is about another one, such as OPER's."""
        if self.signed_on_at is None:
            self.reason = f"the server rejects BOT_IDENTITY['password'] ({params[-1]})"
            self.banned = True

    def irc_ERR_YOUREBANNEDCREEP(self, prefix: str, params: list[str]) -> None:
        """Store the reason when the server has banned the bot. It closes the connection then."""
        self._ban_told_at = self.clock.seconds()
        if self.signed_on_at is None:
            self.reason = params[-1]
            self.banned = True

    def _refused(self, reason: str) -> None:
        self.banned = True
        self.reason = self.reason or reason
        self.sendLine("QUIT")
        cast(ITCPTransport, self.transport).loseConnection()

    def _same(self, one: str, other: str) -> bool:
        return same_name(one, other, self.casemapping)

    def irc_PONG(self, prefix: str, params: list[str]) -> None:
        self.replay.answered(self.tags)
        self.transmission.answered(params)

    def numeric_received(self, number: str, params: list[str]) -> None:
        if number in _REFUSALS and self.settings.sasl_password and self.signed_on_at is None:
            self._refused(f"the server rejects the SASL account {self.settings.sasl_account} ({params[-1]})")
        self.room_replies.rejected(number, params)
        if len(params) < 2 or self.transmission.numeric_received(number, params, self.tags):
            return
        if number in _JOIN_ERRORS:
            self.rooms.joins.failed(params[1], params[-1])

    def handleCommand(self, command: str, prefix: str, params: list[str]) -> None:
        """Call the method for the command. A line that lacks what its command needs is ignored, and so is an echo. In a
        playback batch only messages are handled; JOIN, PART and the like in it are ignored."""
        if self.tags:
            self.replay.received(self.tags)
        if self.tags or command == "BATCH":
            self.transmission.labelled(command, params, self.tags)
        if "label" in self.tags:
            self.replay.answered(self.tags)
        is_message = command in ("PRIVMSG", "NOTICE")
        if is_message and self._is_echo(command, prefix, params):
            return
        if not is_message and command != "BATCH" and self.replay.in_playback(self.tags):
            return
        short = _SHORT.get(command)
        handle = partial(short, self) if short else getattr(self, f"irc_{command}", lambda prefix, params: None)
        try:
            handle(prefix, params)
        except (IndexError, ValueError) as error:
            self.log.debug("{command} from the server is invalid: {error}", command=command, error=error)
        except Exception:
            self.log.failure("Handling {command} from the server failed", command=command)

    def _is_echo(self, command: str, prefix: str, params: list[str]) -> bool:
        """Return whether the message is one that the bot has sent, perhaps on another connection of its account."""
        if "echo-message" not in self._capabilities.enabled or len(params) < 2:
            return False
        if not self._same(prefix.partition("!")[0], self.nickname) or self.replay.in_playback(self.tags):
            return False
        if self.transmission.echoed(command, params):
            self.replay.answered(self.tags)
            return True
        # A message to itself is received in addition to its echo.
        return not self._same(params[0], self.nickname)

    def irc_PRIVMSG(self, prefix: str, params: list[str]) -> None:
        """Report a message. Of CTCP requests only ACTION is supported; the others are ignored."""
        text = params[1]
        if text.startswith("\x01"):
            tag, _, text = text.strip("\x01").partition(" ")
            if tag == "ACTION":
                self._report_message(prefix, params[0], text, "action")
        elif text:
            self._report_message(prefix, params[0], text, "message")

    def irc_NOTICE(self, prefix: str, params: list[str]) -> None:
        if params[1] and not params[1].startswith("\x01"):
            self._report_message(prefix, params[0], params[1], "notice")

    def _report_message(self, sender: str, target: str, text: str, kind: str) -> None:
        """Report a message, notice or action to the bot or to a room. One that was sent before the bot has connected or
        joined the room is marked as delayed. One of a sender that the server marks as a bot has `extras["bot"]`."""
        if "!" not in sender:
            # Messages from the server itself have no mask.
            return
        tags, report = self.tags, self.backend.report
        room = self.casemapping.fold(target) if tags and is_room(target) else None
        replayed = bool(tags) and self.replay.is_replayed(tags, room)
        if replayed and not self._replay_logged:
            self._replay_logged = True
            note = "{network}: the server replays old messages; they run no commands"
            self.log.info(note, network=self.settings.network)
        if kind == "notice" and not replayed and self._same(sender.partition("!")[0], "NickServ"):
            self.nick.nickserv_replied(text)
            self.rooms.nickserv_replied()
        if (parties := self.rooms.parties(sender, target, text, replayed)) is None:
            return
        frm, to, mentioned = parties
        marks = {kind: kind != "message", "bot": "bot" in tags}
        extras = {name: True for name, is_set in marks.items() if is_set}
        message = Message(text, frm=frm, to=to, delayed=replayed, extras=extras)
        report("message_received", message)
        if mentioned and not replayed:
            report("mention_received", message, mentioned)

    def irc_JOIN(self, prefix: str, params: list[str]) -> None:
        """Report a JOIN; the bot's own is the reference time for replayed messages of the room."""
        if is_own := self._same(prefix.partition("!")[0], self.nickname):
            self.replay.joined(self.casemapping.fold(params[0]), self.tags)
        self.rooms.joined(prefix, params[0])
        if is_own:
            # Who waits for the reply finds the bot in the room.
            self.room_replies.accepted("JOIN", params[0])

    def irc_TOPIC(self, prefix: str, params: list[str]) -> None:
        self.rooms.topic_received(params[0], params[1], True)
        if self._same(prefix.partition("!")[0], self.nickname):
            self.room_replies.accepted("TOPIC", params[0])

    def irc_QUIT(self, prefix: str, params: list[str]) -> None:
        self.rooms.quit(prefix)
        self.nick.released(prefix.partition("!")[0])

    def irc_NICK(self, prefix: str, params: list[str]) -> None:
        self.nick.changed(prefix.partition("!")[0], params[0])
        self.rooms.nick_changed(prefix, params[0])

    def irc_RPL_NAMREPLY(self, prefix: str, params: list[str]) -> None:
        """Report nicks in a room, without their prefixes such as "@" (RFC 1459, section 6.2, reply 353)."""
        marks = "".join(mark for mark, _ in self.supported.getFeature("PREFIX", {}).values()) + "~&@%+"
        self.rooms.names_received(params[2], [name.lstrip(marks) for name in params[3].split()])


_SHORT: Mapping[str, Callable[[IRCProtocol, str, list[str]], object]] = {
    "PART": lambda its, mask, params: its.rooms.parted(mask, params[0]),
    "KICK": lambda its, mask, params: its.rooms.kicked(params[1], params[0], mask, params[-1]),
    "INVITE": lambda its, mask, params: its.rooms.invited(params[1], mask),
    "RPL_TOPIC": lambda its, mask, params: its.rooms.topic_received(params[1], params[2], False),
    "RPL_NOTOPIC": lambda its, mask, params: its.rooms.topic_received(params[1], "", False),
    "RPL_INVITING": lambda its, mask, params: its.room_replies.accepted("INVITE", params[2], params[1]),
    "RPL_MYINFO": lambda its, mask, params: its.backend.limiter.server_is(params[2]),
    "PING": lambda its, mask, params: its.sendLine(f"PONG :{params[-1]}"),
    "BATCH": lambda its, mask, params: its.replay.batch(params, its.tags),
    # Twisted's parser logs errors for modes that it doesn't know.
    "MODE": lambda its, mask, params: None,
}
"""Handlers of messages that do one thing, before methods with names such as `irc_JOIN`."""


def decode_line(line: bytes) -> str:
    """Decode a line from UTF-8, or from Latin-1 if it isn't UTF-8. Servers truncate long lines between bytes. A line
    that begins with valid UTF-8 is therefore UTF-8, with a replacement character for the truncated one."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        return line.decode("latin-1") if line[: error.start].isascii() else line.decode("utf-8", "replace")


def _tcp_socket(transport: object) -> socket.socket | None:
    """Return the TCP socket of a connection, also below TLS; None if it has none."""
    handle = getattr(getattr(transport, "transport", transport), "getHandle", lambda: None)()
    is_tcp = isinstance(handle, socket.socket) and handle.family in (socket.AF_INET, socket.AF_INET6)
    return handle if is_tcp else None


_REASONS = {
    "401": "there is no person with that nick",
    "403": "there is no such room",
    "405": "the bot is in too many rooms",
    "437": "the room is unavailable for now",
    "442": "the bot is not in the room",
    "443": "the person is in the room already",
    "471": "the room is full",
    "473": "the room is for invited people only",
    "474": "the bot is banned from the room",
    "475": "the room has another password",
    "477": "the room is for identified people only",
    "482": "the bot is not an operator of the room",
}
_OF_MESSAGES = "404"  # the rejection of a message to a room


class RoomReplies:
    """Matches the server's replies to JOIN, TOPIC and INVITE, which have no labels, with what the bot has sent."""

    def __init__(self, same: Callable[[str, str], bool]) -> None:
        self._same = same
        self._expected: dict[Deferred[None], tuple[str, Sequence[str]]] = {}

    def expect(self, command: str, *names: str) -> Deferred[None]:
        """Return the answer to a command that was just sent: it fails with RoomError. The second name for INVITE is a person's."""
        answer: Deferred[None] = Deferred(self._expected.__delitem__)
        self._expected[answer] = command, names
        return answer

    def accepted(self, command: str, *names: str) -> None:
        self._settle("", lambda sent, its: sent == command and all(map(self._same, its, names)))

    def rejected(self, number: str, params: Sequence[str]) -> None:
        if self._expected and number[0] in "45" and number != _OF_MESSAGES:
            reason = f"{_REASONS[number]} ({params[-1]})" if number in _REASONS else params[-1]
            self._settle(reason, lambda _, its: any(self._same(name, one) for name in its for one in params[1:-1]))

    def lost(self) -> None:
        self._settle("the connection was lost", lambda *_: True)

    def _settle(self, refusal: str, matches: Callable[[str, Sequence[str]], bool]) -> None:
        for expected in [one for one, sent in self._expected.items() if matches(*sent)]:
            del self._expected[expected]
            expected.callback(Failure(RoomError(refusal)) if refusal else None)


REGAIN_EVERY = 60.0  # seconds between two attempts to regain the configured nick
_IDENTIFIED = re.compile(r"\b(?:identified|logged in|logged into|recognized|accepted)\b", re.IGNORECASE)
_REJECTED = re.compile(
    r"incorrect|invalid|wrong|fail|denied|mismatch|not (?:a )?registered|n't registered|(?:not|n't) exist",
    re.IGNORECASE,
)
"""Replies of NickServ on Atheme, Anope and ergo, which have no numbers."""


class Nickname:
    """The bot's nick on one connection: `current`, and `wanted`, the configured one, which it tries to regain."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        settings: IRCSettings,
        same: Callable[[str, str], bool],
        send_line: Callable[[str], object],
    ) -> None:
        self.wanted = self.current = settings.nickname
        self._network, self._password = settings.network, settings.nickserv_password
        self._same, self._send_line = same, send_line
        self._identifying = False
        self._candidates = iter(settings.nicks)
        self._regaining = LoopingCall(self._request)
        self._regaining.clock = reactor

    @property
    def is_wanted(self) -> bool:
        return self._same(self.current, self.wanted)

    def try_next(self) -> bool:
        if (nick := next(self._candidates, None)) is not None:
            self._send_line(f"NICK {nick}")
        return nick is not None

    def registered(self, nick: str) -> None:
        self.current = nick
        if self.is_wanted:
            return
        text = "{network}: the nick {wanted} is in use; the bot is {nick} until it can be regained"
        self.log.warn(text, network=self._network, wanted=self.wanted, nick=nick)
        self._regaining.start(REGAIN_EVERY, now=False)

    def identify(self) -> None:
        if not self._password:
            return
        self._identifying = True
        # Sent without the outbox, since it must precede all queued messages. ergo has no REGAIN.
        for request in ["IDENTIFY"] if self.is_wanted else [f"IDENTIFY {self.wanted}", f"REGAIN {self.wanted}"]:
            self._send_line(f"PRIVMSG NickServ :{request} {self._password}")

    def nickserv_replied(self, text: str) -> None:
        if not self._identifying:
            return
        if _REJECTED.search(text):
            self._identifying = False
            where, reason = "BOT_IDENTITY['nickserv_password']", sanitize(text).replace(self._password, "***")
            text = "{network}: NickServ rejects the identification of {nick}, see {where}: {reason}"
            self.log.warn(text, network=self._network, nick=self.wanted, where=where, reason=reason)
        elif _IDENTIFIED.search(text):
            self._identifying = False
            if not self.is_wanted:
                self._request()

    def changed(self, old: str, new: str) -> None:
        if not self._same(old, self.current):
            self.released(old)
            return
        self.current = new
        if self.is_wanted:
            self.stop()
            self.identify()
        elif not self._regaining.running:
            self.log.warn("{network}: the bot was renamed from {old} to {new}", network=self._network, old=old, new=new)
            self._regaining.start(REGAIN_EVERY, now=False)
            self.identify()

    def released(self, nick: str) -> None:
        """Request the nick if it is the configured one. Call this when its holder has quit or changed it."""
        if self._regaining.running and self._same(nick, self.wanted):
            self._request()

    def stop(self) -> None:
        if self._regaining.running:
            self._regaining.stop()

    def _request(self) -> None:
        self._send_line(f"NICK {self.wanted}")
