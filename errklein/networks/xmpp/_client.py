"""One stream of XMPP, from its connection to its end, over slixmpp: stanzas are elements of XML, requests are Deferreds. And the rooms of
the bot (XEP-0045): who is in them, invitations, and what administrators do with rooms."""

from __future__ import annotations

import logging
import re
import ssl
from asyncio import AbstractEventLoop
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from xml.etree.ElementTree import Element

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.stanza import Message, Presence
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.python.failure import Failure

from errklein.chat import Room, RoomError, RoomNotJoinedError
from errklein.commands.access import Caller
from errklein.config import ConfigError
from errklein.config.networks import NetworkFinding
from errklein.networks.context import NetworkContext
from errklein.networks.directory import WantedRooms, reported
from errklein.networks.errors import NotConfirmed, RequestRefused, Unusable
from errklein.networks.json_client import one_line
from errklein.networks.xmpp import SETTINGS, permits_plaintext, rooms_of
from errklein.networks.xmpp.identifiers import XMPPPerson, XMPPRoom, XMPPRoomOccupant, bare, split_identifier
from errklein.running import deferred_of, loop_of, result_within
from errklein.text import sanitize

if TYPE_CHECKING:
    from errklein.networks.xmpp._backend import XMPPBackend

# At lower levels, slixmpp logs what is sent, also the password.
logging.getLogger("slixmpp").setLevel(logging.WARNING)

CLIENT, UPLOAD, DATA = "{jabber:client}", "{urn:xmpp:http:upload:0}", "{jabber:x:data}"
INFO, ITEMS = "{http://jabber.org/protocol/disco#info}", "{http://jabber.org/protocol/disco#items}"
_TLS, _STREAM = "{urn:ietf:params:xml:ns:xmpp-tls}", "{http://etherx.jabber.org/streams}"
TIMEOUT, _LONGEST_LOGIN = 20.0, 60.0  # the seconds for which the response to a request, and the login, are waited for
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what would end the stream


def element(tag: str, *content: Element | str, **attributes: str) -> Element:
    """Return an element with children or a text, without the characters that XML forbids. `tag` begins with the namespace."""
    made = Element(tag, {key.strip("_"): _FORBIDDEN.sub("", value) for key, value in attributes.items() if value})
    for part in content:
        if isinstance(part, str):
            made.text = _FORBIDDEN.sub("", part)
        else:
            made.append(part)
    return made


def event_loop(reactor: Any) -> AbstractEventLoop:
    """Return the reactor's event loop; raises ConfigError if it has none."""
    if (loop := loop_of(reactor)) is None:
        start = "start the bot with `--reactor=asyncio`, or without `--reactor`"
        raise ConfigError(f"BACKEND: XMPP needs the asyncio reactor, and this is {type(reactor).__name__}; {start}")
    return loop


def error_of(stanza: Element) -> RequestRefused:
    """Return the error in a stanza: the server's text, or the name of the condition. Status 429 asks to wait, 404 is what isn't there."""
    found = stanza.find(f"{CLIENT}error")
    parts = {part.tag.partition("}")[2]: part.text or "" for part in (() if found is None else found)}
    text, code = parts.pop("text", ""), next(iter(parts), "")
    status = 429 if found is not None and found.get("type") == "wait" else 404 if code == "item-not-found" else 400
    return RequestRefused(status, code, " ".join(text.split())[:300] or code.replace("-", " "))


class XMPPStream:
    """A stream, which is used once. `resource` tells the connections of one account apart. The owner's `receive` gets each
    message and presence, in order, and `confirm` the id of each message that the server has taken over."""

    def __init__(self, context: NetworkContext, resource: str, owner: Any = None) -> None:
        self._log, self._reactor, config = context.log, context.reactor, context.config
        self._owner, self._reason, self._needs_tls = owner, "", not permits_plaintext(config)
        self._error: Exception | None = None
        self._waiting: Deferred[None] = Deferred()
        identity = SETTINGS.read_identity(config.BOT_IDENTITY)
        self._server = identity.get("server")
        jid = identity["username"] if "/" in identity["username"] else f"{identity['username']}/{resource}"
        options = {"feature_mechanisms": dict(config.XMPP_FEATURE_MECHANISMS)}
        loop = event_loop(context.reactor)
        client = self._client = ClientXMPP(jid, identity["password"], plugin_config=options, loop=loop)
        self.jid, self.domain = str(client.boundjid.bare), str(client.boundjid.domain)
        client.register_plugin("xep_0199")
        # The outbox sends again what wasn't acknowledged.
        client.register_plugin("xep_0198", {"allow_resume": False, "window": 2**31})
        client.ca_certs = Path(config.XMPP_CA_CERT_FILE) if config.XMPP_CA_CERT_FILE else None
        client.use_ipv6 = config.XMPP_USE_IPV6 in (None, True)
        if self._server is not None:
            client.enable_direct_tls = self._server[1] == 5223
            client.enable_starttls = not client.enable_direct_tls
        client.add_filter("in", self._received)
        for event, handle in {
            "session_start": lambda _: self._settle(None),
            "disconnected": lambda reason: self._settle(ConnectionError(_described(reason))),
            "connection_failed": self._connection_failed,
            "ssl_invalid_chain": self._connection_failed,
            "failed_auth": lambda failure: setattr(self, "_reason", failure["condition"]),
            "failed_all_auth": self._login_failed,
            "stream_error": self._stream_error,
            "stanza_acked": lambda stanza: owner and owner.confirm(stanza["id"], is_echo=False),
        }.items():
            client.add_event_handler(event, handle)

    async def connect(self) -> None:
        """Connect and log in. Raises Unusable if the server refuses the account."""
        deferred_of(self._client.connect(*(self._server or (None, None)))).addBoth(self._attempted)
        try:
            await self.ended().addTimeout(_LONGEST_LOGIN, self._reactor)
        except defer.TimeoutError:
            raise ConnectionError(f"the login took more than {_LONGEST_LOGIN:g} s") from None

    def ended(self) -> Deferred[None]:
        """Return a Deferred that fails with the reason when the stream ends."""
        waiting = self._waiting = Deferred()
        if self._error is not None:
            self._settle(None)
        return waiting

    async def close(self) -> None:
        """End the stream, within two seconds."""
        client, self._error = self._client, self._error or NotConfirmed("the stream is closed")
        client.cancel_connection_attempt()
        with suppress(Exception):
            await deferred_of(client.disconnect(2.0, ignore_send_queue=True))
        client.abort()
        client._run_out_filters.cancel()

    def send(self, kind: str, to: str, *content: Element, **attributes: str) -> None:
        """Send a message or a presence. The server is asked to acknowledge a message."""
        if self._error is not None or self._client.transport is None:
            raise NotConfirmed("not connected")
        made = (Message if kind == "message" else Presence)(self._client)
        made.xml.attrib.update(element("", to=to, **attributes).attrib)
        made.xml.extend(content)
        self._client.send(made)
        if kind == "message" and "stream_management" in self._client.features:
            self._client.send('<r xmlns="urn:xmpp:sm:3"/>')
        elif kind == "message":
            # The server handles stanzas in order.
            answered = self.ping().addErrback(lambda failure: failure.trap(RequestRefused))
            answered.addCallbacks(lambda _: self._owner.confirm(attributes["id"], is_echo=False), lambda _: None)

    def request(self, to: str, *content: Element, type: str = "get") -> Deferred[Element]:
        """Return the response; fails with RequestRefused, or NotConfirmed without one."""

        def failed(failure: Failure) -> NoReturn:
            if isinstance(failure.value, IqError):
                raise error_of(failure.value.iq.xml)
            failure.trap(IqTimeout)
            raise NotConfirmed(f"no response of {to or 'the server'} within {TIMEOUT:g} s")

        iq = self._client.make_iq(ito=to or None, itype=type)
        iq.xml.extend(content)
        return deferred_of(iq.send(timeout=TIMEOUT)).addCallbacks(lambda answer: answer.xml, failed)

    def ping(self, to: str = "") -> Deferred[Element]:
        return self.request(to or self.domain, element("{urn:xmpp:ping}ping"))

    async def services(self) -> dict[str, set[str]]:
        """Return the services of the bot's server with their features, and the types that they have."""
        items = await self.request(self.domain, element(f"{ITEMS}query"))
        names = [self.domain, *(item.get("jid", "") for item in items.iter(f"{ITEMS}item"))][:50]
        asked = [self.request(name, element(f"{INFO}query")) for name in names]
        answers = zip(names, await DeferredList(asked, consumeErrors=True), strict=True)
        found = {name: info for name, (is_answered, info) in answers if is_answered}
        return {name: {each.get("type") or f"{{{each.get('var')}}}" for each in found[name].iter()} for name in found}

    def _received(self, stanza: Any) -> Any:
        """Pass on what the owner needs. Return what slixmpp is to handle: no presences, all of which it would keep."""
        if self._needs_tls and self._client.transport.get_extra_info("ssl_object") is None:
            # Anybody on the way may have written it, and slixmpp would log in, and believe that it is.
            if (is_offer := stanza.xml.tag == f"{_STREAM}features") and stanza.xml.find(f"{_TLS}starttls") is None:
                self._login_failed(None)
                return None
            return stanza if is_offer or stanza.xml.tag in (f"{_TLS}proceed", f"{_STREAM}error") else None
        if self._owner is not None and isinstance(stanza, (Message, Presence)):
            try:
                self._owner.receive(stanza.xml)
            except Exception:
                self._log.failure("A stanza from {sender} could not be handled", sender=stanza.xml.get("from"))
        return None if stanza.xml.tag == f"{CLIENT}presence" and "subscribe" not in stanza["type"] else stanza

    def _attempted(self, result: object) -> None:
        # Otherwise slixmpp would try again by itself.
        if self._client.transport is None:
            self._client.cancel_connection_attempt()
            place = ":".join(map(str, self._server or (self.domain,)))
            self._settle(ConnectionError(f"can't connect to {place} ({self._reason or 'no response'})"))

    def _connection_failed(self, error: object) -> None:
        self._reason = _described(error)
        if self._client.transport is not None:
            # TLS has failed.
            self._settle(ConnectionError(self._reason))
            self._client.abort()

    def _login_failed(self, event: object) -> None:
        refused = f"the server refuses the password of {self.jid} ({self._reason})"
        impossible = "the server offers no way to log in over TLS that XMPP_FEATURE_MECHANISMS permits"
        self._settle(Unusable(refused if self._reason else impossible))

    def _stream_error(self, error: Any) -> None:
        condition, text = error["condition"], " ".join(error["text"].split())[:300]
        if condition == "conflict":
            self._settle(Unusable(f"{self.jid} has logged in elsewhere, perhaps for another bot with this account"))
        self._settle(ConnectionError(f"the server has ended the stream: {text or condition}"))

    def _settle(self, error: Exception | None) -> None:
        self._error = self._error or error
        if not self._waiting.called:
            self._waiting.callback(None) if self._error is None else self._waiting.errback(self._error)


def _described(error: object) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"the server's TLS certificate is not trusted: {error.verify_message}"
        return f"{why}; XMPP_CA_CERT_FILE names a file with other CAs"
    return " ".join(str(error or "").split()) or "the connection was closed"


MUC, USER, OWNER = (f"{{http://jabber.org/protocol/muc{part}}}" for part in ("", "#user", "#owner"))
_PATIENCE, _AGAIN, _HISTORY = 30.0, 60.0, "50"
"""The seconds for which a room is waited for, those between attempts to join it, and the messages to read that others sent before."""
_TOPIC = "topic"  # the id of the message that sets one: rooms repeat it without
_USUAL = ("chat.", "conference.", "groupchat.", "muc.", "rooms.")  # how domains begin that have rooms
_REFUSALS = {
    "forbidden": "the bot is banned",
    "not-authorized": "the password is missing or wrong",
    "registration-required": "only members may join",
}


@dataclass
class JoinedRoom:
    """What is known of a room that the bot is in, or joins. `people` has their JIDs by nick, "" for hidden ones."""

    nick: str
    joined: Deferred[None] = field(default_factory=Deferred)
    gone: Deferred[None] = field(default_factory=Deferred)
    people: dict[str, str] = field(default_factory=dict)
    topic: str = ""
    is_new: bool = False


class XMPPRooms(WantedRooms):
    def __init__(self, backend: XMPPBackend) -> None:
        super().__init__(backend.context.reactor, backend.network, backend.context.now, _AGAIN)
        self._backend: Any = backend
        self._config = backend.context.config
        self.states: dict[str, JoinedRoom] = {}
        self._own: dict[str, bool] = {}  # the domains of the bot's server that have rooms, False for gateways
        self._wanted = rooms_of(self._config)
        self._people = {str(jid).rpartition("@")[2] for jid in (backend.jid, *self._config.BOT_ADMINS)}
        self._domains = {name.partition("@")[2] for name in self._wanted}
        self.topic = partial(maybeDeferred, self.topic_of)
        self.members = partial(maybeDeferred, self.occupants)

    def is_room(self, jid: str) -> bool:
        domain = jid.partition("@")[2]
        is_usual = domain.startswith(_USUAL) and domain not in self._people
        return "/" not in jid and (is_usual or domain in self._domains or domain in self._own)

    def room(self, name: str) -> XMPPRoom:
        return XMPPRoom(name, self.network, name, actions=self)

    def occupant(self, name: str, nick: str) -> XMPPRoomOccupant:
        node, _, domain = name.partition("@")
        # While the bot joins, a room repeats messages of those who had the nick then.
        jid = self.states[name].people.get(nick, "") if self.is_joined(name) else ""
        return XMPPRoomOccupant(node, domain, nick, self.room(name), self.network, jid)

    def is_joined(self, name: str) -> bool:
        return name in self.states and self.states[name].joined.called

    def state_of(self, room: Room) -> JoinedRoom:
        if not self.is_joined(str(room)):
            raise RoomNotJoinedError(f"the bot is not in {room}")
        return self.states[str(room)]

    def occupants(self, room: Room) -> Sequence[XMPPRoomOccupant]:
        state = self.state_of(room)
        return [self.occupant(str(room), nick) for nick in list(state.people) if nick != state.nick]

    def topic_of(self, room: Room) -> str:
        return self.state_of(room).topic

    def connected(self, services: Mapping[str, set[str]]) -> None:
        self._own = {name: "text" in features for name, features in services.items() if MUC in features}
        self.want(partial(rooms_of, self._config))

    def left(self, name: str, cause: str, by: XMPPRoomOccupant | None = None) -> None:
        bot, state = self.occupant(name, self.states[name].nick), self.states.pop(name)
        state.gone.callback(None)
        if not state.joined.called:
            state.joined.errback(RoomError(cause))
            return
        if name in self._wanted:
            self._miss(name, cause)
        self._backend.events.room_left(self._backend, bot.room, bot, by)

    def presence(self, name: str, nick: str, stanza: Element) -> None:
        state, kind, found = self.states[name], stanza.get("type"), self.occupant(name, nick)
        # Services remove what people add here, but not what is inside other elements.
        own = marks[0] if len(marks := stanza.findall(f"{USER}x")) == 1 else element("none")
        codes = {status.get("code", "") for status in own.findall(f"{USER}status")}
        item = next(own.iterfind(f"{USER}item"), element("item"))
        is_self, new = "110" in codes or nick == state.nick, item.get("nick", "")
        if kind == "error" and not state.joined.called:
            state.joined.errback(error_of(stanza))
        elif kind == "unavailable" and "303" in codes and new:
            # Only the nick has changed.
            state.people[new] = state.people.pop(nick, "")
            state.nick = new if is_self else state.nick
        elif kind == "unavailable":
            actors = (actor.get("nick", "") for actor in item.findall(f"{USER}actor"))
            actor = next(actors, "") if codes & {"301", "307"} else ""
            by = self.occupant(name, actor) if actor else None
            if is_self:
                cause = f"{actor or 'the room'} has {'banned' if '301' in codes else 'removed'} the bot"
                reason = next((f": {one.text}" for one in item.findall(f"{USER}reason") if one.text), "")
                self.left(name, one_line(cause + reason), by)
            elif state.people.pop(nick, None) is not None and state.joined.called:
                self._backend.events.room_left(self._backend, found.room, found, by)
        elif not kind and nick:  # rooms have pictures, too
            is_known, state.people[nick] = nick in state.people, self.vouched(name, item.get("jid", ""))
            if is_self:
                state.nick, state.is_new = nick, state.is_new or "201" in codes
            elif state.joined.called and not is_known:
                self._backend.events.room_joined(self._backend, found.room, self.occupant(name, nick))

    def topic_changed(self, name: str, topic: str) -> None:
        """Note the topic. It is the last thing that a room sends to those who join."""
        state = self.states[name]
        state.topic = sanitize(topic)
        if state.joined.called:
            self._backend.events.room_topic_changed(self._backend, self.room(name))
            self._backend.confirm(_TOPIC)
        elif state.nick in state.people:
            state.joined.callback(None)

    def invited(self, name: str, by: str, password: str) -> None:
        """Accept an invitation of an administrator, or to a room where the bot should be."""
        person = XMPPPerson(*split_identifier(by)[:2], network=self.network)
        if name in self._wanted or Caller.from_identifier(person, None, self._config).is_admin:
            self.carry_out("join", self.room(name), "" if self.is_joined(name) else password)
        else:
            self.warn(f"{by}, who is no administrator, has invited the bot to {name}; `room join` would join it")

    def vouched(self, name: str, jid: str) -> str:
        """Return a JID without resource that a room states; "" if its service isn't the bot's own, nor that of the JID's server, or a gateway."""
        service = name.partition("@")[2]
        with suppress(ValueError):
            is_trusted = self._own.get(service, service.endswith(f".{split_identifier(jid)[1]}"))
            return bare(jid) if is_trusted else ""
        return ""

    @reported
    async def _enter(self, name: str, password: str = "") -> None:
        if self.is_joined(name):
            return
        secret = password or self._wanted.get(name, "")
        content = [element(f"{MUC}password", secret)] * bool(secret) + [element(f"{MUC}history", maxstanzas=_HISTORY)]
        for suffix in ("", "_", "__"):
            nick = self._config.CHATROOM_FN + suffix
            state = self.states[name] = JoinedRoom(nick)
            try:
                self._backend.show_presence(f"{name}/{nick}", element(f"{MUC}x", *content))
                await state.joined.addTimeout(_PATIENCE, self._reactor)
                break
            except defer.TimeoutError:
                raise RoomError(f"no answer within {_PATIENCE:g} s") from None
            except RequestRefused as error:
                if error.code != "conflict" or suffix == "__":
                    raise RoomError(_REFUSALS.get(error.code, str(error))) from error
            finally:
                if self.states.get(name) is state and state.nick not in state.people:
                    del self.states[name]
        self._domains.add(name.partition("@")[2])
        self._missing.pop(name, None)
        if state.is_new:
            # Until its settings are accepted, nobody else can join a new room.
            await self._configure(name)
        self._backend.events.room_joined(self._backend, self.room(name), self.occupant(name, state.nick))
        self._backend.outbox.resume()

    async def _configure(self, name: str, **fields: str) -> None:
        filled = {"FORM_TYPE": f"{MUC[1:-1]}#roomconfig", **{f"muc#roomconfig_{key}": fields[key] for key in fields}}
        made = [element(f"{DATA}field", element(f"{DATA}value", filled[key]), var=key) for key in filled if fields]
        form = element(f"{OWNER}query", element(f"{DATA}x", *made, type="submit"))
        await self._backend.online.request(name, form, type="set")

    @reported
    async def leave(self, room: Room, reason: str = "") -> None:
        state, status = self.state_of(room), element(f"{CLIENT}status", reason)
        self._wanted.pop(str(room), None)
        self._backend.online.send("presence", f"{room}/{state.nick}", status, type="unavailable")
        # What the room sends until then would count for the next time in the room.
        await result_within(self._reactor, _PATIENCE, state.gone)

    @reported
    async def create(self, room: Room) -> None:
        """Create the room so that it stays when all have left. Who isn't invited can't join it."""
        await self.join(room)
        await self._configure(str(room), persistentroom="1", membersonly="1")

    @reported
    async def destroy(self, room: Room) -> None:
        self._wanted.pop(str(room), None)
        wish = element(f"{OWNER}query", element(f"{OWNER}destroy"))
        await self._backend.online.request(str(room), wish, type="set")

    @reported
    async def set_topic(self, room: Room, topic: str) -> None:
        self.state_of(room)
        await self._backend.deliver(str(room), [element(f"{CLIENT}subject", topic)], own=_TOPIC)

    @reported
    async def invite(self, room: Room, person: str) -> None:
        self.state_of(room)
        invitation = element(f"{USER}invite", to=bare(person))
        await self._backend.deliver(str(room), [element(f"{USER}x", invitation)], "normal")


async def check(context: NetworkContext) -> Sequence[NetworkFinding]:
    """Log in, beside a running bot, and find out what the server offers."""
    # Its errors are printed as one problem.
    logging.getLogger("slixmpp").setLevel(logging.CRITICAL)
    stream = XMPPStream(context, "errklein-check")
    try:
        await stream.connect()
        services = await stream.services()
    finally:
        await stream.close()
    rooms = ", ".join(name for name, features in services.items() if MUC in features)
    has_files = any(UPLOAD in features for features in services.values())
    texts = [f"the server accepts the bot as {stream.jid}", f"rooms are at {rooms}" if rooms else "there are no rooms"]
    texts.append("the server takes files" if has_files else "the server takes no files (XEP-0363), only their texts")
    return [NetworkFinding(text) for text in texts]
