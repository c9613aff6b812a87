"""The contract of networks on Telegram, with the double in virtual time and without sockets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.telegram import NETWORK
from errklein.ports.chat import Backend
from errklein.testing.backend_contract import BackendContract
from tests.networks.double import Answer, Call
from tests.networks.telegram.server import ALICE, GROUP, TOKEN, UNKNOWN, FakeTelegram, labels

URL = "https://api.telegram.org"


class ContractTests(BackendContract, SynchronousTestCase):
    """A bot, and alice, in a group and in private."""

    person_text, room_text, unknown_room = str(ALICE), str(GROUP), str(UNKNOWN)
    invalid_identifiers = ("", "alice", "@alice", "0", "-", "-5/", "/5", "5/5", "--5", "-5/-5", "-5/5/5", "٣", "12 3")

    def setUp(self) -> None:
        """Make the double."""
        self.clock.advance(1_800_000_000)
        self.server = FakeTelegram(self.clock, self.clock.seconds)
        self.server.begin(ALICE)
        self.http.serve(URL, self.respond)

    def respond(self, request: Any) -> Any:
        """Answer to a request of the bot."""
        headers = {"content-type": request.header("Content-Type") or ""}
        content = json.loads(request.body) if request.body and "json" in headers["content-type"] else None
        path, wait = request.url.removeprefix(URL), 0
        if content and path.endswith("/getUpdates"):
            # The server in memory answers at once, and later if there is nothing.
            wait, content["timeout"] = content["timeout"], 0
        try:
            found = self.server.answer(Call(request.method, path, {}, headers, request.body, content))
        except Answer as refused:
            return refused.status, refused.content
        return 200, found, 0 if found["result"] else wait

    def make_backend(self) -> Backend:
        """Return a backend with the token."""
        return NETWORK.make(self.context({"token": TOKEN}, CHATROOM_PRESENCE=(GROUP,), BOT_ADMINS=(ALICE,)))

    def bring_online(self, backend: Backend) -> None:
        """Let the bot ask for updates."""
        self.clock.advance(1)

    def receive(self, backend: Backend, to: str, text: str) -> None:
        """Let alice say something."""
        self.last = int(to or ALICE), self.server.say(int(to or ALICE), text)
        self.clock.advance(51)

    def receive_edit(self, backend: Backend, text: str) -> bool:
        """Let alice edit the message."""
        self.server.edit(*self.last, text)
        self.clock.advance(51)
        return True

    def refuse(self, backend: Backend, seconds: float) -> bool:
        """Refuse messages to the room for a while."""
        self.server.limits[GROUP] = int(seconds)
        self.clock.callLater(seconds, self.server.limits.clear)
        return True

    def buttons(self, backend: Backend) -> Sequence[str]:
        """Return the labels of the buttons in the room."""
        self.clock.advance(1)
        return [label for message in self.server.own(GROUP) for label in labels(message)]

    def press(self, backend: Backend, label: str) -> str:
        """Let alice press a button."""
        [message] = [one for one in self.server.own(GROUP) if labels(one)]
        self.server.press(GROUP, message["message_id"], str(labels(message).index(label)))
        self.clock.advance(51)
        answer = self.server.answers.pop()
        self.assertEqual(answer.get("show_alert", False), bool(answer.get("text")))
        return str(answer.get("text", ""))

    def sent(self, backend: Backend) -> Sequence[tuple[str, str]]:
        """Return the bot's messages."""
        self.clock.advance(1)
        chats = self.server.chats
        own = [(chat, message) for chat in chats for message in self.server.own(chat)]
        return [(str(chat), message["text"]) for chat, message in sorted(own, key=lambda one: one[1]["date"])]
