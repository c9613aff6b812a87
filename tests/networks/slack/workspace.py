"""A workspace in virtual time and without sockets, and a bot there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.config import load_config
from errklein.http_client import HTTPClients
from errklein.networks.context import NetworkContext
from errklein.networks.slack import NETWORK
from errklein.ports.chat import Backend
from errklein.running import register_reactor_thread
from errklein.storage import MemoryStorage
from errklein.testing._surroundings import StubHTTP
from errklein.testing.backend_contract import ContractReactor, RecordedEvents
from tests.networks.double import Answer, Call
from tests.networks.slack.server import APP_TOKEN, OPS, TOKEN, FakeSlack, Link

BASE = "https://slack.example.org"


class FakeSocket:
    """The bot's side of a socket without a connection."""

    def __init__(self, server: FakeSlack, receive: Any) -> None:
        self.closed: Deferred[str] = Deferred()
        self.link = Link(server)
        self.link.transport = self
        self.receive = receive

    def sendTextMessage(self, message: str) -> None:
        """Carry a message of the server."""
        self.receive(message)

    def send(self, message: str) -> None:
        """Carry a message of the bot."""
        self.link.textMessageReceived(message)

    def close(self) -> None:
        """Close it."""
        self.link.connectionLost(None)
        if not self.closed.called:
            self.closed.callback("closed")

    loseConnection = close


class Workspace:
    """A workspace for a test case with virtual time, `clock`, HTTP without sockets, `http`, and `context`."""

    clock: Any
    http: Any
    context: Any

    def setUp(self) -> None:
        """Make the workspace."""
        self.server = FakeSlack(self.clock, self.clock.seconds)
        self.http.serve(BASE, self.respond)

    def respond(self, request: Any) -> Any:
        """Answer to a request of the bot."""
        url = urlsplit(request.url)
        headers = {name.lower(): value for name, value in request.headers.items()}
        content = json.loads(request.body) if request.body[:1] in (b"{", b"[") else None
        call = Call(request.method, url.path, dict(parse_qsl(url.query)), headers, request.body, content)
        self.server.calls.append(call)
        try:
            answer = self.server.answer(call)
        except Answer as refused:
            answer = refused
        return answer.status, answer.content.decode() if isinstance(answer.content, bytes) else answer.content

    def make_backend(self, **identity: Any) -> Backend:
        """Return a backend for the workspace."""
        given: Mapping[str, Any] = {"token": TOKEN, "app_token": APP_TOKEN, "api": f"{BASE}/api", **identity}
        context = self.context(given, CHATROOM_PRESENCE=("#ops",), BOT_ADMINS=("U0ALICE00",))
        context.websocket = self.open  # type: ignore[method-assign, assignment]
        return NETWORK.make(context)

    def open(self, url: str, receive: Any) -> Deferred[Any]:
        """Open a socket for a ticket."""
        ticket = dict(parse_qsl(urlsplit(url).query))["ticket"]
        self.server.tickets.remove(ticket)
        socket = FakeSocket(self.server, receive)
        self.clock.callLater(0, socket.link.negotiationFinished)
        return succeed(socket)


class BotCase(Workspace, SynchronousTestCase):
    """A bot in the workspace, which is in #ops after `online`."""

    def setUp(self) -> None:
        """Make the workspace."""
        self.clock, self.http = ContractReactor(), StubHTTP()
        self.clock.advance(1_700_000_000)
        register_reactor_thread(self.clock)
        self.set_routes: Any = lambda owner, hooks: None
        self.storage, self.notices = MemoryStorage(), list[str]()
        self.settings: dict[str, Any] = {}
        super().setUp()

    def context(self, identity: Mapping[str, Any], **settings: Any) -> NetworkContext:
        """Return what the network's `make` gets, with the same storage each time."""
        given = {
            "BOT_DATA_DIR": self.mktemp(),
            "BOT_IDENTITY": identity,
            "BACKEND": "Slack",
            **settings,
            **self.settings,
        }
        [config] = load_config(None, given).networks.values()
        return NetworkContext(
            self.clock,
            config,
            self.clock.seconds,
            lambda: 0.0,
            clients=HTTPClients(self.clock, self.http.agent),
            storage=self.storage,
            set_routes=self.set_routes,
            notify=lambda key, text, *more, **options: self.notices.append(text),
        )

    def online(self, **identity: Any) -> Any:
        """Return a bot that is connected; its events are `events`."""
        backend: Any = self.make_backend(**identity)
        self.events = RecordedEvents()
        backend.connect(self.events)
        self.clock.advance(0.5)
        self.clock.advance(0.5)
        return backend

    def named(self, name: str) -> list[Any]:
        """Return the arguments of the calls of an event, each without the backend."""
        return [call[1:] for call in self.events.recorded if call[0] == name]

    @property
    def texts(self) -> list[str]:
        """The texts of the received messages."""
        return [message.body for message in self.events.messages]

    def say(self, text: str, **options: Any) -> str:
        """Let alice say something, and the bot receive it."""
        ts = self.server.say(text, **options)
        self.clock.advance(0.1)
        return ts

    def send(self, backend: Any, text: str, to: str = OPS, **attributes: Any) -> Any:
        """Send a message, and return its handle."""
        message = Message(text, to=backend.build_identifier(to))
        vars(message).update(attributes)
        sent = backend.send_message(message)
        self.clock.advance(0.1)
        return sent

    def posted(self, channel: str = OPS) -> list[str]:
        """Return the texts of the bot."""
        self.assertEqual(self.server.complaints, [])
        return [message["text"] for message in self.server.posts(channel)]
