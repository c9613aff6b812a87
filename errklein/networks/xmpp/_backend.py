"""A connection to one XMPP network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from hashlib import blake2s
from secrets import token_hex
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element, ParseError, fromstring

from twisted.internet import defer
from twisted.internet.defer import Deferred

from errklein.chat import Attachment, Identifier, Message, Presence, Reaction, Room, RoomOccupant
from errklein.chat.events import AWAY, DND, OFFLINE, ONLINE, REACTION_ADDED, REACTION_REMOVED
from errklein.chat.features import Features
from errklein.chat.handles import MessageRef
from errklein.chat.operations import Delete, Edit, Operation, Post, React, Upload, Wanted
from errklein.chat.outgoing import OutgoingMessage
from errklein.networks.context import Latest, NetworkContext
from errklein.networks.directory import ManagingNetwork
from errklein.networks.errors import NotConfirmed, RequestRefused, RetryLater
from errklein.networks.json_client import LARGEST, File, one_line
from errklein.networks.xmpp import SETTINGS, permits_plaintext
from errklein.networks.xmpp._client import CLIENT, UPLOAD, USER, XMPPRooms, XMPPStream, element, error_of, event_loop
from errklein.networks.xmpp.identifiers import XMPPPerson, XMPPRoom, bare, split_identifier
from errklein.running import on_reactor_soon
from errklein.text import sanitize, to_plain, to_xhtml

_PING_AFTER, _CONFIRMED_WITHIN = 60.0, 60.0
_SHOWN = {AWAY: "away", DND: "dnd", OFFLINE: "xa"}
_XHTML, _BODY = "{http://jabber.org/protocol/xhtml-im}html", '<body xmlns="http://www.w3.org/1999/xhtml">%s</body>'
_RETRACTED = "An earlier message was retracted, but your client doesn't show that."
CORRECT, REACT, REPLY = "{urn:xmpp:message-correct:0}", "{urn:xmpp:reactions:0}", "{urn:xmpp:reply:0}"
RETRACT, STANZA_ID = "{urn:xmpp:message-retract:1}", "{urn:xmpp:sid:0}"
OOB, FALLBACK = "{jabber:x:oob}", "{urn:xmpp:fallback:0}"
_MOST = 20  # emoji of one person, and files of a message
_STATES = {"away": AWAY, "xa": AWAY, "dnd": DND}


class Known(NamedTuple):
    """What is to be known of a message for later ones that name it. `jid` is its author as replies name them."""

    sender: str
    ref: MessageRef
    jid: str


class XMPPBackend(ManagingNetwork):
    """A connection to one XMPP network. Implements `outbox.Transport` and `ManagesRooms`, too."""

    events: Any = None
    membership: XMPPRooms
    mode = "xmpp"
    name_form = "{}:"
    window = 16

    def __init__(self, context: NetworkContext) -> None:
        event_loop(context.reactor)
        identity = SETTINGS.read_identity(context.config.BOT_IDENTITY)
        node, domain, resource = split_identifier(identity["username"])
        self.jid, self.place = f"{node}@{domain}", f" to {domain}"
        super().__init__(context)
        self._features = Features(self.message_size_limit, len, 0, True, True, True, True, highlights_names=True)
        self.bot_identifier: XMPPPerson = XMPPPerson(node, domain, resource, self.network, self.config.CHATROOM_FN)
        self.is_encrypted = not permits_plaintext(self.config)
        self.seen = context.seen("messages", 1_000)
        self.away_since = float("inf")
        self._stream: XMPPStream | None = None
        self.manage(XMPPRooms(self))
        self.known: dict[tuple[str, str], Known] = Latest()
        """By room or person, and the id of the message, or the one that the room has given it."""
        self._presence = "", ""
        self._upload = self._files = ""
        self._pending: dict[str, tuple[str, bool, Deferred[str]]] = {}
        self._arrived, self._own_reactions, self._seen_reactions = Latest(1_000), Latest(200), Latest()

    async def session(self) -> None:
        position = self.seen.position or await self.seen.load()
        # Servers' clocks may differ, and have whole seconds.
        self.away_since = float("inf") if position is None else position - 5
        self._own_reactions.update(await self.context.state.get("reactions", {}))
        stream = self._stream = XMPPStream(self.context, "errklein", self)
        pause = self.config.XMPP_KEEPALIVE_INTERVAL or _PING_AFTER
        try:
            await stream.connect()
            services = await stream.services()
            self._upload = next((name for name, features in services.items() if UPLOAD in features), "")
            self._features = replace(self._features, files=bool(self._upload))
            await stream.request("", element("{jabber:iq:roster}query"))
            self.connection.connected()
            self.show_presence()
            self.membership.connected(services)
            while True:
                with suppress(defer.TimeoutError):
                    await stream.ended().addTimeout(pause, self.context.reactor)
                with suppress(RequestRefused):
                    await stream.ping()
        except Exception as error:
            for *_, waiting in list(self._pending.values()):
                waiting.errback(error if isinstance(error, NotConfirmed) else NotConfirmed(str(error)))
            raise
        finally:
            self.seen.position = self.seen.position or self.context.now()
            self.membership.stop_joining()
            self.membership.states.clear()
            await stream.close()
            await self.seen.flush()

    @property
    def online(self) -> XMPPStream:
        if self._stream is None or not self.connection.is_connected:
            raise NotConfirmed(f"{self.network} is not connected")
        return self._stream

    def rooms(self) -> Sequence[XMPPRoom]:
        return [self.membership.room(name) for name in list(self.membership.states) if self.membership.is_joined(name)]

    def unavailable(self, recipient: str) -> str | None:
        name = recipient.partition("/")[0]
        is_absent = self.membership.is_room(name) and not self.membership.is_joined(name)
        return f"the bot is not in {name}" if is_absent else None

    # What the bot sends

    def recipient_of(self, message: Message, wanted: Wanted) -> str:
        text = super().recipient_of(message, wanted)
        return message.to.person if isinstance(message.to, XMPPPerson) else text

    async def send_operation(self, message: OutgoingMessage, operation: Operation, key: str) -> str:
        own = blake2s(key.encode(), digest_size=12).hexdigest()
        to = message.recipient if isinstance(operation, (Post, Upload)) else operation.ref.room
        if to != message.recipient and (reason := self.unavailable(to)):
            raise RequestRefused(0, "", reason)
        match operation:
            case Post(text):
                content = self._text(text)
            case Edit(ref, text):
                content = [*self._text(text), element(f"{CORRECT}replace", id=ref.id.partition(" ")[0])]
            case Delete(ref):
                content = [element(f"{RETRACT}retract", id=_given(ref.id)), element(f"{CLIENT}body", _RETRACTED)]
                content.append(element(f"{FALLBACK}fallback", for_=RETRACT[1:-1]))
            case React(ref, emoji, remove):
                content = [await self._with_reaction(ref, emoji, remove)]
            case Upload():
                url = await self._uploaded(operation)
                content = [element(f"{CLIENT}body", url), element(f"{OOB}x", element(f"{OOB}url", url))]
        if not isinstance(operation, (Post, Upload)):
            await self.deliver(to, content, own=own)
            return ""
        thread = _given(operation.thread)
        if reply := _given(message.details) or thread:
            known = self.known.get((to, reply))
            content.append(element(f"{REPLY}reply", id=reply, to="" if known is None else known.jid))
        content += [element(f"{CLIENT}thread", thread)] * bool(thread)
        # Corrections name the bot's own id, and everything else the room's.
        return f"{own} {await self.deliver(to, content, own=own)}".strip()

    def _text(self, markdown: str) -> list[Element]:
        markdown = sanitize(markdown).translate({0xFFFE: None, 0xFFFF: None})
        found = [element(f"{CLIENT}body", to_plain(markdown, indented=False))]
        if self.config.XMPP_XHTML_IM:
            with suppress(ParseError):
                page = fromstring(_BODY % to_xhtml(markdown))  # noqa: S314 - errklein's own
                found.append(element(_XHTML, page))
        return found

    async def _with_reaction(self, ref: MessageRef, emoji: str, remove: bool) -> Element:
        """Return all reactions of the bot to a message, which replace those from before."""
        target = f"{ref.room} {_given(ref.id)}"
        others = [one for one in self._own_reactions.pop(target, ()) if one != emoji]
        now = self._own_reactions[target] = others if remove else [*others, emoji]
        await self.context.state.set("reactions", self._own_reactions)
        return element(f"{REACT}reactions", *(element(f"{REACT}reaction", one) for one in now), id=_given(ref.id))

    async def deliver(self, to: str, content: Sequence[Element], kind: str = "", own: str = "") -> str:
        """Send a message, and wait until the server has it. Return the id that the room has given it; "" for none."""
        own, kind = own or token_hex(12), kind or ("groupchat" if self.membership.is_room(to) else "chat")
        if (to, own) in self._arrived:
            # In spite of a lost connection, as the history of the room has shown.
            return str(self._arrived[to, own])
        stream, waiting = self.online, Deferred[str]()
        self._pending[own] = to, kind == "groupchat", waiting
        marks = [element(f"{STANZA_ID}origin-id", id=own)] + [element(f"{USER}x")] * ("/" in to)
        try:
            stream.send("message", to, *content, *marks, type=kind, id=own)
            given = await waiting.addTimeout(_CONFIRMED_WITHIN, self.context.reactor)
        except defer.TimeoutError:
            if self.membership.is_joined(to):
                self.membership.left(to, "the room doesn't answer")
            raise RetryLater(1.0) from None
        finally:
            del self._pending[own]
        jid = f"{to}/{self.membership.states[to].nick}" if to in self.membership.states else self.jid
        self.know(Known(self.jid, MessageRef(self.network, to, f"{own} {given}".strip()), jid), own, given)
        return given

    def confirm(self, own: str, given: str = "", is_echo: bool = True) -> None:
        """Note that the server has taken a message over, or, if it goes to a room, that the room shows it."""
        _, is_groupchat, waiting = self._pending.get(own, ("", True, None))
        if waiting is not None and (is_echo or not is_groupchat) and not waiting.called:
            waiting.callback(given)

    def refused(self, name: str, stanza: Element) -> None:
        error, (to, _, waiting) = error_of(stanza), self._pending.get(stanza.get("id", ""), ("", True, None))
        is_forgotten = error.code == "not-acceptable" and self.membership.is_joined(name)
        if waiting is not None and not waiting.called and name == to.partition("/")[0]:
            waiting.errback(RetryLater(5.0) if error.status == 429 or is_forgotten else error)
            if is_forgotten:
                self.membership.left(name, "the room has forgotten the bot")

    # What the bot receives

    def know(self, known: Known, *ids: str) -> None:
        for one in filter(None, ids):
            self.known[known.ref.room, one] = known

    def receive(self, stanza: Element) -> None:
        kind, bot = stanza.get("type", ""), self.bot_identifier
        try:
            node, domain, nick = split_identifier(stanza.get("from", ""))
        except ValueError:
            return
        name, person = f"{node}@{domain}", XMPPPerson(node, domain, nick, self.network)
        is_here, is_room = name in self.membership.states, self.membership.is_room(name)
        if stanza.tag == f"{CLIENT}presence" and is_here:
            self.membership.presence(name, nick or "", stanza)
        elif stanza.tag == f"{CLIENT}presence":
            if kind in ("", "unavailable") and name != self.jid and not is_room:
                shown = OFFLINE if kind else _STATES.get(stanza.findtext(f"{CLIENT}show") or "", ONLINE)
                status = one_line(stanza.findtext(f"{CLIENT}status")) or None
                self.events.presence_changed(self, Presence(person, shown, status))
        elif kind == "error":
            self.refused(name, stanza)
        elif kind == "groupchat" and is_here:
            self._in_room(name, nick or "", stanza)
        elif kind not in ("groupchat", "headline") and not self._is_invitation(name, is_room, stanza):
            frm = self.membership.occupant(name, nick) if is_room and is_here and nick else person
            if frm is not person or not is_room:
                self._handle(stanza, frm, bot, frm.person)

    def _in_room(self, name: str, nick: str, stanza: Element) -> None:
        subject = stanza.find(f"{CLIENT}subject")
        ids = (one.get("id", "") for one in stanza.findall(f"{STANZA_ID}stanza-id") if one.get("by") == name)
        given, is_own = next(filter(_is_id, ids), ""), nick == self.membership.states[name].nick
        if is_own:
            self._arrived[name, stanza.get("id", "")] = given
            self.confirm(stanza.get("id", ""), given)
        if subject is not None and stanza.find(f"{CLIENT}body") is None:
            self.membership.topic_changed(name, subject.text or "")
        elif nick and not is_own:
            self._handle(stanza, self.membership.occupant(name, nick), self.membership.room(name), name, given)

    def _handle(self, stanza: Element, frm: XMPPPerson, to: Identifier, room: str, given: str = "") -> None:
        delayed, own = _delay(stanza), stanza.get("id", "")
        own, thread = own * _is_id(own), stanza.findtext(f"{CLIENT}thread") or ""
        ref = MessageRef(self.network, room, given or own, thread * _is_id(thread))
        # Clients may use an id again; rooms and servers that repeat messages don't.
        is_new = self.seen.is_new(f"{room} {ref.id}" if ref.id else "")
        # Rooms repeat messages while the bot joins; those from before it was there the first time interest nobody.
        is_repeated = delayed and not self.membership.is_joined(room)
        is_old = is_repeated and isinstance(to, Room) and delayed < self.away_since
        if is_old or (not is_new and (given or is_repeated)):
            return
        self.seen.position = self.context.now()
        names = (f"{REACT}reactions", f"{RETRACT}retract", f"{CORRECT}replace")
        reactions, retraction, correction = map(stanza.find, names)
        target = next((one.get("id", "") for one in (reactions, retraction, correction) if one is not None), "")
        known = self.known.get((room, target))
        is_own = known is not None and known.sender == frm.aclattr
        if reactions is not None:
            if _is_id(target) and not delayed:
                self._reactions_changed(reactions, frm, known or Known("", ref._replace(id=target, thread=""), ""))
        elif retraction is not None:
            if known is not None and is_own:
                self.events.message_deleted(self, known.ref, frm)
        elif (message := self._message(stanza, frm, to)) is not None:
            if known is not None and is_own:
                ref = known.ref
            elif known is None and room == frm.aclattr and _is_id(target):
                # From before a restart. In a room, somebody else may have said it.
                ref = ref._replace(id=target)
            elif correction is not None:
                return
            message.ref, message.thread = ref if ref.id else None, ref.thread
            message.sent_at, message.delayed = delayed or self.context.now(), bool(delayed)
            message.edited = correction is not None
            if message.edited:
                self.events.message_edited(self, message)
            else:
                self.know(Known(frm.aclattr, ref, stanza.get("from", "")), own, given)
                self.events.message_received(self, message)

    def _message(self, stanza: Element, frm: XMPPPerson, to: Identifier) -> Message | None:
        if (body := stanza.findtext(f"{CLIENT}body")) is None:
            return None
        for fallback in stanza.findall(f"{FALLBACK}fallback"):
            part = fallback.find(f"{FALLBACK}body")
            if fallback.get("for") == REPLY[1:-1] and part is not None:
                # Clients without replies show what is replied to as a quote.
                with suppress(ValueError):
                    begin, end = (max(0, int(part.get(name, "")[:9])) for name in ("start", "end"))
                    body = body[:begin] + body[end:]
        urls = [each.findtext(f"{OOB}url") or "" for each in stanza.findall(f"{OOB}x")][:_MOST]
        # The address of a file must run no command.
        message = self.build_message(sanitize(body) if body.strip() not in urls else "", frm=frm, to=to)
        files = [(one_line(unquote(url.partition("?")[0].rpartition("/")[2])) or "file", url) for url in urls]
        fetch = partial(partial, self.fetch, frm.aclattr)
        message.attachments = tuple(Attachment(name, "", 0, fetch(url)) for name, url in files)
        return message

    def _reactions_changed(self, reactions: Element, frm: XMPPPerson, known: Known) -> None:
        """Report what has changed: a person's reactions to a message replace those from before."""
        found = (one_line(one.text).removesuffix("\ufe0f") for one in reactions.iter(f"{REACT}reaction"))
        now, key = list(dict.fromkeys(filter(None, found)))[:_MOST], (known.ref.room, known.ref.id, frm.aclattr)
        before = self._seen_reactions.pop(key, ())
        self._seen_reactions[key] = now
        owner, at = self.build_identifier(known.jid) if known.jid else None, str(self.context.now())
        changes = [(REACTION_REMOVED, one) for one in before if one not in now]
        for action, emoji in changes + [(REACTION_ADDED, one) for one in now if one not in before]:
            reaction = Reaction(frm, owner, action, at, emoji, known.ref._asdict())
            self.events.reaction_changed(self, reaction)

    def _is_invitation(self, name: str, is_room: bool, stanza: Element) -> bool:
        found = stanza.find(f"{USER}x/{USER}invite" if is_room else "{jabber:x:conference}x")
        if found is None:
            return False
        with suppress(ValueError):
            if not is_room:
                self.membership.invited(bare(found.get("jid", "")), name, found.get("password", ""))
            elif by := self.membership.vouched(name, found.get("from", "")):
                self.membership.invited(name, by, stanza.findtext(f"{USER}x/{USER}password") or "")
        return True

    async def _slot(self, name: str, size: int, kind: str) -> tuple[str, Element]:
        asked = element(f"{UPLOAD}request", filename=name, size=str(size), **{"content-type": kind})
        slot = await self.online.request(self._upload, asked)
        put, get = (next(slot.iter(f"{UPLOAD}{which}"), element("none")) for which in ("put", "get"))
        self._files = "{0.scheme}://{0.netloc}".format(urlsplit(get.get("url", "")))
        return get.get("url", ""), put

    async def _uploaded(self, file: Upload) -> str:
        kind = file.type or "application/octet-stream"
        url, put = await self._slot(file.name, len(file.content), kind)
        given = {one.get("name", ""): " ".join((one.text or "").split()) for one in put}
        headers = {name: given[name] for name in given if name.lower() in ("authorization", "cookie", "expires")}
        parts = urlsplit(put.get("url", ""))
        http = self.context.http(f"{parts.scheme}://{parts.netloc}", headers)
        await http.upload("PUT", parts._replace(scheme="", netloc="").geturl(), File(file.content, file.name, kind))
        return url

    async def fetch(self, sender: str, url: str, most: int = LARGEST) -> bytes:
        """Return a file from the bot's own server, or from that of its sender. Other addresses may be inside a private network."""
        if self._upload and not self._files:
            await self._slot("file", 1, "text/plain")
        parts, domain = urlsplit(url), sender.partition("@")[2]
        is_theirs = domain != self.bot_identifier.domain and f".{parts.hostname}".endswith(f".{domain}")
        http = self.context.http(self._files or "https://localhost")
        return await http.fetch(url, most, (parts.netloc,) if is_theirs else ())

    def is_certain(self, person: Identifier) -> bool:
        return not isinstance(person, RoomOccupant) or bool(getattr(person, "real_jid", None))

    def build_identifier(self, text: str) -> Identifier:
        node, domain, resource = split_identifier(text)
        if self.membership.is_room(name := f"{node}@{domain}"):
            return self.membership.occupant(name, resource) if resource else self.membership.room(name)
        return XMPPPerson(node, domain, resource, self.network)

    def change_presence(self, status: str, message: str) -> None:
        self._presence = _SHOWN.get(status, ""), message
        on_reactor_soon(self.context.reactor, self._show_presences)

    def _show_presences(self) -> None:
        if self.connection.is_connected:
            for to in ["", *(f"{name}/{state.nick}" for name, state in self.membership.states.items())]:
                self.show_presence(to)

    def show_presence(self, to: str = "", *content: Element) -> None:
        shown = zip(("show", "status"), self._presence, strict=True)
        self.online.send("presence", to, *(element(CLIENT + name, text) for name, text in shown if text), *content)


def _given(name: str) -> str:
    """Return the id by which others name a message: the one that the room has given it, or else its own."""
    return name.partition(" ")[2] or name


def _is_id(text: str) -> bool:
    return 0 < len(text) <= 500 and text.isprintable() and " " not in text


def _delay(stanza: Element) -> float:
    """Return the Unix time at which a message was sent that arrives late, 1.0 if that isn't known; 0.0 for others."""
    if (found := stanza.find("{urn:xmpp:delay}delay")) is None:
        return 0.0
    with suppress(ValueError, OverflowError):
        return max(datetime.fromisoformat(found.get("stamp", "")).timestamp(), 1.0)
    return 1.0
