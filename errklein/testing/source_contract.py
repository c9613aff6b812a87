"""`SourceContract`: the tests that every source of webhooks must pass, as a mixin for test cases of trial or unittest."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import count, starmap
from typing import TYPE_CHECKING, Any

from errklein.text import to_xhtml, without_mentions
from errklein.verify import Received, Refused
from errklein.webhooks.payload import BadPayload
from errklein.webhooks.source import Event, Markdown, Source, message

if TYPE_CHECKING:
    from unittest import TestCase as Base
else:
    # A test case would be collected, without a source, by every test module that imports it.
    Base = object

HOSTILE = (
    "https://evil.example/) [x](https://evil.example) <https://evil.example> <b>b</b> **b** _i_ `c` ![i](//evil.example/i)"
    " www.evil.example @everyone <!channel> @alice &#64;here {sender.login} mailto:a@evil.example\n# h\n> q\n- l\n```\n"
)
"""A text with addresses, mentions and formatting."""

REPLACEMENTS: Sequence[Any] = (None, 10**30, [7, "x", None], HOSTILE, f"x {HOSTILE}", HOSTILE * 46)
"""The values that take the place of each value of a payload."""

_SECRETS = (b"b25lIHNlY3JldCBvZiBhIHdlYmhvb2s", b"YW5vdGhlciBzZWNyZXQgb2YgYSB3ZWJob29r")
_REFERENCE = "env:WEBHOOK_SECRET"
_ADDRESS = re.compile(r"(?<=\]\()\{[^{}]*+\}(?=\))")
_PLACEHOLDER = re.compile(r"\{[^{}]*+\}")
_TAG = re.compile(r"<([a-z0-9]++)")
_ANY_TAG = re.compile(r"<a href=\"([^\"<>]*+)\"[^<>]*+>\1</a>|<[^<>]*+>")


class SourceContract(Base):
    """Tests of the guarantees of an `errklein.webhooks.source.Source`, to be mixed into a test case. It has the source, and returns
    requests as the service sends them, without their signature; :doc:`/guides/write-a-source` has an example."""

    source: Source

    every = 1
    """Only each of so many changes of payloads is tried, since there may be thousands."""

    def samples(self) -> Iterable[tuple[Mapping[str, str], bytes]]:
        """Return headers and bodies of requests, each of which has a message. A body is JSON unless a Content-Type is given."""
        raise NotImplementedError

    def test_messages(self) -> None:
        """Each request has a message with a link, in few lines, and without JSON."""
        for received in self._requests():
            event = self.source.read(received)
            self.assertRegex(event.text(), r"\]\(http|<http", f"the message of {event.name!r} has no link")
            self.assertNotRegex(event.text(), r"\b(?:None|True|False|null)\b|[{}]|\[\]", event.name)
            self._check(event)

    def test_changed_payloads(self) -> None:
        """Without a field, or with another type of it, the message is shorter, or the request refused; no value is a link, a mention or formatting."""
        numbers = count()
        for received in self._requests():
            message = self.source.read(received).text()
            for place, changed in changed_payloads(self.source.parse(received)):
                if next(numbers) % self.every:
                    continue
                with suppress(BadPayload):
                    event = replace(self.source, parse=partial(lambda given, received: given, changed)).read(received)
                    if event.text() != message:
                        self._check(event, place)

    def test_other_bodies(self) -> None:
        """Other JSON has a short message or none; a body that can't be parsed is refused before the request is acknowledged."""
        for received in self._requests():
            for body in (b"null", b"[]", b"3", b'"x"', b"{}", b"not json", b"\xff", b""):
                try:
                    self._check(self.source.read(replace(received, body=body)))
                except BadPayload as refused:
                    self.assertIn(refused.status, (400, 413, 415))

    def test_verification(self) -> None:
        """A request with a signature is accepted; one with that of another secret, or without any, is refused."""
        verification = self.source.verification(secret=_REFERENCE)
        for received in self._requests() if self.source.signs else ():
            signed = replace(received, headers=[*received.headers, *verification.sign(received, _SECRETS[0])])
            verification.verify(signed, _SECRETS)
            self.assertRaises(Refused, verification.verify, signed, _SECRETS[1:])
            self.assertRaises(Refused, verification.verify, received, _SECRETS)

    def test_setup(self) -> None:
        """The instructions have at most three lines, and no placeholders that errklein doesn't fill."""
        self.assertLessEqual(len(self.source.setup), 3)
        known = {"{url}", "{secret}", "{token}", "{host}", "{s}"}
        self.assertLessEqual({name for line in self.source.setup for name in re.findall(r"\{\w++\}", line)}, known)

    def received(self, given: Mapping[str, str], body: bytes) -> Received:
        """Return a request with these headers and this body."""
        headers = {"content-type": "application/json", **{name.lower(): value for name, value in given.items()}}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        return Received("POST", "https://bot.example/hooks/x", pairs, body, "192.0.2.1", 1_800_000_000.0)

    def _requests(self) -> Iterator[Received]:
        return starmap(self.received, self.samples())

    def _check(self, event: Event, place: str = "") -> None:
        """Check the number of a message's lines, and that it has no links, mentions and formatting but those of the source's texts."""
        text, which = event.text(), f"{event.name!r} {place}"
        self.assertLessEqual(len(text.splitlines()), self.source.most_lines, which)
        self.assertEqual(without_mentions(text), text, which)
        if any(isinstance(value, Markdown) for value in event.values.values()):
            return
        lines = [_ADDRESS.sub("https://x.example", line) for line in self.source.lines(event.name, event.payload)]
        own = to_xhtml(message((Markdown(_PLACEHOLDER.sub("x", line)) for line in lines), 1_000, 1_000_000))
        shown = to_xhtml(text)
        self.assertEqual(Counter(_TAG.findall(shown)) - Counter(_TAG.findall(own)), Counter(), f"{which}: {text}")
        self.assertNotRegex(html.unescape(_ANY_TAG.sub("", shown)), r"(?<!\w)@\w|://|www\.|mailto:", f"{which}: {text}")


def changed_payloads(payload: Any, place: str = "payload") -> Iterator[tuple[str, Any]]:
    """Yield payloads in which a value, of lists one of three, is missing or one of REPLACEMENTS, and its place."""
    if not isinstance(payload, (dict, list)):
        return
    keys: Sequence[Any] = list(payload) if isinstance(payload, dict) else range(3)[: len(payload)]
    for key in keys:
        changed = copy(payload)
        value = changed.pop(key)
        yield f"{place}.{key}", changed
        inner = changed_payloads(value, f"{place}.{key}")
        for where, other in (*((f"{place}.{key}", one) for one in REPLACEMENTS), *inner):
            changed = copy(payload)
            changed[key] = other
            yield where, changed
