"""People on a real XMPP server, and a bot's connection to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import SkipTest
from xml.etree.ElementTree import Element

import treq
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from errklein.chat import Message
from errklein.config import load_config
from errklein.http_client import HTTPClients
from errklein.networks.context import NetworkContext
from errklein.running import loop_of
from errklein.storage import MemoryStorage
from tests.networks.events import Events

ROOM, DEV = "ops@conference.localhost", "dev@conference.localhost"
PATIENCE = 20.0
CLIENT, MUC, SID = "{jabber:client}", "{http://jabber.org/protocol/muc}", "{urn:xmpp:sid:0}"


def needs_asyncio(reactor: Any) -> None:
    """Skip the test on a reactor without an event loop, which slixmpp needs."""
    if loop_of(reactor) is None:
        raise SkipTest("needs --reactor=asyncio")


def settings_of(name: str, port: int, authority: Path, **settings: Any) -> Any:
    """Return the configuration of an account whose password is `pw-NAME`."""
    identity = {"username": f"{name}@localhost", "password": f"pw-{name}", "server": ("127.0.0.1", port)}
    given = {"BACKEND": "XMPP", "BOT_IDENTITY": identity, "XMPP_CA_CERT_FILE": str(authority)}
    config = {**given, "BOT_ADMINS": ("alice@localhost",), **settings}
    return load_config(None, {"NETWORKS": {"xmpp": config}, "BOT_DATA_DIR": "."}).networks["xmpp"]


class Person:
    """A client of somebody, which keeps what it receives."""

    _keys = count(1)

    def __init__(self, reactor: Any, name: str, port: int, authority: Path) -> None:
        from errklein.networks.xmpp._client import XMPPStream

        self.reactor, self.name, self.jid = reactor, name, f"{name}@localhost"
        self.stanzas: list[Element] = []
        context = NetworkContext(reactor, settings_of(name, port, authority))
        owner = SimpleNamespace(receive=self.stanzas.append, confirm=lambda id, is_echo: None)
        self.stream: Any = XMPPStream(context, "phone", owner)

    async def connect(self) -> Person:
        """Log in."""
        await self.stream.connect()
        self.stream.send("presence", "")
        return self

    async def join(self, room: str, maxstanzas: str = "20") -> None:
        """Join a room, and make it if it doesn't exist. Read some of what was said before."""
        from errklein.networks.xmpp._client import element

        history = element(f"{MUC}history", maxstanzas=maxstanzas)
        self.stream.send("presence", f"{room}/{self.name}", element(f"{MUC}x", history))
        await self.until(lambda: [one for one in self.messages(room) if one.find(f"{CLIENT}subject") is not None])
        own = [one for one in self.stanzas if one.get("from") == f"{room}/{self.name}"]
        if any(status.get("code") == "201" for one in own for status in one.iter(f"{MUC[:-1]}#user}}status")):
            await self.configure(room)

    async def configure(self, room: str, **fields: str) -> None:
        """Accept, or change, the settings of a room."""
        from errklein.networks.xmpp._client import element

        filled = {"FORM_TYPE": f"{MUC[1:-1]}#roomconfig", **{f"muc#roomconfig_{key}": fields[key] for key in fields}}
        values = [
            element("{jabber:x:data}field", element("{jabber:x:data}value", text), var=key)
            for key, text in filled.items()
            if fields
        ]
        form = element("{jabber:x:data}x", *values, type="submit")
        await self.stream.request(room, element(f"{MUC[:-1]}#owner}}query", form), type="set")

    def messages(self, frm: str) -> list[Element]:
        """Return the messages from a room or person."""
        found = [one for one in self.stanzas if one.tag == f"{CLIENT}message"]
        return [one for one in found if one.get("from", "").partition("/")[0] == frm]

    def texts(self, frm: str) -> list[str]:
        """Return the texts of the messages from a room or person."""
        return [
            one.findtext(f"{CLIENT}body") or "" for one in self.messages(frm) if one.find(f"{CLIENT}body") is not None
        ]

    async def until(self, check: Callable[[], Any]) -> Any:
        """Wait until the check returns something true, and return that."""
        until = time.monotonic() + PATIENCE
        while not (found := check()):
            if time.monotonic() > until:
                raise AssertionError(f"not seen by {self.name}: {[one.attrib for one in self.stanzas][-5:]}")
            await deferLater(self.reactor, 0.01)
        return found

    async def say(self, to: str, text: str | None, *content: Element, **attributes: str) -> str:
        """Send a message. Return the id by which others name it: in a room, the one that the room has given it."""
        from errklein.networks.xmpp._client import element

        own, is_room = f"{self.name}-{next(self._keys)}", "@conference." in to and "/" not in to
        body = [] if text is None else [element(f"{CLIENT}body", text)]
        given = {"type": "groupchat" if is_room else "chat", "id": own, **attributes}
        self.stream.send("message", to, *body, *content, **given)
        if given["type"] != "groupchat":
            return own
        [echo, *_] = await self.until(lambda: [one for one in self.messages(to) if one.get("id") == own])
        return next((one.get("id", "") for one in echo.iter(f"{SID}stanza-id")), own)

    async def upload(self, name: str, content: bytes) -> str:
        """Upload a file, and return its address."""
        from errklein.networks.xmpp._client import UPLOAD, element

        services = await self.stream.services()
        [service, *_] = [name for name, features in services.items() if UPLOAD in features]
        kind = {"content-type": "application/octet-stream"}
        asked = element(f"{UPLOAD}request", filename=name, size=str(len(content)), **kind)
        slot = await self.stream.request(service, asked)
        put, get = (next(slot.iter(f"{UPLOAD}{which}")) for which in ("put", "get"))
        headers = {one.get("name"): one.text for one in put} | {"Content-Type": "application/octet-stream"}
        response = await treq.put(put.get("url"), data=content, headers=headers, persistent=False)
        assert response.code < 300, response.code
        return str(get.get("url"))

    async def leave(self) -> None:
        """End the connection."""
        await self.stream.close()


class Connected:
    """A connection of the bot, which may be stopped and made again with the same storage."""

    def __init__(self, reactor: Any, port: int, authority: Path, name: str = "err", **settings: Any) -> None:
        self.reactor, self.storage = reactor, MemoryStorage()
        self.notices: list[str] = []
        given = {"CHATROOM_PRESENCE": (ROOM,), "CHATROOM_FN": name, **settings}
        self.settings = settings_of(name, port, authority, **given)
        self.make()

    def make(self) -> None:
        """Make a new connection, as a new process does."""
        from errklein.networks.xmpp import NETWORK

        self.clients, self.events = HTTPClients(self.reactor), Events(self.reactor)
        self.context = NetworkContext(
            self.reactor,
            self.settings,
            clients=self.clients,
            storage=self.storage,
            notify=lambda key, text, *more, **options: self.notices.append(text),
        )
        self.backend: Any = NETWORK.make(self.context)

    async def start(self) -> Connected:
        """Connect, and wait for the rooms of the configuration."""
        self.backend.connect(self.events)
        await self.events.until(lambda: self.events.named("backend_connected"), "the connection")
        await self.joined(*(self.settings.CHATROOM_PRESENCE))
        return self

    async def joined(self, *rooms: Any) -> None:
        """Wait until the bot is in rooms."""
        names = {one if isinstance(one, str) else one[0] for one in rooms}
        await self.events.until(lambda: names <= {str(room) for room in self.backend.rooms()}, "joining")

    async def stop(self) -> None:
        """Disconnect."""
        await self.backend.disconnect()
        await self.clients.close()

    def send(self, to: str, text: str, **attributes: Any) -> Deferred[Any]:
        """Send a message. The Deferred fires when the server has it."""
        message = Message(text, to=self.backend.build_identifier(to))
        vars(message).update(attributes)
        sent: Deferred[Any] = self.backend.send_message(message)
        return sent
