"""The contract of networks on Slack, with the double in virtual time and without sockets."""

from __future__ import annotations

import html
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from errklein.ports.chat import Backend
from errklein.testing.backend_contract import BackendContract
from tests.networks.slack.server import BOT, OPS
from tests.networks.slack.workspace import BASE, Workspace


class ContractTests(Workspace, BackendContract, SynchronousTestCase):
    """A bot, and alice, with Socket Mode."""

    person_text, room_text, unknown_room = "U0ALICE00", "#ops", "#nowhere"
    invalid_identifiers = ("", "alice", "#", "#a b", "C", "U0ALICE00/U0BOB0000", "C0OPS0000/alice")

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
