"""Tests of sources from the command in a room to the message in it."""

from __future__ import annotations

import re

from errklein.testing import PluginTestCase
from tests.sources.events import body

URL = re.compile(r"https?://bot\.example\.net(/hooks/[a-z0-9-]+/[a-z0-9]+)")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class SourcesInRoomsTests(PluginTestCase):
    """A webhook whose address has a token."""

    plugins = ()
    config = {"PUBLIC_URL": "https://bot.example.net"}

    def make(self, source: str) -> str:
        """Make a webhook in #ops, and return its path."""
        shown = self.bot.say(f"!webhook new {source}", room="#ops")
        private = "\n".join(one.text for one in shown if one.to == "@admin")
        found = URL.search(private)
        assert found is not None, shown
        return found[1]

    def send(self, source: str, given: bytes, headers: dict[str, str] | None = None) -> tuple[int, list[str]]:
        """Send a request to a new webhook, and return the status and the messages in the room after it."""
        path = self.make(source)
        before = len(self.bot.sent_to("#ops"))
        status = self.post(path, body=given, headers=headers or {"Content-Type": "application/json"}).status
        self.bot.advance(0)
        return status, self.bot.sent_to("#ops")[before:]

    def test_alerts(self) -> None:
        """Alertmanager gets 202, which it accepts, and each group is a message."""
        for source in ("alertmanager", "grafana"):
            status, (message,) = self.send(source, body(source, "resolved.json"))
            self.assertEqual(status, 202)
            self.assertIn("✅ Resolved ", message)

    def test_anything(self) -> None:
        """JSON and forms are messages without a text."""
        status, messages = self.send("json", body("json", "job.json"))
        self.assertEqual((status, messages[0].split("\n")[1]), (202, "All 42 tables were saved."))
        self.assertEqual(self.send("form", b"text=Hello", FORM), (202, ["Hello"]))

    def test_invalid(self) -> None:
        """What a source can't read gets 400 and isn't acknowledged."""
        for source in ("alertmanager", "grafana", "json"):
            self.assertEqual(self.send(source, b"not json"), (400, []))
        self.assertEqual(self.send("form", b"Hello", {"Content-Type": "text/plain"}), (400, []))

    def test_set_up(self) -> None:
        """The private reply has the address where the configuration of Alertmanager needs it."""
        shown = self.bot.say("!webhook new alertmanager", room="#ops")
        private = "\n".join(one.text for one in shown if one.to == "@admin")
        self.assertRegex(
            private, r'receivers: \[\{name: errklein, webhook_configs: \[\{url: "https://[^"]+/ekt[a-z2-7]+"\}'
        )
