"""Slack for the acceptance script."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from html import escape, unescape
from typing import Any

from twisted.internet.task import deferLater

from long_tests.networks.acceptance import Post, Site
from tests.networks.slack.server import ALICE, APP_TOKEN, BOB, BOT, OPS, TOKEN, FakeSlack


class SlackSite(Site):
    """The double of Slack, whose people act in it, since they have no client."""

    network = "Slack"
    room, other_room, unknown_room = "#ops", "#dev", "#nowhere"
    admin = ALICE

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self.server = FakeSlack(reactor, time.time)

    async def start(self) -> None:
        """Start the server."""
        self.server.start()

    async def stop(self) -> None:
        """Stop the server, which has found nothing that Slack refuses."""
        await self.server.stop()
        assert (self.server.unexpected, self.server.complaints) == ([], []), self.server.complaints

    def identity(self, right: bool = True) -> Mapping[str, object]:
        """Return the tokens."""
        return {"token": TOKEN if right else "xoxb-wrong", "app_token": APP_TOKEN, "api": f"{self.server.url}/api"}

    async def say(self, text: str, *, by: str = "alice", private: bool = False, thread: str = "") -> str:
        """Post a message, as clients escape it."""
        user, channel = {"alice": ALICE, "bob": BOB}[by], self.server.direct().id if private else OPS
        return self.server.say(escape(text, quote=False), user, channel, thread)

    async def edit(self, id: str, text: str) -> None:
        """Edit a message."""
        self.server.edit(id, text)

    async def delete(self, id: str) -> None:
        """Delete a message."""
        self.server.delete(id)

    async def react(self, id: str, emoji: str) -> None:
        """React to a message."""
        self.server.react(id, {"\N{ROCKET}": "rocket"}[emoji])

    async def reactions(self) -> Sequence[tuple[str, str]]:
        """Return those of the bot."""
        return [(ts, {"+1": "\N{THUMBS UP SIGN}"}.get(name, name)) for _, ts, name in self.server.reactions]

    async def attach(self, name: str, content: bytes) -> None:
        """Send a file."""
        self.server.attach(name, content)

    async def posts(self, private: bool = False) -> Sequence[Post]:
        """Return the messages of the bot."""
        return [self._post(one) for one in self.server.posts(self.server.direct().id if private else OPS)]

    def _post(self, message: Mapping[str, Any]) -> Post:
        text, files = message["text"], [self.server.files[file["id"]] for file in message.get("files", ())]
        people = tuple(re.findall(r"<[@!](\w+)>", text))
        plain = text if "```" in text else re.sub(r"(?<!\S)([*_])(\w+)\1(?!\w)", r"\2", text)
        shown = unescape(plain) or files[0][0]
        markup, file = "".join(re.findall("<[^>]*>", text)), files[0][1] if files else None
        thread, buttons = message.get("thread_ts", ""), self.server.buttons(message)
        return Post(shown, message["ts"], thread, "edited" in message, markup, buttons, people, file)

    async def press(self, post: Post, label: str, *, by: str = "alice") -> str:
        """Press a button."""
        self.server.ephemeral.clear()
        self.server.press(post.id, post.buttons.index(label), {"alice": ALICE, "bob": BOB}[by])
        await deferLater(self.reactor, 0.3)
        return "".join(text for _, text in self.server.ephemeral)

    async def topic(self) -> str:
        """Return the topic."""
        return self.server.channels[OPS].topic

    async def has_joined(self, room: str) -> bool:
        """Return whether the bot is a member."""
        return any(BOT in one.members for one in self.server.channels.values() if f"#{one.name}" == room)
