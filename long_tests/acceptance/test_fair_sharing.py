"""A bot whose threads are held by one route, a few people and a plugin; everyone else is served within a second."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

from twisted.internet.defer import DeferredList

from tests import needs_network
from tests.processes import write_plugin
from tests.real_bot import RealBotCase

HOG = """
    import threading
    from errklein import BotPlugin, botcmd, webhook

    class Hog(BotPlugin):
        def activate(self):
            super().activate()
            self.gate = threading.Event()
            self.begun = []
            for number in range(10):
                self.start_poller(0.01, self.poll, args=(number,))

        def hang(self, what):
            self.begun.append(what)
            self.gate.wait(60)

        def poll(self, number):
            self.hang("poll")

        @botcmd
        def slow(self, msg, args):
            self.hang("slow")

        @botcmd
        def question(self, msg, args):
            self.begun.append("question")
            self.ask(msg, "Really?", timeout=60)

        @webhook
        def stuck(self, payload):
            self.hang("stuck")
"""

QUICK = """
    from errklein import BotPlugin, botcmd, webhook

    class Quick(BotPlugin):
        def callback_message(self, message):
            if message.body == "hello":
                self.send(message.frm, "callback")

        @botcmd
        def quick(self, msg, args):
            return "command"

        @webhook
        def quickly(self, payload):
            return "webhook"
"""


class FairSharingTests(RealBotCase):
    """Ten pollers, twelve commands of a person, ten questions of two people, and as many requests as threads hang at once."""

    async def setUp(self) -> None:
        """Start a bot, and let the plugin Hog hold all threads."""
        needs_network()
        directory = Path(self.mktemp()).absolute()
        for name, source in (("Hog", HOG), ("Quick", QUICK)):
            write_plugin(directory, name, dedent(source))
        await self.start_bot(directory)
        self.hog: Any = self.bot.plugin_manager.instance("Hog")
        self.addCleanup(self.hog.gate.set)
        self.requests = [self.bot.web.request("POST", "/stuck") for _ in range(20)]
        for _ in range(12):
            self.backend.receive("!slow", frm="@bob")
        for _ in range(5):
            self.backend.receive("!question", frm="@carol")
            self.backend.receive("!question", frm="@dave")
        # Two of the slow commands wait for threads.
        await self.until(lambda: len(self.hog.begun) == 10 + 10 + 10 + 20)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition is true."""
        from twisted.internet import reactor, task

        while not condition():
            await task.deferLater(reactor, 0.01)  # type: ignore[arg-type]

    async def quickest(self, ask: Callable[[], Awaitable[Any]], expected: Any) -> float:
        """Ask three times, and return the shortest time to the expected answer in seconds."""
        times = []
        for _ in range(3):
            began = time.monotonic()
            self.assertEqual(await ask(), expected)
            times.append(time.monotonic() - began)
        return min(times)

    async def test_others_are_served_while_threads_are_held(self) -> None:
        """Other people's commands, other routes and other plugins' callbacks are served within a second."""

        async def post() -> tuple[int, str]:
            response = await self.bot.web.request("POST", "/quickly")
            return response.status, response.text

        self.assertLess(await self.quickest(lambda: self.command("!quick", "@alice"), "command"), 1)
        self.assertLess(await self.quickest(lambda: self.command("hello", "@alice"), "callback"), 1)
        self.assertLess(await self.quickest(post, (200, "webhook")), 1)
        # The people who wait for their other commands may continue, too.
        self.hog.gate.set()
        await DeferredList(self.requests)
        await self.until(lambda: self.hog.begun.count("slow") == 12)
