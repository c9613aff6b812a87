"""The contract of networks on Slack, with the double in virtual time and without sockets."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.slack import NETWORK
from errklein.ports.chat import Backend
from errklein.testing.backend_contract import BackendContract
from tests.networks.double import Answer, Call
from tests.networks.slack.server import APP_TOKEN, BOT, OPS, TOKEN, FakeSlack, Link

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


class SlackCase(BackendContract):
    """A bot, and alice, in virtual time."""

    person_text, room_text, unknown_room = "U0ALICE00", "#ops", "#nowhere"
    invalid_identifiers = ("", "alice", "#", "#a b", "C", "U0ALICE00/U0BOB0000", "C0OPS0000/alice")

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
        context = self.context(given, CHATROOM_PRESENCE=("#ops",), BOT_ADMINS=(self.person_text,))
        context.websocket = self.open  # type: ignore[method-assign, assignment]
        return NETWORK.make(context)

    def open(self, url: str, receive: Any) -> Deferred[Any]:
        """Open a socket for a ticket."""
        ticket = dict(parse_qsl(urlsplit(url).query))["ticket"]
        self.server.tickets.remove(ticket)
        socket = FakeSocket(self.server, receive)
        self.clock.callLater(0, socket.link.negotiationFinished)
        return succeed(socket)

    def bring_online(self, backend: Backend) -> None:
        """Let the bot join."""
        self.clock.advance(1)
        self.assertEqual([str(room) for room in backend.rooms()], [OPS])

    def receive(self, backend: Backend, to: str, text: str) -> None:
        """Let alice say something."""
        self.last = OPS if to else self.server.direct().id
        self.said = self.server.say(text, channel=self.last)
        self.clock.advance(1)

    def receive_edit(self, backend: Backend, text: str) -> bool:
        """Let alice edit the message."""
        self.server.edit(self.said, text, self.last)
        self.clock.advance(1)
        return True

    def buttons(self, backend: Backend) -> Sequence[str]:
        """Return the labels of the buttons."""
        return [label for message in self.server.posts() for label in self.server.buttons(message)]

    def press(self, backend: Backend, label: str) -> str:
        """Let alice press a button."""
        self.server.ephemeral.clear()
        [message] = [one for one in self.server.posts() if self.server.buttons(one)]
        self.server.press(message["ts"], self.server.buttons(message).index(label))
        self.clock.advance(1)
        return "".join(text for _, text in self.server.ephemeral)

    def refuse(self, backend: Backend, seconds: float) -> bool:
        """Refuse messages to the room for a while."""
        answer, headers = {"ok": False, "error": "ratelimited"}, {"Retry-After": str(seconds)}
        self.http.respond("POST", f"{BASE}/api/chat.postMessage", status=429, headers=headers, json=answer, times=1)
        return True

    def sent(self, backend: Backend) -> Sequence[tuple[str, str]]:
        """Return the bot's messages."""
        self.clock.advance(3)
        found = [
            (one["ts"].rpartition(".")[2], place.id, one)
            for place in self.server.channels.values()
            for one in place.messages
        ]
        texts = [
            (place, html.unescape(one["text"]))
            for _, place, one in sorted(found, key=lambda each: each[0])
            if one["user"] == BOT
        ]
        self.assertEqual(self.server.complaints, [])
        return texts


class ContractTests(SlackCase, SynchronousTestCase):
    """The contract, with Socket Mode."""
