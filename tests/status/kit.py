"""A status server beside a bot in memory."""

from __future__ import annotations

from typing import Any

from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins import BotPlugin
from errklein.status import StatusServer
from errklein.testing import TestBot
from errklein.testing._surroundings import InlinePool


class StatusCase(SynchronousTestCase):
    """A test with a bot that has `plugins` and runs, and a status server that watches it."""

    plugins: tuple[type[BotPlugin], ...] = ()
    config: dict[str, Any] = {}

    def setUp(self) -> None:
        """Start the bot."""
        self.bot = TestBot(self.plugins, config=self.config)
        self.bot.start()
        self.addCleanup(self.bot.stop)
        self.server = StatusServer(self.bot.bot.reactor, "tcp:1", make_pool=InlinePool)
        self.server.watch(self.bot.bot)
        self.addCleanup(lambda: self.successResultOf(self.server.close()))
        self.client = StubTreq(self.server.resource)

    def get(self, path: str, **options: Any) -> tuple[int, bytes]:
        """Return the status and the body of the response to a GET request."""
        response = self.successResultOf(self.client.get(f"http://status{path}", **options))
        self.client.flush()
        return response.code, self.successResultOf(response.content())

    def ready(self, path: str = "/ready") -> tuple[int, dict[str, Any]]:
        """Return the status of /ready, or of /ready/intake, and its parts that aren't "ok"."""
        response = self.successResultOf(self.client.get(f"http://status{path}"))
        parts = self.successResultOf(response.json())
        self.assertEqual(parts["ready"], response.code == 200)
        return response.code, {part: text for part, text in parts.items() if text != "ok" and part != "ready"}
