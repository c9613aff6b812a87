"""The settings of webhooks, from the configuration to the response."""

from __future__ import annotations

import hmac
import os
from typing import Any
from unittest import mock

from errklein import BotPlugin, webhook
from errklein.testing import PluginTestCase

SECRET = "correct horse battery"


class Pushes(BotPlugin):
    """A plugin without options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.got: list[Any] = []

    @webhook
    def notification(self, payload: Any) -> None:
        """Get a notification."""
        self.got.append(payload)

    @webhook
    def other(self, payload: Any) -> None:
        """Get another one."""


class WebhookSettingsTests(PluginTestCase):
    """A plugin without options, for whose webhook the operator has set some."""

    plugins = (Pushes,)
    config = {
        "WEBHOOKS": {
            "Pushes:notification": {
                "verify": "github",
                "secret": ["env:TEST_WIRING_NEW", "env:TEST_WIRING_OLD"],
                "ack": "now",
                "dedupe": "id",
                "rate": "3/min",
                "methods": ["PUT"],
            }
        },
        "WEBHOOK_METHODS": ("POST",),
        "WEBHOOK_CLIENT_RATE": "2/min",
    }

    def setUp(self) -> None:
        """Start the bot with two secrets in its environment."""
        secrets = {"TEST_WIRING_NEW": "a new secret", "TEST_WIRING_OLD": SECRET}
        self.enterContext(mock.patch.dict(os.environ, secrets))
        super().setUp()

    def push(self, id: str, secret: str = SECRET) -> int:
        """Send a signed request; return the status."""
        body = b'{"a": 1}'
        signature = hmac.new(secret.encode(), body, "sha256").hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Delivery": id}
        return self.put("/notification", data=body, headers={**headers, "Content-Type": "application/json"}).status

    def test_options(self) -> None:
        """Signed requests with each secret get 202 and run once for each id, up to the rate."""
        self.assertEqual(
            [self.push("1"), self.push("1"), self.push("2", "a new secret"), self.push("3")], [202, 202, 202, 429]
        )
        self.bot.advance(0)
        self.assertEqual(self.bot.plugin("Pushes").got, [{"a": 1}, {"a": 1}])

    def test_client_rate(self) -> None:
        """A client's forged requests are limited; then its signed ones are, too."""
        self.assertEqual([self.push("1", "forged") for _ in range(3)], [401, 401, 429])
        self.assertEqual(self.push("1"), 429)

    def test_methods(self) -> None:
        """The webhook has the methods of its options, and the other one those of WEBHOOK_METHODS."""
        self.assertEqual([self.post("/notification").status, self.get("/notification").status], [405, 405])
        self.assertEqual([self.post("/other").status, self.get("/other").status], [200, 405])
