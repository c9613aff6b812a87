"""`InARoomCase`: from `!webhook new` in a room to a message there."""

from __future__ import annotations

import re
from collections.abc import Mapping

from twisted.internet.defer import Deferred

from errklein.commands.operations import Actor
from errklein.sources import find_source
from errklein.testing import PluginTestCase
from errklein.verify import Received
from tests.sources.events import Sample

URL, SECRET = re.compile(r"(/hooks/[\w/-]+)"), re.compile(r"Secret: `?([^\s`]+)")


class InARoomCase(PluginTestCase):
    """A test with webhooks of #ops."""

    plugins = ()
    config = {"PUBLIC_URL": "https://bot.example.net"}

    def make(self, source: str) -> tuple[str, str]:
        """Make a webhook in #ops; return the path of its address, and its secret or ""."""
        shown = "\n".join(one.text for one in self.bot.say(f"!webhook new {source}", room="#ops") if one.to == "@admin")
        url, secret = URL.search(shown), SECRET.search(shown)
        assert url, shown
        return url[1], secret[1] if secret else ""

    def send(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, list[str]]:
        """Send a request, of JSON unless a header says something else; return the status and the messages in #ops."""
        before = len(self.bot.sent_to("#ops"))
        status = self.post(path, body=body, headers={"Content-Type": "application/json", **(headers or {})}).status
        self.bot.advance(1)
        return status, self.bot.sent_to("#ops")[before:]

    def set_secret(self, name: str, secret: str) -> None:
        """Set the secret that a service has made, as `errklein webhook set` does."""
        changed = self.bot.bot.core_host.room_webhooks.change(Actor("alice"), name, "secret", secret)
        Deferred.fromCoroutine(changed)
        self.bot.advance(0)

    def signed(self, source: str, sample: Sample, part: bytes, secret: str) -> Mapping[str, str]:
        """Return the headers of a request of which this part is signed."""
        headers = sample[0]
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        signed_part = Received("POST", "", pairs, part, "", self.bot.reactor.seconds())
        signature = find_source(source).verification(secret="env:SECRET").sign(signed_part, secret.encode())
        return {**headers, **{name.decode(): value.decode() for name, value in signature}}

    def check(self, source: str, sample: Sample, signed: bytes, message: str) -> None:
        """Check that a request of which this part is signed has a message in the room, and that another one is refused."""
        path, secret = self.make(source)
        for key, status, sent in (("another", 401, []), (secret, 202, [message])):
            headers = self.signed(source, sample, signed, key)
            self.assertEqual(self.send(path, sample[1], headers), (status, sent))

    def check_issued(self, source: str, sample: Sample, message: str) -> None:
        """Check that requests get 503 until the service's secret is set; then each has one message, also if it is repeated."""
        path, _ = self.make(source)
        secret = "b25seSB0aGUgc2VydmljZSBhbmQgdGhlIGJvdA=="
        headers = self.signed(source, sample, sample[1], secret)
        self.assertEqual(self.send(path, sample[1], headers), (503, []))
        self.set_secret(path.rpartition("/")[2], secret)
        self.assertEqual(self.send(path, sample[1] + b" ", headers), (401, []))
        self.assertEqual(self.send(path, sample[1], headers), (202, [message]))
        self.assertEqual(self.send(path, sample[1], headers), (202, []))
