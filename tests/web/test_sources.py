"""Tests for `@webhook` with a source: verified, filtered, and called with the event."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

from errklein import BotPlugin, webhook
from errklein.testing import PluginTestCase
from errklein.webhooks.source import Event

TOKEN = {"Authorization": "Bearer hunter2hunter2"}


class Alerts(BotPlugin):
    """Handles firing alerts."""

    @webhook("/alerts", source="alertmanager", events=["firing"], secret="env:ALERTS")
    def alert(self, event: Event) -> str:
        return f"{event.name} {event.payload['receiver']}"

    @webhook("/demanding", source="alertmanager", secret="env:ALERTS", ack="now", response=("ok", 200))
    async def demanding(self, event: Event) -> None:
        self.got = event.name

    @webhook("/recorded", methods=["POST"], ack="now", response={"received": True}, dedupe="content")
    async def recorded(self, payload: Any) -> str:
        return "not sent"

    @webhook("/unset", source="alertmanager")
    async def unset(self, event: Event) -> str:
        return "never"


class SourceOfPluginTests(PluginTestCase):
    """A plugin that names the source of its webhook."""

    plugins = (Alerts,)

    def setUp(self) -> None:
        """Set the secret."""
        changed = mock.patch.dict(os.environ, {"ALERTS": "hunter2hunter2"})
        changed.start()
        self.addCleanup(changed.stop)
        super().setUp()

    def alert(self, status: str, path: str = "/alerts", **options: Any) -> tuple[int, str]:
        """Send an alert."""
        given = {"json": {"receiver": "ops", "status": status}, "headers": TOKEN, **options}
        response = self.post(path, **given)
        return response.status, response.text

    def test_event(self) -> None:
        """The handler gets the event."""
        self.assertEqual(self.alert("firing"), (200, "firing ops"))

    def test_other_events(self) -> None:
        """The handler isn't called for other events, which get the response that the source expects."""
        self.assertEqual(self.alert("resolved"), (202, ""))

    def test_wrong_token_of_a_source(self) -> None:
        """A request that the source has not signed is refused."""
        self.assertEqual(self.alert("firing", headers={"Authorization": "Bearer x"})[0], 401)

    def test_not_json(self) -> None:
        """A body that can't be parsed is refused."""
        response = self.post("/alerts", b"{", headers={**TOKEN, "Content-Type": "application/json"})
        self.assertEqual(response.status, 400)
        self.assertIn("the body is not JSON", response.text)

    def test_no_secret(self) -> None:
        """Without a secret, no request is handled."""
        self.assertEqual(self.alert("firing", "/unset")[0], 503)

    def test_response(self) -> None:
        """The response of `ack="now"` may be another one than 202, and another one than the source's."""
        response = self.post("/demanding", json={"status": "firing"}, headers=TOKEN)
        self.assertEqual((response.status, response.text), (200, "ok"))
        self.assertEqual(response.header("Content-Type"), "text/plain; charset=utf-8")
        self.assertTrue(response.header("X-Delivery-Id"))
        self.bot.advance(0)
        self.assertEqual(self.bot.plugin("Alerts").got, "firing")

    def test_response_to_a_repeated_request(self) -> None:
        """A repeated request gets the same response as the first one."""
        for _ in range(2):
            response = self.post("/recorded", json={"a": 1})
            self.assertEqual((response.status, response.text), (200, '{"received": true}'))
        self.bot.advance(0)


class ResponseOfOperatorTests(PluginTestCase):
    """An operator who knows what the source demands."""

    plugins = (Alerts,)
    config = {
        "WEBHOOKS": {"Alerts:recorded": {"response": 204}, "Alerts:alert": {"ack": "now", "response": ["ok", 201]}}
    }
    secrets = {"ALERTS": "hunter2hunter2"}

    def test_responses(self) -> None:
        """The operator's response takes precedence over the plugin's and the source's."""
        self.assertEqual(self.post("/recorded", json={"a": 1}).status, 204)
        alert = self.post("/alerts", json={"receiver": "ops", "status": "firing"}, headers=TOKEN)
        self.assertEqual((alert.status, alert.text), (201, "ok"))
        self.bot.advance(0)
