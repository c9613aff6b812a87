"""A double of an XMPP server in memory, for one client and virtual time: it logs the bot in, and has one room and alice."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, XMLPullParser

_STREAM = '<stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" id="s" version="1.0">'
_SASL, _BIND = "urn:ietf:params:xml:ns:xmpp-sasl", "urn:ietf:params:xml:ns:xmpp-bind"
_MUC = "http://jabber.org/protocol/muc"

ROOM, ALICE, BOT = "ops@conference.localhost", "alice@localhost", "err@localhost"


class Transport:
    """The client's end of the connection."""

    def __init__(self, server: FakeServer) -> None:
        self.server, self.is_open = server, True

    def write(self, data: bytes) -> None:
        """Give bytes to the server."""
        if self.is_open:
            self.server.loop.call_soon(self.server.feed, data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return nothing: there is no TLS."""
        return default

    def close(self) -> None:
        """Close the connection."""
        if self.is_open:
            self.is_open = False
            self.server.loop.call_soon(self.server.protocol.connection_lost, None)

    abort = close


class FakeServer:
    """The server. `handle` may be replaced to see, change or withhold what the client sends."""

    def __init__(self, loop: Any) -> None:
        self.loop, self.protocol, self.transport = loop, None, None
        loop.create_connection = self.connect
        self.received: list[Element] = []
        self.password = "pw-err"
        self.is_managed = True
        self.refuses: Callable[[Element], str] = lambda stanza: ""
        self._is_in, self._count, self._ids = False, 0, 0
        self.is_silent = False
        self.rooms_are = "text"

    async def connect(self, factory: Callable[[], Any], host: str, port: int, **options: Any) -> tuple[Any, Any]:
        """Accept a connection: what the loop's method does."""
        self.protocol, self.transport = factory(), Transport(self)
        self._state, self._parser, self._is_in, self._count = 0, XMLPullParser(("start", "end")), False, 0
        self._depth = 0
        self.protocol.connection_made(self.transport)
        return self.transport, self.protocol

    def send(self, text: str) -> None:
        """Send XML to the client."""
        self.loop.enter(self.protocol.data_received, text.encode())

    def feed(self, data: bytes) -> None:
        """Read bytes of the client."""
        if data.startswith(b"<stream:stream"):
            self._parser, self._depth = XMLPullParser(("start", "end")), 0
        self._parser.feed(data)
        for event, found in self._parser.read_events():
            self._depth += 1 if event == "start" else -1
            if event == "start" and self._depth == 1:
                self._open()
            elif event == "end" and self._depth == 0:
                self.send("</stream:stream>")
            elif event == "end" and self._depth == 1 and not self.is_silent:
                self.handle(found)

    def _open(self) -> None:
        features = f'<mechanisms xmlns="{_SASL}"><mechanism>PLAIN</mechanism></mechanisms>'
        if self._state:
            managed = '<sm xmlns="urn:xmpp:sm:3"/>' * self.is_managed
            features = f'<bind xmlns="{_BIND}"/>{managed}'
        self.send(f"{_STREAM}<stream:features>{features}</stream:features>")

    def handle(self, stanza: Element) -> None:
        """Answer to a stanza."""
        name, kind = stanza.tag.partition("}")[2], stanza.get("type", "")
        if name == "auth":
            self._state = base64.b64decode(stanza.text or "").decode().split("\0")[2] == self.password
            failed = f'<failure xmlns="{_SASL}"><not-authorized/></failure>'
            self.send(f'<success xmlns="{_SASL}"/>' if self._state else failed)
            return
        if name in ("message", "presence", "iq"):
            self._count += 1
            self.received.append(stanza)
        if name == "enable":
            self._count = 0
            self.send('<enabled xmlns="urn:xmpp:sm:3"/>')
        elif name == "r":
            self.send(f'<a xmlns="urn:xmpp:sm:3" h="{self._count}"/>')
        elif name == "iq" and kind in ("get", "set"):
            self._answer(stanza)
        elif name == "presence" and stanza.get("to", "").startswith(f"{ROOM}/"):
            self._presence(stanza)
        elif name == "message":
            self._message(stanza)

    def _answer(self, iq: Element) -> None:
        to, sid = iq.get("to", ""), iq.get("id")
        tag = iq[0].tag
        content = ""
        if tag.endswith("bind"):
            content = f'<bind xmlns="{_BIND}"><jid>{BOT}/errklein</jid></bind>'
        elif tag.endswith("disco#items}query"):
            item = '<item jid="conference.localhost"/>'
            content = f'<query xmlns="http://jabber.org/protocol/disco#items">{item}</query>'
        elif tag.endswith("disco#info}query") and to in (ROOM, "conference.localhost", "localhost"):
            identity = f'<identity category="conference" type="{self.rooms_are}"/>'
            feature = f'{identity}<feature var="{_MUC}"/>' if to == "conference.localhost" else ""
            content = f'<query xmlns="http://jabber.org/protocol/disco#info">{feature}</query>'
        elif tag.endswith("disco#info}query"):
            self.send(self._error("iq", to, sid, "item-not-found"))
            return
        self.send(f'<iq type="result" id="{sid}" from="{to}">{content}</iq>')

    def _error(self, kind: str, frm: str, sid: str | None, condition: str, of: str = "cancel") -> str:
        found = f'<error type="{of}"><{condition} xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>'
        return f'<{kind} type="error" from="{frm}" id="{sid}">{found}</{kind}>'

    def _presence(self, stanza: Element) -> None:
        nick = stanza.get("to", "").partition("/")[2]
        if stanza.get("type") == "unavailable":
            self._is_in = False
            self.send(self.occupant(nick, f"{BOT}/errklein", "unavailable", 110))
        elif not self._is_in:
            self._is_in = True
            self.send(self.occupant("alice", f"{ALICE}/phone"))
            self.send(self.occupant(nick, f"{BOT}/errklein", "", 110))
            self.send(f'<message from="{ROOM}" type="groupchat"><subject/></message>')

    def occupant(self, nick: str, jid: str, kind: str = "", *codes: int, more: str = "") -> str:
        """Return the presence of somebody in the room."""
        states = "".join(f'<status code="{code}"/>' for code in codes)
        shown = f' jid="{jid}"' if jid else ""
        x = f'<x xmlns="{_MUC}#user"><item affiliation="none" role="participant"{shown}/>{states}{more}</x>'
        return f'<presence from="{ROOM}/{nick}"{f" type={kind!r}" if kind else ""}>{x}</presence>'

    def _message(self, stanza: Element) -> None:
        to, sid = stanza.get("to", ""), stanza.get("id")
        if condition := self.refuses(stanza):
            of = "wait" if condition == "resource-constraint" else "cancel"
            self.send(self._error("message", to, sid, condition, of))
        elif to == ROOM:
            self._ids += 1
            given = f'<stanza-id xmlns="urn:xmpp:sid:0" id="r{self._ids}" by="{ROOM}"/>'
            self.send(f'<message from="{ROOM}/err" type="groupchat" id="{sid}">{given}<body>x</body></message>')

    def say(self, to: str, text: str, sid: str, more: str = "") -> None:
        """Let alice send a message: to the room, or privately."""
        frm, kind = (f"{ROOM}/alice", "groupchat") if to == ROOM else (f"{ALICE}/phone", "chat")
        given = f'<stanza-id xmlns="urn:xmpp:sid:0" id="a-{sid}" by="{ROOM}"/>' if to == ROOM else ""
        self.send(f'<message from="{frm}" type="{kind}" id="{sid}"><body>{text}</body>{given}{more}</message>')
