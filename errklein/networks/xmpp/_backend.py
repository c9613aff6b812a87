"""A connection to one XMPP network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import blake2s
from secrets import token_hex
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from twisted.internet import defer
from twisted.internet.defer import Deferred

from errklein.chat import AWAY, DND, OFFLINE, Identifier, Message, Person, RoomDoesNotExistError, RoomOccupant
from errklein.chat.features import Features
from errklein.chat.handles import MessageRef
from errklein.chat.operations import Delete, Edit, Operation, Post, React, Upload, Wanted
from errklein.chat.outgoing import OutgoingMessage, Wait
from errklein.networks.base import ConnectedNetwork
from errklein.networks.context import NetworkContext
from errklein.networks.errors import NotConfirmed, RequestRefused, RetryLater
from errklein.networks.json_client import LARGEST, File
from errklein.networks.xmpp._client import CLIENT, INFO, UPLOAD, XMPPStream, element, error_of, event_loop
from errklein.networks.xmpp._events import CORRECT, FALLBACK, OOB, REACT, REPLY, RETRACT, STANZA_ID, Known, Stanzas
from errklein.networks.xmpp._rooms import USER, XMPPRooms
from errklein.networks.xmpp.identifiers import XMPPPerson, XMPPRoom, bare, split_identifier
from errklein.networks.xmpp.settings import SETTINGS
from errklein.running import on_reactor_soon
from errklein.text import plain, sanitize, to_plain, to_xhtml

_PING_AFTER, _CONFIRMED_WITHIN, _MOST_ARRIVED, _MOST_REACTED = 60.0, 60.0, 1_000, 200
_SHOWN = {AWAY: "away", DND: "dnd", OFFLINE: "xa"}
_XHTML, _BODY = "{http://jabber.org/protocol/xhtml-im}html", '<body xmlns="http://www.w3.org/1999/xhtml">%s</body>'
_RETRACTED = "An earlier message was retracted, but your client doesn't show that."


class XMPPBackend(ConnectedNetwork):
    """A connection to one XMPP network. Implements `outbox.Transport` and `ManagesRooms`, too."""

    mode = "xmpp"
    joins_configured_rooms = True
    is_encrypted = True
    window = 16

    def __init__(self, context: NetworkContext) -> None:
        event_loop(context.reactor)
        identity = SETTINGS.read_identity(context.config.BOT_IDENTITY)
        node, domain, resource = split_identifier(identity["username"])
        self.jid, self.place = f"{node}@{domain}", f" to {domain}"
        super().__init__(context)
        self._features = Features(self.message_size_limit, len, 0, True, True, True, True, highlights_names=True)
        self.bot_identifier: XMPPPerson = XMPPPerson(node, domain, resource, self.network, self.config.CHATROOM_FN)
        self.seen = context.seen("messages", 1_000)
        self.away_since = float("inf")
        self._stream: XMPPStream | None = None
        self.membership = XMPPRooms(self)
        self.stanzas = Stanzas(self)
        self._presence = "", ""
        self._upload = self._files = ""
        self._pending: dict[str, tuple[bool, Deferred[str]]] = {}
        self._arrived: dict[tuple[str, str], str] = {}
        self._reacted: dict[str, list[str]] = {}
        for action in ("join", "leave", "create", "destroy", "topic", "set_topic", "members", "invite"):
            setattr(self, action, getattr(self.membership, action))

    async def session(self) -> None:
        position = self.seen.position or await self.seen.load()
        # Servers' clocks may differ, and have whole seconds.
        self.away_since = float("inf") if position is None else position - 5
        self._reacted = await self.context.state.get("reactions", {})
        acknowledged = partial(self.confirm, is_echo=False)
        stream = self._stream = XMPPStream(self.context, receive=self.stanzas.receive, acknowledged=acknowledged)
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
                    await stream.ended().addTimeout(
                        self.config.XMPP_KEEPALIVE_INTERVAL or _PING_AFTER, self.context.reactor
                    )
                with suppress(RequestRefused):
                    await stream.ping()
                await self.membership.ping()
        except Exception as error:
            for _, waiting in list(self._pending.values()):
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
        """The stream; raises NotConfirmed without one."""
        if self._stream is None or not self.connection.is_connected:
            raise NotConfirmed(f"{self.network} is not connected")
        return self._stream

    def rooms(self) -> Sequence[XMPPRoom]:
        return [self.membership.room(name) for name in list(self.membership.states) if self.membership.is_joined(name)]

    def unavailable(self, recipient: str) -> str | None:
        name = recipient.partition("/")[0]
        is_absent = self.membership.is_room(name) and not self.membership.is_joined(name)
        return f"the bot is not in {name}" if is_absent else None

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        return super().disconnect(grace).addCallback(lambda _: self.membership.stop())

    # What the bot sends

    def recipient_of(self, message: Message, wanted: Wanted) -> str:
        text = super().recipient_of(message, wanted)
        return message.to.person if isinstance(message.to, XMPPPerson) else text

    def details_of(self, message: Message) -> str:
        """Return the id of the message that the message replies to."""
        parent = message.parent
        if parent is None or not parent.ref or message.to != (parent.to if parent.is_group else parent.frm):
            return ""
        return json.dumps({"reply": parent.ref.id})

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
                content = [await self._reactions(ref, emoji, remove)]
            case Upload():
                url = await self._uploaded(operation)
                content = [element(f"{CLIENT}body", url), element(f"{OOB}x", element(f"{OOB}url", url))]
        if not isinstance(operation, (Post, Upload)):
            await self.deliver(to, content, own=own)
            return ""
        thread = _given(operation.thread)
        if reply := _given(json.loads(message.details or "{}").get("reply", "")) or thread:
            known = self.stanzas.known.get((to, reply))
            content.append(element(f"{REPLY}reply", id=reply, to="" if known is None else known.jid))
        content += [element(f"{CLIENT}thread", thread)] * bool(thread)
        # Corrections name the bot's own id, and everything else the room's.
        return f"{own} {await self.deliver(to, content, own=own)}".strip()

    def _text(self, markdown: str) -> list[Element]:
        markdown = sanitize(markdown).translate({0xFFFE: None, 0xFFFF: None})
        found = [element(f"{CLIENT}body", to_plain(markdown, indented=False))]
        if self.config.XMPP_XHTML_IM:
            with suppress(ElementTree.ParseError):
                page = ElementTree.fromstring(_BODY % to_xhtml(markdown))  # noqa: S314 - errklein's own
                found.append(element(_XHTML, page))
        return found

    async def _reactions(self, ref: MessageRef, emoji: str, remove: bool) -> Element:
        """Return all reactions of the bot to a message, which replace those from before."""
        target = f"{ref.room} {_given(ref.id)}"
        others = [one for one in self._reacted.pop(target, ()) if one != emoji]
        now = self._reacted[target] = others if remove else [*others, emoji]
        if len(self._reacted) > _MOST_REACTED:
            del self._reacted[next(iter(self._reacted))]
        await self.context.state.set("reactions", self._reacted)
        return element(f"{REACT}reactions", *(element(f"{REACT}reaction", one) for one in now), id=_given(ref.id))

    async def deliver(self, to: str, content: Sequence[Element], kind: str = "", own: str = "") -> str:
        """Send a message, and wait until the server has it. Return the id that the room has given it; "" for none."""
        own, kind = own or token_hex(12), kind or ("groupchat" if self.membership.is_room(to) else "chat")
        if (to, own) in self._arrived:
            # In spite of a lost connection, as the history of the room has shown.
            return self._arrived[to, own]
        stream, waiting = self.online, Deferred[str]()
        self._pending[own] = kind == "groupchat", waiting
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
        self.stanzas.know(Known(self.jid, MessageRef(self.network, to, f"{own} {given}".strip()), jid), own, given)
        return given

    def arrived(self, room: str, own: str, given: str) -> None:
        """Note that a room shows a message of the bot."""
        self._arrived[room, own] = given
        if len(self._arrived) > _MOST_ARRIVED:
            del self._arrived[next(iter(self._arrived))]
        self.confirm(own, given)

    def confirm(self, own: str, given: str = "", is_echo: bool = True) -> None:
        """Note that the server has taken a message over, or, if it goes to a room, that the room shows it."""
        is_groupchat, waiting = self._pending.get(own, (True, None))
        if waiting is not None and (is_echo or not is_groupchat) and not waiting.called:
            waiting.callback(given)

    def refused(self, name: str, stanza: Element) -> None:
        """Note that a message of the bot was returned with an error."""
        error, (_, waiting) = error_of(stanza), self._pending.get(stanza.get("id", ""), (True, None))
        is_forgotten = error.code == "not-acceptable" and self.membership.is_joined(name)
        if waiting is not None and not waiting.called:
            waiting.errback(RetryLater(5.0) if error.status == 429 or is_forgotten else error)
            if is_forgotten:
                self.membership.left(name, "the room has forgotten the bot")

    # Files (XEP-0363)

    async def _slot(self, name: str, size: int, kind: str) -> tuple[str, Element]:
        """Return the address that a file will have, and the request by which it is sent."""
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

    # Names, rooms and states

    def is_certain(self, person: Identifier) -> bool:
        return not isinstance(person, RoomOccupant) or bool(getattr(person, "real_jid", None))

    def build_identifier(self, text: str) -> Identifier:
        """Return the room or person of a JID, or the occupant of ROOM/NICK."""
        node, domain, resource = split_identifier(text)
        if self.membership.is_room(name := f"{node}@{domain}"):
            return self.membership.occupant(name, resource) if resource else self.membership.room(name)
        return XMPPPerson(node, domain, resource, self.network)

    def query_room(self, name: str) -> XMPPRoom:
        return self.membership.room(bare(name))

    async def look_up(self, text: str) -> Identifier:
        found = self.build_identifier(text)
        if isinstance(found, XMPPRoom) and not found.joined:
            try:
                await self.online.request(found.name, element(f"{INFO}query"))
            except RequestRefused as error:
                if error.status == 404:
                    raise RoomDoesNotExistError(f"there is no room {text}") from None
        return found

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Put the person's nick and a colon before the text."""
        name = (isinstance(identifier, Person) and identifier.nick) or str(identifier)
        space = "\n\n" if message.body.startswith(("#", "|")) else " "
        message.body = f"{plain(name)}:{space}{message.body}"

    def is_from_self(self, message: Message) -> bool:
        return isinstance(message.frm, XMPPPerson) and message.frm.person == self.jid

    def room_status(self, name: str) -> Wait | None:
        status = self.membership.status(name)
        return status and (self.connection.absence or status)

    def change_presence(self, status: str, message: str) -> None:
        self._presence = _SHOWN.get(status, ""), message

        def show() -> None:
            own = [f"{name}/{state.nick}" for name, state in self.membership.states.items()]
            for to in ["", *own] if self.connection.is_connected else ():
                self.show_presence(to)

        on_reactor_soon(self.context.reactor, show)

    def show_presence(self, to: str = "", *content: Element) -> None:
        """Show the bot's presence to all who may see it, or to a room."""
        shown = zip(("show", "status"), self._presence, strict=True)
        self.online.send("presence", to, *(element(CLIENT + name, text) for name, text in shown if text), *content)


def _given(name: str) -> str:
    """Return the id by which others name a message: the one that the room has given it, or else its own."""
    return name.partition(" ")[2] or name
