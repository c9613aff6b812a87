"""The backend that connects errklein to one IRC network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, cast

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from errklein.chat import ONLINE, Identifier, Message, Room, RoomError, RoomOccupant, read_only
from errklein.chat.features import Features
from errklein.chat.identifiers import matches_any, patterns_of
from errklein.chat.operations import Operation, Post, Wanted
from errklein.chat.outgoing import OutgoingMessage, Wait
from errklein.config.networks import NetworkFinding
from errklein.networks._connection import Backoff, describe_failure
from errklein.networks.base import ConnectedNetwork
from errklein.networks.context import NetworkContext
from errklein.networks.irc import IRCSettings
from errklein.networks.irc._lines import WINDOW, IRCRateLimiter, MessageLine, split_lines, strip_controls, text_capacity
from errklein.networks.irc._rooms import RoomMembership, nick_of
from errklein.networks.irc.identifiers import ACL_PATTERN, IRCPerson, IRCRoom, IRCRoomOccupant, split_occupant
from errklein.networks.outbox import NotConfirmed, Outbox, RetryLater, outbox_limits
from errklein.running import cancel_timers, on_reactor_soon
from errklein.text import PARTS_CAP, at_most, to_irc

if TYPE_CHECKING:
    from errklein.networks.irc._protocol import IRCProtocol

_ROOM_MARKS = ("#", "&", "+", "!")
_CERTIFICATES = "BOT_IDENTITY['ssl_ca']"
_LEAST_ROOM = 64  # the minimum number of bytes for text in a line. Names that servers allow leave more.
_LOOK_AGAIN = 0.1
"""Seconds after which to ask again whether the server has caught up. The outbox also asks when a line is confirmed."""


class Banned(RetryLater):
    """The server has banned the bot, which tries again rarely."""

    def __init__(self, reason: str) -> None:
        super().__init__(Backoff.LONGEST)
        self.args = (reason,)


def _endpoint(reactor: Any, settings: IRCSettings) -> IStreamClientEndpoint:
    """Return the endpoint to connect to. With TLS, the certificate and its name are verified."""
    connect: Callable[..., IStreamClientEndpoint] = TCP6ClientEndpoint if settings.ipv6 else HostnameEndpoint
    endpoint = connect(reactor, settings.server, settings.port, bindAddress=settings.bind_address)
    if not settings.tls:
        return endpoint
    return wrapClientTLS(optionsForClientTLS(settings.server, trustRoot=settings.trusted()), endpoint)


class IRCBackend(ConnectedNetwork):
    """A connection to one IRC network. Implements `outbox.Transport`, too. It joins its rooms again after each reconnection."""

    mode = "irc"
    joins_configured_rooms = True
    outbox: Outbox[MessageLine]
    window = WINDOW
    serial = False
    _features = Features(highlights_names=True)
    NICKSERV_TIMEOUT = 3.0
    """Seconds to wait for NickServ before joining rooms, since some rooms only admit identified users."""
    QUIT_TIMEOUT = 0.4  # seconds that the server has to close the connection after QUIT
    CONFIRM_TIMEOUT = 2.0  # seconds that the server has at the end of the grace period to confirm lines
    is_encrypted: bool = read_only("settings.is_encrypted", "Whether nobody can read lines on their way to the server.")
    bot_identifier: IRCPerson | None = read_only("membership.bot_identifier", "None before the server's first welcome.")
    joined_rooms: Sequence[Room] = read_only("membership.joined_rooms", "The rooms that the bot is in.")
    name_rules = read_only("membership.name_rules", "RFC1459 until the server announces a case mapping.")
    unavailable: Any = read_only("membership.joins.reason", "See `outbox.Unavailable`.")

    def __init__(self, context: NetworkContext, endpoint: IStreamClientEndpoint | None = None) -> None:
        self.reactor, self._now, config = context.reactor, context.now, context.config
        self.settings = settings = IRCSettings.read(config)
        limiter = IRCRateLimiter(self.reactor.seconds, config.IRC_CHANNEL_RATE, config.IRC_PRIVATE_RATE)
        self.limiter: IRCRateLimiter = limiter
        self.membership = RoomMembership(self, context)
        self.place, self.reconnect_after = f" to {settings.server}:{settings.port}", config.IRC_RECONNECT_ON_DISCONNECT
        super().__init__(context, limits=outbox_limits(config, settings.message_size_limit))
        self.message_size_limit = settings.message_size_limit
        self.protocol: IRCProtocol | None = None  # the current connection
        self._endpoint = endpoint or _endpoint(self.reactor, settings)
        self._lost: Deferred[str] = Deferred()
        self._render = partial(to_irc, compact=getattr(config, "COMPACT_OUTPUT", True))
        # The current nick has no influence, so that a message has the same lines after a reconnection or a restart.
        nick = max(settings.nicks, key=len)
        self._text_capacity = lru_cache(256)(partial(text_capacity, nick, settings.username))
        self._more_follow = self._is_closing = False
        self._away = ""

    def broken(self, error: NotConfirmed) -> None:
        """Do nothing: lines aren't confirmed since the connection was lost."""

    async def session(self) -> None:
        """Connect, and wait until the connection is lost. Cancelled, it ends the connection with QUIT."""
        # Imported late: the import installs a reactor, and the command line may choose another.
        from errklein.networks.irc._protocol import IRCProtocol

        lost = self._lost = Deferred()
        factory = Factory.forProtocol(partial(IRCProtocol, self))
        factory.noisy = False
        try:
            connected: Any = await self._endpoint.connect(factory)
        except Exception:
            raise ConnectionError(describe_failure(Failure(), _CERTIFICATES)) from None
        protocol = self.protocol = cast("IRCProtocol", connected)
        try:
            closed = await lost
        except CancelledError:
            self.membership.stop()
            protocol.sendLine("QUIT :good-bye")
            closing = self.reactor.callLater(self.QUIT_TIMEOUT, protocol.abort, "the bot disconnects")
            lost = self._lost = Deferred()
            await lost
            cancel_timers(closing)
            return
        finally:
            self.protocol = None
        why = protocol.reason or closed
        raise Banned(why) if protocol.banned else ConnectionError(why)

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        """Send the queue for up to `grace` seconds, then QUIT, at once if there is no connection, and none is attempted in time."""
        # What isn't confirmed in the end is sent again after the next start.
        last = grace - self.CONFIRM_TIMEOUT if self.connection.will_connect_within(grace) else 0.0
        confirming = self.reactor.callLater(max(0.0, last), self._confirm_all)
        return super().disconnect(grace).addCallback(lambda _: cancel_timers(confirming))

    def recipient_of(self, message: Message, wanted: Wanted) -> str:
        to, command = message.to, "NOTICE" if message.extras.get("notice") else "PRIVMSG"
        if to is None:
            target = super().recipient_of(message, wanted)
        elif isinstance(to, (IRCRoom, IRCPerson)) and to.network in ("", self.network):
            target = to.room if isinstance(to, IRCRoom) else to.nick
        else:
            raise ValueError(f"the recipient must be a person or room of {self.network}, not {to!r}")
        self._text_size(command, target)
        return target

    def details_of(self, message: Message) -> str:
        return json.dumps({"notice": True}) if message.extras.get("notice") else ""

    def parts(self, operation: Operation, message: OutgoingMessage, original: Message | None) -> Sequence[MessageLine]:
        is_notice = bool(message.details) and json.loads(message.details).get("notice")
        command = "NOTICE" if is_notice else "PRIVMSG"
        size = self._text_size(command, message.recipient)
        assert isinstance(operation, Post)
        text = self._render(operation.text)
        lines, is_cut = split_lines(text[: PARTS_CAP * size], size), len(text) > PARTS_CAP * size
        if is_cut or len(lines) > PARTS_CAP:
            lines = at_most(lines, is_cut)
        return [MessageLine(command, message.recipient, line) for line in lines]

    def take_turn(self, recipient: str) -> float:
        is_behind = self.protocol is not None and self.protocol.transmission.is_behind
        wait = _LOOK_AGAIN if is_behind else self.limiter.take(recipient)
        # For `transmit`, which follows. At a pace that is much slower than the server's, a PING for each line does no harm.
        self._more_follow = 0 < wait <= 2 * self.limiter.interval and not self._is_closing
        return wait

    def transmit(self, parts: Sequence[MessageLine], keys: Sequence[str]) -> Sequence[Deferred[None]]:
        if self.protocol is None:
            return [fail(NotConfirmed(f"{self.network} is not connected")) for _ in parts]
        return self.protocol.transmission.transmit(parts, self._more_follow)

    def room_status(self, name: str) -> Wait | None:
        if not self.membership.is_known(name):
            return None
        if not self._is_signed_on:
            return self.connection.absence
        status, offset = self.membership.joins.status(name), self._now() - self.reactor.seconds()
        since, again_at = (time and time + offset for time in (status.since, status.again_at))
        return status._replace(since=since, again_at=again_at)

    @property
    def _is_signed_on(self) -> bool:
        protocol = self.protocol
        return protocol is not None and protocol.signed_on_at is not None

    def build_identifier(self, text: str) -> IRCPerson | IRCRoom:
        if text[:1] not in _ROOM_MARKS:
            return self.membership.person(text)
        occupant = split_occupant(text) if "/" in text else None
        if occupant is None or self.membership.is_known(text):
            return self.membership.room(text)
        return self.membership.occupant(occupant[1], self.membership.room(occupant[0]))

    def person_of(self, sender: Identifier | None) -> Identifier | None:
        return sender.as_person if isinstance(sender, IRCRoomOccupant) else sender

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        nick = getattr(identifier, "nick", None) or str(identifier)
        message.body = f"{nick}: {message.body}"

    def is_from_self(self, message: Message) -> bool:
        nick = getattr(message.frm, "nick", None)
        return nick is not None and self.membership.is_bot(nick)

    def current_holder(self, person: Identifier) -> IRCPerson | None:
        return self.membership.holder(person.nick) if isinstance(person, IRCPerson) else None

    def is_certain(self, person: Identifier) -> bool:
        # A host without wildcards, in a mask of the usual form.
        if not isinstance(person, IRCPerson) or not person.host or self.config.IRC_ACL_PATTERN != ACL_PATTERN:
            return False
        masks = [mask for mask in patterns_of(self.config.BOT_ADMINS) if not {*"*?["} & {*mask.rpartition("@")[2]}]
        return matches_any(person.name_rules, person.aclattr, [mask for mask in masks if "!" in mask and "@" in mask])

    def join(self, room: Room, password: str = "") -> Deferred[None]:
        return self._answered("JOIN", room, lambda: self.membership.join_room(str(room), password))

    def leave(self, room: Room, reason: str = "") -> Deferred[None]:
        return maybeDeferred(self.membership.leave_room, str(room), reason)

    create = join

    def destroy(self, room: Room) -> Deferred[None]:
        return maybeDeferred(room.destroy)

    def topic(self, room: Room) -> Deferred[str]:
        return maybeDeferred(lambda: self.membership.state_of(str(room)).topic)

    def set_topic(self, room: Room, topic: str) -> Deferred[None]:
        return self._answered("TOPIC", room, lambda: setattr(self.query_room(str(room)), "topic", topic))

    def members(self, room: Room) -> Deferred[Sequence[RoomOccupant]]:
        return maybeDeferred(lambda: self.membership.occupants_of(str(room)))

    def invite(self, room: Room, person: str) -> Deferred[None]:
        return self._answered("INVITE", room, lambda: self.query_room(str(room)).invite(person), nick_of(person))

    def _answered(self, command: str, room: Room, act: Callable[[], object], *names: str) -> Deferred[None]:
        async def answer() -> None:
            act()
            if self.protocol is None or not self._is_signed_on:
                raise RoomError("the network is not connected")
            if command == "JOIN" and self.membership.is_joined(str(room)):
                return
            # Nothing was awaited since the command was sent, so that the reply can't have arrived.
            await self.protocol.room_replies.expect(command, str(room), *names)

        return Deferred.fromCoroutine(answer())

    def query_room(self, name: str) -> IRCRoom:
        return self.membership.room(name)

    def change_presence(self, status: str, message: str) -> None:
        """Set the bot's AWAY message, or clear it if `status` is ONLINE; also after reconnections. For any thread."""
        self._away = "" if status == ONLINE else strip_controls(message or status)
        self._send_presence()

    def signed_on(self) -> None:
        """Join the rooms after the server's welcome, and resume the outbox. Messages to a room wait until it is joined."""
        if self.protocol is None:
            return
        self.membership.signed_on(self.protocol.nickname, self.protocol.casemapping)
        if self._away:
            self._send_presence()
        self.connection.connected(resumes=False)
        self.membership.join_configured(self.NICKSERV_TIMEOUT if self.settings.nickserv_password else 0.0)

    def connection_lost(self, reason: Failure) -> None:
        self.outbox.pause()
        self.membership.connection_lost()
        if self.protocol is not None and self.protocol.flooded:
            self.limiter.slow_down()
        lost, self._lost = self._lost, Deferred()
        lost.callback(describe_failure(reason, _CERTIFICATES))

    def _text_size(self, command: str, target: str) -> int:
        """Return the number of bytes of text in a line; raises ValueError if the name of the target is too long."""
        if (room := self._text_capacity(command, target)) < _LEAST_ROOM:
            raise ValueError(f"the name {target[:20]}… is too long: it leaves no room for text in a line of 512 bytes")
        return min(room, self.message_size_limit)

    def _confirm_all(self) -> None:
        """Let the server confirm all lines at once, also those that follow, since the connection is closed soon."""
        self._is_closing, self._more_follow = True, False
        if self.protocol is not None:
            self.protocol.transmission.ask()

    def undelivered(self, recipient: str, origins: Mapping[str, int], reason: str, waiting: bool) -> None:
        if recipient[:1] in _ROOM_MARKS:
            if not (waiting or self.membership.is_joined(recipient)):
                reason = f"the bot is not in the room; {reason}"
            super().undelivered(recipient, origins, reason, waiting)

    def _send_presence(self) -> None:
        self.send(f"AWAY :{self._away}" if self._away else "AWAY")

    def send(self, *lines: str) -> None:
        """Write the lines if the server has welcomed the bot; else drop them. May be called from any thread."""
        on_reactor_soon(self.reactor, self._write, *lines)

    def _write(self, *lines: str) -> None:
        if self.protocol is not None and self._is_signed_on:
            for line in lines:
                self.protocol.sendLine(line)


CHECK_TIMEOUT = 30.0  # seconds that the server has to complete the registration


class ConnectionCheck(IRCBackend):
    """A check of a network: one connection with the identity of the configuration. It joins no rooms and sends no
    messages, also not to NickServ. If the nick is taken, perhaps by the running bot, it takes another one, as the bot does."""

    def __init__(self, context: NetworkContext, endpoint: IStreamClientEndpoint | None = None) -> None:
        super().__init__(context, endpoint)
        self.has_nickserv_password = bool(self.settings.nickserv_password)
        self.settings = replace(self.settings, nickserv_password="")
        self._nick: Deferred[str] = Deferred()

    async def nick(self) -> str:
        """Return the nick that the server has registered; raise ConnectionError with the reason if there is none."""
        session = Deferred.fromCoroutine(self.session())
        session.addErrback(lambda failure: self._failed(failure.getErrorMessage()))
        try:
            return await self._nick.addTimeout(CHECK_TIMEOUT, self.reactor)
        except defer.TimeoutError:
            reason = f"the server didn't respond, or complete the registration, within {CHECK_TIMEOUT:.0f} s"
            raise ConnectionError(reason) from None
        finally:
            if not session.called:
                session.cancel()
                await session

    def signed_on(self) -> None:
        if self.protocol is not None and not self._nick.called:
            self._nick.callback(self.protocol.nickname)

    def _failed(self, why: str) -> None:
        if not self.settings.tls and self.settings.port == 6697:
            why += "; port 6697 is usually one with TLS: set BOT_IDENTITY['ssl']"
        elif self.settings.tls and any(sign in why for sign in ("wrong version", "record layer", "non-clean")):
            why += "; the port may be one without TLS: correct BOT_IDENTITY['port'], usually 6697"
        if not self._nick.called:
            self._nick.errback(ConnectionError(why))


async def check(context: NetworkContext) -> list[NetworkFinding]:
    """Return a finding about a server that accepts the bot; raise ConnectionError with the reason if it doesn't."""
    checked = ConnectionCheck(context)
    settings = checked.settings
    server = f"{settings.server}:{settings.port}{' with TLS' if settings.tls else ''}"
    try:
        nick = await checked.nick()
    except ConnectionError as error:
        raise ConnectionError(f"{server}: {error}") from None
    text = f"{server} accepts the bot as {nick}"
    if checked.has_nickserv_password:
        text += "; its password for NickServ isn't checked, since that takes a message"
    if nick.lower() != settings.nickname.lower():
        text += f", since the nick {settings.nickname} is in use, or too long for the server"
        if not context.is_running:
            raise ConnectionError(text)
        text += "; a bot runs, perhaps with this nick"
    return [NetworkFinding(text)]
