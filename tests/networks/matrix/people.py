"""People with accounts on a homeserver, a double or a real one, and a bot's connection to it."""

from __future__ import annotations

import json
import time
from itertools import count
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import treq
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool

from errklein.chat import Identifier, Message
from errklein.http_client import HTTPClients
from errklein.networks.context import NetworkContext
from errklein.networks.matrix._backend import MatrixBackend
from errklein.storage import MemoryStorage
from tests.networks.events import PATIENCE, Events


class Refusal(Exception):
    """A homeserver has refused a request of a test."""


class Person:
    """A client of the homeserver at a URL."""

    _keys = count(1)

    def __init__(self, reactor: Any, url: str, name: str) -> None:
        self.reactor, self.url, self.name = reactor, url, name
        self.user = self.token = self.since = ""
        self._agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))

    async def call(self, method: str, path: str, content: Any = None, **params: str) -> Any:
        """Make a request; raise Refusal if it is refused."""
        data = None if content is None and method == "GET" else json.dumps(content or {}).encode()
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        url = f"{self.url}/_matrix/client/v3{path}"
        response = await treq.request(method, url, params=params, data=data, headers=headers, agent=self._agent)
        answer = await response.json()
        if response.code != 200:
            raise Refusal(f"{method} {path}: {response.code} {answer}")
        return answer

    async def register(self) -> Person:
        """Make an account, whose password is `pw-NAME`, and read what has happened so far."""
        account = {"username": self.name, "password": f"pw-{self.name}", "auth": {"type": "m.login.dummy"}}
        answer = await self.call("POST", "/register", account)
        self.user, self.token = answer["user_id"], answer["access_token"]
        self.since = (await self.call("GET", "/sync"))["next_batch"]
        return self

    async def make_room(self, *people: str, **fields: Any) -> str:
        """Make a room that everybody may join unless `preset` says otherwise, and invite people. Return its id."""
        given = {"preset": "public_chat", "invite": list(people), **fields}
        return str((await self.call("POST", "/createRoom", given))["room_id"])

    async def say(self, room: str, text: str, **fields: Any) -> str:
        """Send a message, and return its id."""
        path = f"/rooms/{quote(room)}/send/m.room.message/k{next(self._keys)}-{self.name}"
        return str((await self.call("PUT", path, {"msgtype": "m.text", "body": text, **fields}))["event_id"])

    async def texts(self, room: str) -> list[str]:
        """Return the texts of the latest messages in a room, oldest first."""
        page = await self.call("GET", f"/rooms/{quote(room)}/messages", dir="b", limit="200")
        bodies = [event["content"].get("body", "") for event in page["chunk"] if event["type"] == "m.room.message"]
        return bodies[::-1]

    async def state(self, room: str, kind: str, content: Any) -> None:
        """Set the state of a room."""
        await self.call("PUT", f"/rooms/{quote(room)}/state/{kind}", content)

    async def do(self, room: str, what: str, **fields: Any) -> None:
        """Leave the room, or invite, kick or ban somebody."""
        await self.call("POST", f"/rooms/{quote(room)}/{what}", fields)

    async def hears(self, text: str, room: str = "") -> tuple[str, dict[str, Any]]:
        """Wait for a message with that text, in any room without one, and return the room and the event."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            answer = await self.call("GET", "/sync", since=self.since, timeout="3000", full_state="false")
            self.since = answer["next_batch"]
            for found, joined in answer.get("rooms", {}).get("join", {}).items():
                for event in joined["timeline"]["events"]:
                    if room in ("", found) and event["content"].get("body") == text:
                        return found, event
        raise AssertionError(f"{self.name} has not heard {text!r}")

    async def invitation(self) -> str:
        """Wait for an invitation, accept it, and return the room."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            answer = await self.call("GET", "/sync", since=self.since, timeout="3000", full_state="false")
            self.since = answer["next_batch"]
            for found in answer.get("rooms", {}).get("invite", {}):
                await self.call("POST", f"/join/{quote(found)}")
                return str(found)
        raise AssertionError(f"{self.name} is not invited")


class Connected:
    """A connection of the bot, which may be stopped, killed and made again with the same storage."""

    def __init__(self, reactor: Any, url: str, identity: dict[str, Any], **settings: Any) -> None:
        self.reactor = reactor
        self.storage = MemoryStorage()
        self.notices: list[str] = []
        self.now = time.time
        self.settings = SimpleNamespace(
            network="matrix",
            BACKEND="Matrix",
            BOT_IDENTITY={"homeserver": url, **identity},
            **{"BOT_ADMINS": ("@alice:localhost",), "CHATROOM_PRESENCE": (), **settings},
        )
        self.make()

    def make(self) -> None:
        """Make a new connection, as a new process does."""
        self.clients = HTTPClients(self.reactor)
        self.events = Events(self.reactor)
        config: Any = self.settings
        self.context = NetworkContext(
            self.reactor,
            config,
            now=lambda: self.now(),
            clients=self.clients,
            storage=self.storage,
            notify=lambda key, text, *more, **options: self.notices.append(text),
        )
        self.backend = MatrixBackend(self.context)

    async def start(self) -> Connected:
        """Connect, and wait for it."""
        self.backend.connect(self.events)
        await self.events.until(lambda: self.events.named("backend_connected"), "the connection")
        return self

    async def stop(self) -> None:
        """Disconnect."""
        await self.backend.disconnect()
        await self.clients.close()

    def copy_of_storage(self) -> MemoryStorage:
        """Return what is stored now."""
        copied = MemoryStorage()
        for name in self.storage.namespaces():
            store, copy = self.storage.open(name), copied.open(name)
            for key in list(store.keys()):
                copy.set(key, store.get(key))
        return copied

    async def restart(self) -> None:
        """Disconnect, and connect as another process does."""
        await self.stop()
        self.make()
        await self.start()

    def send(self, to: str, text: str) -> Deferred[Any]:
        """Send a message. The Deferred fires when the homeserver has it."""
        recipient: Identifier = self.backend.build_identifier(to)
        sent: Any = self.backend.send_message(Message(text, to=recipient))
        return sent
