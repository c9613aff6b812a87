"""Tests of sources from the command in a room to the message in it."""

from __future__ import annotations

import re
from dataclasses import replace

from twisted.internet.defer import Deferred

from errklein.commands.operations import Actor
from errklein.sources import ALIASES, find_source, known_sources
from errklein.testing import PluginTestCase
from tests.sources.events import FOLDER, body, received

SECRET = "b25seSB0aGUgc2VydmljZSBhbmQgdGhlIGJvdA=="

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

    def test_events(self) -> None:
        """With `events`, others are accepted, since Alertmanager would repeat them, and aren't shown."""
        path = self.make("alertmanager")
        self.bot.say("!webhook set alertmanager events firing", room="#ops")
        before = len(self.bot.sent_to("#ops"))
        for file in ("resolved.json", "firing.json"):
            headers = {"Content-Type": "application/json"}
            self.assertEqual(self.post(path, body=body("alertmanager", file), headers=headers).status, 202)
            self.bot.advance(0)
        (message,) = self.bot.sent_to("#ops")[before:]
        self.assertIn("FIRING", message)

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

    def test_secrets_of_services(self) -> None:
        """Requests get 503 until the service's secret is set. Then each delivery is announced once, also if it is repeated."""
        for source, file in (
            ("sentry", "issue.created"),
            ("pagerduty", "incident.triggered"),
            ("standard_webhooks", "invoice.paid"),
        ):
            self.bot.say(f"!webhook new {source}", room="#ops")
            name = source.replace("_", "-")
            given, path = body(source, f"{file}.json"), f"/hooks/{name}"
            headers = self.signed(source, given)
            self.assertEqual(self.post(path, body=given, headers=headers).status, 503)
            webhooks = self.bot.bot.core_host.room_webhooks
            Deferred.fromCoroutine(webhooks.change(Actor("alice"), name, "secret", SECRET))
            self.bot.advance(0)
            before = len(self.bot.sent_to("#ops"))
            for _ in range(2):
                self.assertEqual(self.post(path, body=given, headers=headers).status, 202)
                self.bot.advance(0)
            self.assertEqual(len(self.bot.sent_to("#ops")), before + 1)
            self.assertEqual(self.post(path, body=given + b" ", headers=headers).status, 401)

    def signed(self, source: str, given: bytes) -> dict[str, str]:
        """Return the headers of a request with the service's signature and its id of the delivery."""
        headers = {"Content-Type": "application/json", "Request-ID": "7d3a", "Sentry-Hook-Resource": "issue"}
        request = replace(received(given), now=self.bot.reactor.seconds())
        signature = find_source(source).verification(secret="env:X").sign(request, SECRET.encode())
        return headers | {name.decode(): value.decode() for name, value in signature}

    def test_examples(self) -> None:
        """Each source has an example, for `!webhook test`, of which it makes a message."""
        for name in known_sources():
            source = find_source(name)
            folder = FOLDER / ALIASES.get(name, name) / "payloads"
            verification = source.verification(secret="env:X")
            event = source.example.partition(".")[0] if verification.event_header else None
            request = received((folder / source.example).read_bytes(), verification.headers_of_source(event))
            self.assertTrue(source.read(request).text(), name)

    def test_set_up(self) -> None:
        """The private reply has the address where the configuration of Alertmanager needs it."""
        shown = self.bot.say("!webhook new alertmanager", room="#ops")
        private = "\n".join(one.text for one in shown if one.to == "@admin")
        self.assertRegex(
            private, r'receivers: \[\{name: errklein, webhook_configs: \[\{url: "https://[^"]+/ekt[a-z2-7]+"\}'
        )
