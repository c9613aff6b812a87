"""Telegram's webhook in the web server of a bot, which verifies the requests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred

from errklein.networks.telegram._backend import TelegramBackend
from tests.networks.events import Events
from tests.networks.telegram.case import URL, respond
from tests.networks.telegram.server import ALICE, GROUP, TOKEN, FakeTelegram
from tests.networks.test_context import ContextCase

PATH = "/hooks/telegram"


class WholeBotTests(ContextCase):
    """A connection to Telegram that has the services of a bot."""

    def setUp(self) -> None:
        """Start the bot."""
        super().setUp()
        identity = {"token": TOKEN, "webhook": f"https://bot.example.org{PATH}"}
        config: Any = SimpleNamespace(network="chat", BOT_IDENTITY=identity, BOT_PREFIX="!", CHATROOM_PRESENCE=())
        self.context.config = config
        self.server = FakeTelegram(self.context.reactor, self.context.now)
        self.server.begin(ALICE)
        self.server.post = self.post
        self.bot.http.serve(URL, lambda request: respond(self.server, request))
        self.backend, self.events = TelegramBackend(self.context), Events(self.context.reactor)
        self.backend.connect(self.events)  # type: ignore[arg-type]
        # Before the bot stops.
        self.addCleanup(lambda: self.successResultOf(self.backend.disconnect()))
        self.bot.advance(1)

    def post(self, url: str, body: bytes, headers: Any) -> Deferred[int]:
        """Post an update to the bot."""
        posted: Deferred[Any] = self.bot.post(url.removeprefix("https://bot.example.org"), body, headers=dict(headers))
        return posted.addCallback(lambda response: response.status)

    def test_command(self) -> None:
        """What Telegram posts arrives once, in order, also what was written while the bot was away."""
        for number in range(3):
            self.server.say(GROUP, f"/echo {number}")
        self.bot.advance(1)
        self.assertEqual(self.events.texts, ["!echo 0", "!echo 1", "!echo 2"])
        self.assertEqual((self.server.updates, self.server.webhook_error), ([], ""))

    def test_forged_request(self) -> None:
        """A request without the secret is rejected."""
        self.server.webhook["secret_token"] = "guessed"
        self.server.say(GROUP, "/echo hello")
        self.bot.advance(1)
        self.assertEqual(self.events.texts, [])
        self.assertIn("401", self.server.webhook_error)
