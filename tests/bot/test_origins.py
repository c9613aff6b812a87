"""Tests for the origin of work: the route, person or plugin for which the bot works."""

from __future__ import annotations

import asyncio
import io
import threading
from typing import Any

from klein import Klein

from errklein import BotFlow, BotPlugin, FlowRoot, Message, Stream, botcmd, botflow, webhook
from errklein.networks.test import TestPerson
from errklein.running.context import origin
from errklein.testing import PluginTestCase


class Origins(BotPlugin):
    """Notes the origin wherever its code is called."""

    def activate(self) -> None:
        super().activate()
        self.seen: list[str] = []
        self.note("activate")
        self.start_poller(60, self.poll)
        app = Klein()
        app.route("/")(lambda request: origin.get())
        self.mount("/mounted", app.resource())

    def note(self, where: str) -> None:
        """Note the origin."""
        self.seen.append(f"{where}: {origin.get()}")

    def poll(self) -> None:
        """Note the origin of a poller."""
        self.note("poll")

    def callback_message(self, message: Message) -> None:
        self.note("message")

    def callback_botmessage(self, message: Message) -> None:
        self.note("botmessage")

    def callback_mention(self, message: Message, mentioned_people: Any) -> None:
        self.note("mention")

    def callback_stream(self, stream: Stream) -> None:
        self.note("stream")

    @botcmd
    def plain(self, msg: Message, args: str) -> str:
        """Return the origin."""
        return origin.get()

    @botcmd
    async def waiting(self, msg: Message, args: str) -> str:
        """Return the origin in a task, after a pause."""

        async def in_task() -> str:
            await asyncio.sleep(1)
            return origin.get()

        return await asyncio.create_task(in_task())

    @botcmd
    def first(self, msg: Message, args: str) -> None:
        """Note the origin as the first step of a flow."""

    @botcmd
    def second(self, msg: Message, args: str) -> None:
        """Note the origin as a step that the flow takes."""
        self.note("step")

    @webhook("/plain")
    def post_plain(self, payload: Any) -> str:
        return origin.get()

    @webhook("/later", ack="now")
    def post_later(self, payload: Any) -> None:
        self.note("later")

    @webhook("/items")
    async def post_items(self, payload: Any) -> Any:
        async def items() -> Any:
            await asyncio.sleep(1)
            yield origin.get()

        return items()


class Steps(BotFlow):
    """A flow with a step that it takes by itself."""

    @botflow
    def both(self, flow: FlowRoot) -> None:
        flow.connect("first", auto_trigger=True).connect("second", predicate=lambda context: True)


class OriginTests(PluginTestCase):
    """Where plugins' code is called."""

    plugins = (Origins,)

    @property
    def seen(self) -> list[str]:
        """What the plugin has noted since the last time, except of messages that the bot has sent."""
        plugin = self.bot.plugin("Origins")
        seen, plugin.seen = plugin.seen, []
        return [note for note in seen if not note.startswith("botmessage")]

    def test_commands(self) -> None:
        """The origin of a command is its sender, in a room, too, and also after a pause and in tasks."""
        self.assertEqual(self.command("!plain"), "person:test/@admin")
        self.assertEqual(self.bot.say("!plain", frm="@alice", room="#testroom"), ["person:test/@alice"])
        self.bot.say("!waiting", frm="@alice")
        self.bot.advance(1)
        self.assertEqual(self.bot.sent_to("@alice"), ["person:test/@alice"])

    def test_flows(self) -> None:
        """The origin of a step that a flow takes is the person who has advanced the flow."""
        flows = Steps(self.bot.bot)  # type: ignore[arg-type]
        flows.activate()
        self.seen.clear()
        self.bot.say("!first", frm="@alice")
        self.bot.advance(1)
        self.assertIn("step: person:test/@alice", self.seen)
        flows.deactivate()

    def test_webhooks(self) -> None:
        """The origin of a request is its route: in handlers, in generators and with `ack="now"`."""
        self.assertEqual(self.post("/plain").text, "route:Origins:post_plain")
        waiting = self.bot.post("/items")
        self.bot.advance(1)
        self.assertEqual(self.successResultOf(waiting).text, "route:Origins:post_items")
        self.seen.clear()
        self.post("/later")
        self.bot.advance(1)
        self.assertEqual(self.seen, ["later: route:Origins:post_later"])

    def test_plugins(self) -> None:
        """The origin of callbacks, pollers, mounted resources and methods such as `activate` is the plugin."""
        self.assertEqual(self.seen, ["activate: plugin:Origins"])
        self.bot.say("hello", frm="@alice")
        self.bot.advance(60)
        self.bot.bot.events.mention_received(self.bot.backend, Message("hello", frm=TestPerson("alice")), [])
        expected = ["message: plugin:Origins", "poll: plugin:Origins", "mention: plugin:Origins"]
        self.assertEqual(self.seen, expected)
        self.assertEqual(self.get("/mounted/").text, "plugin:Origins")

    def test_streams(self) -> None:
        """The origin of a `callback_stream`, which has a thread of its own, is the plugin."""
        self.seen.clear()
        stream = Stream(TestPerson("alice"), io.BytesIO(b"bytes"), "a.txt", 5)
        self.bot.bot.events.stream_offered(self.bot.backend, stream)
        while left := [thread for thread in threading.enumerate() if thread.name.startswith("errklein stream")]:
            left[0].join(10)
        self.assertEqual(self.seen, ["stream: plugin:Origins"])

    def test_replies(self) -> None:
        """The origin of a reply is the person who gave the command, also if the command ran in a thread."""
        origins: list[str] = []
        self.bot.backend.watch(lambda sent: origins.append(origin.get()))
        self.bot.say("!waiting", frm="@alice")
        self.bot.advance(1)
        self.bot.say("!unknown", frm="@bob")
        self.assertEqual(origins, ["person:test/@alice", "person:test/@bob"])

    def test_outside(self) -> None:
        """Outside of plugins' code, there is no origin."""
        self.command("!plain")
        self.post("/plain")
        self.assertEqual(origin.get(), "")
