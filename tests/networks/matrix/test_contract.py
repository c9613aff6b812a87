"""The contract of networks on Matrix, with the double in virtual time and without sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.matrix import NETWORK
from errklein.ports.chat import Backend
from errklein.testing.backend_contract import BackendContract
from tests.networks.double import Answer, Call
from tests.networks.matrix.server import FakeHomeserver, number

URL = "https://matrix.example.org"
BOT = "@err:localhost"


class ContractTests(BackendContract, SynchronousTestCase):
    """A bot, and alice, who has made the room and a private conversation with the bot."""

    person_text, room_text, unknown_room = "@alice:localhost", "#ops:localhost", "#nowhere:localhost"
    invalid_identifiers = ("", "alice", "@alice", "#ops", "!", "!a b", "@a:b c")

    def setUp(self) -> None:
        """Make the accounts and rooms."""
        self.server = FakeHomeserver(self.clock, self.clock.seconds)
        self.tokens = {name: self.server.token(self.server.register(name)) for name in ("alice", "err")}
        self.room = self.ask("alice", "POST", "/createRoom", {"preset": "public_chat", "room_alias_name": "ops"})[
            "room_id"
        ]
        private = {"preset": "trusted_private_chat", "is_direct": True, "invite": [BOT]}
        self.private = self.ask("alice", "POST", "/createRoom", private)["room_id"]
        self.http.serve(URL, self.respond)
        self.keys = 0

    def ask(self, by: str, method: str, path: str, content: Any) -> Any:
        """Make a request of a person."""
        headers = {"authorization": f"Bearer {self.tokens[by]}"}
        return self.server.answer(Call(method, f"/_matrix/client/v3{path}", {}, headers, b"{}", content))

    def respond(self, request: Any) -> Any:
        """Answer to a request of the bot; one for events that finds none is answered when it has waited."""
        url = urlsplit(request.url)
        args = dict(parse_qsl(url.query))
        headers = {"authorization": request.header("Authorization") or ""}
        content = json.loads(request.body) if request.body else None
        call = Call(request.method, url.path, args, headers, request.body, content)
        try:
            if not url.path.endswith("/sync"):
                answer = self.server.answer(call)
                return (answer.status, answer.content) if isinstance(answer, Answer) else answer
            since = number(args["since"]) if "since" in args else None
            account, is_full = self.server.user(call), args.get("full_state") == "true"
            found = self.server.events_for(account, since, json.loads(args["filter"]), is_full)
        except Answer as refused:
            return refused.status, refused.content
        waits = since is not None and not is_full and not found.keys() - {"next_batch"}
        return 200, found, int(args["timeout"]) / 1000 if waits else 0

    def make_backend(self) -> Backend:
        """Return a backend with the bot's password."""
        identity: Mapping[str, Any] = {"homeserver": URL, "user": BOT, "password": "pw-err"}
        return NETWORK.make(self.context(identity, CHATROOM_PRESENCE=(self.room_text,), BOT_ADMINS=(self.person_text,)))

    def bring_online(self, backend: Backend) -> None:
        """Let the bot join."""
        for _ in range(4):
            self.clock.advance(31)
        self.assertEqual({str(room) for room in backend.rooms()}, {self.room, self.private})

    def receive(self, backend: Backend, to: str, text: str) -> None:
        """Let alice say something."""
        self.say(self.room if to else self.private, {"msgtype": "m.text", "body": text})

    def say(self, room: str, content: Any) -> None:
        """Send an event of alice, and let the bot read it."""
        self.keys += 1
        path = f"/rooms/{quote(room)}/send/m.room.message/k{self.keys}"
        self.last = room, self.ask("alice", "PUT", path, content)["event_id"]
        self.clock.advance(31)

    def receive_edit(self, backend: Backend, text: str) -> bool:
        """Let alice edit the message."""
        room, event = self.last
        new = {"msgtype": "m.text", "body": text}
        relation = {"rel_type": "m.replace", "event_id": event}
        self.say(room, {**new, "m.new_content": new, "m.relates_to": relation})
        return True

    def refuse(self, backend: Backend, seconds: float) -> bool:
        """Refuse messages to the room for a while."""
        self.server.limits[self.room] = int(seconds * 1000)
        self.clock.callLater(seconds, self.server.limits.clear)
        return True

    def sent(self, backend: Backend) -> Sequence[tuple[str, str]]:
        """Return the bot's messages, without edits."""
        self.clock.advance(1)
        texts = ((room, event["content"]) for room, event in self.messages())
        return [(room, one["body"]) for room, one in texts if "body" in one and "m.new_content" not in one]

    def shown(self, backend: Backend) -> Sequence[str]:
        """Return the texts after edits and deletions, which hide the edits, too."""
        self.clock.advance(1)
        shown: dict[str, str] = {}
        for _, event in self.messages():
            content = event["content"]
            if "m.new_content" not in content:
                shown |= {event["event_id"]: content["body"]} if "body" in content else {}
            elif (target := content["m.relates_to"]["event_id"]) in shown:
                shown[target] = content["m.new_content"]["body"]
        return list(shown.values())

    def messages(self) -> list[tuple[str, Any]]:
        """Return the rooms and events of the bot's messages, in order."""
        found = [
            (position, room.id, event)
            for room in self.server.rooms.values()
            for position, event in room.events
            if event["type"] == "m.room.message" and event["sender"] == BOT
        ]
        return [(room, event) for _, room, event in sorted(found, key=lambda one: one[0])]
