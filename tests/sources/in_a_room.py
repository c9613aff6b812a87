"""`InARoomCase`: from `!webhook new` in a room to a message there."""

from __future__ import annotations

import re

from errklein.sources import find_source
from errklein.testing import PluginTestCase
from errklein.verify import Received
from tests.sources.bodies import Sample

URL, SECRET = re.compile(r"(/hooks/[\w/-]+)"), re.compile(r"Secret: `?([^\s`]+)")


class InARoomCase(PluginTestCase):
    """A test with a webhook whose source signs its requests."""

    plugins = ()
    config = {"PUBLIC_URL": "https://bot.example.net"}

    def check(self, source: str, sample: Sample, signed: bytes, message: str) -> None:
        """Check that a request of which this part is signed has a message in the room, and that another one is refused."""
        shown = "\n".join(one.text for one in self.bot.say(f"!webhook new {source}", room="#ops") if one.to == "@admin")
        url, secret = URL.search(shown), SECRET.search(shown)
        assert url and secret, shown
        headers, body = sample
        given = {"Content-Type": "application/json", **headers}
        pairs = [(name.lower().encode(), value.encode()) for name, value in given.items()]
        signed_part = Received("POST", "", pairs, signed, "", self.bot.reactor.seconds())
        verification = find_source(source).verification(secret="env:SECRET")
        for key, status, sent in ((b"another", 401, []), (secret[1].encode(), 202, [message])):
            before = len(self.bot.sent_to("#ops"))
            signature = {name.decode(): value.decode() for name, value in verification.sign(signed_part, key)}
            self.assertEqual(self.post(url[1], body=body, headers={**given, **signature}).status, status)
            self.bot.advance(1)
            self.assertEqual(self.bot.sent_to("#ops")[before:], sent)
