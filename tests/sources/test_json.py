"""Tests of the sources for JSON and forms of any service."""

from __future__ import annotations

import json
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source
from errklein.testing.source_contract import SourceContract
from errklein.webhooks.payload import BadPayload
from errklein.webhooks.source import render
from tests.sources.events import ALERTA, Sample, body, in_page, lines, read, samples, without_links
from tests.sources.in_a_room import InARoomCase

FORM = {"content-type": "application/x-www-form-urlencoded"}
CHECK = "[**Backup of db-1**](https://backups.example.net/runs/4711)"


class JsonContractTests(SourceContract, SynchronousTestCase):
    """What is expected of every source."""

    source = find_source("json")
    every = 10

    def samples(self) -> Iterable[Sample]:
        return samples("json")

    def test_page(self) -> None:
        """The page about the source shows messages as they are."""
        self.assertLessEqual(in_page("json"), without_links("json"))


class FormContractTests(SourceContract, SynchronousTestCase):
    """What is expected of every source."""

    source = find_source("form")
    every = 10

    def samples(self) -> Iterable[Sample]:
        return samples("json")


class JsonTests(SynchronousTestCase):
    """Messages without a text of one's own, and values for one."""

    def test_default_message(self) -> None:
        """The message has a title with a link, the text, and up to six fields of the payload and its objects."""
        self.assertEqual(
            lines("json", body("json", "job.json")),
            [
                CHECK,
                "All 42 tables were saved.",
                "- status: done",
                "- duration: 318\\.5",
                "- size: 1\\.2 GB",
                "- host name: db-1",
                "- host zone: eu-1",
            ],
        )

    def test_services(self) -> None:
        """What services of all kinds send has a message of at most ten lines without raw JSON, keys of APIs and `None`."""
        files = sorted(ALERTA.glob("*.json"))
        self.assertGreater(len(files), 15)
        for path in files:
            message = lines("json", path.read_bytes())
            self.assertTrue(message[0].strip(), path.name)
            self.assertLessEqual(len(message), 10)
            for sign in ("None", "{", "null", "Signature", "Token:"):
                self.assertNotIn(sign, "\n".join(message).replace("SignatureVersion", ""), path.name)

    def test_uptime(self) -> None:
        """Uptime Kuma calls its text `msg`, and has two of them."""
        given = {
            "heartbeat": {
                "monitorID": 1,
                "status": 0,
                "time": "2026-11-29 10:00:00",
                "msg": "timeout",
                "important": True,
            },
            "monitor": {"id": 1, "name": "Shop", "url": "https://shop.example.net", "interval": 60},
            "msg": "[Shop] [Down] timeout",
        }
        shown = lines("json", json.dumps(given).encode())
        self.assertEqual(shown[:2], ["[**Shop**](https://shop.example.net)", "\\[Shop\\] \\[Down\\] timeout"])

    def test_curl(self) -> None:
        """JSON is read although `curl --data` says that it is a form."""
        self.assertEqual(lines("json", b'{"text": "Hello"}', FORM), ["Hello"])

    def test_other_values(self) -> None:
        """A list, a text and a number are messages, too."""
        self.assertEqual(lines("json", b'[{"name": "first"}, {"name": "second"}]'), ["**first**", "- 1 name: second"])
        self.assertEqual(lines("json", b'"Hello"'), ["Hello"])
        self.assertEqual(lines("json", b"7"), ["7"])
        for nothing in (b"null", b"true", b"{}", b"[]", b'{"done": true}', b'""'):
            self.assertEqual(lines("json", nothing), ["A request without any text or number."])

    def test_values_of_a_text(self) -> None:
        """A text of one's own reaches each value, also the items of a list."""
        event = read("json", body("json", "job.json"))
        self.assertEqual(render("{title} on {host.name}: {status}", event.values), "Backup of db-1 on db-1: done")
        items = read("json", b'[{"name": "first"}]')
        self.assertEqual(render("{0.name}", items.values), "first")
        self.assertEqual(render("{value}", read("json", b'"Hello"').values), "Hello")

    def test_keys_with_syntax(self) -> None:
        """Keys that aren't plain words don't get into a message."""
        keys = ("a](https://evil.example)", "@here", "{title}", "**", "a b", "_x")
        self.assertEqual(lines("json", json.dumps({"text": "Hello", **dict.fromkeys(keys, "no")}).encode()), ["Hello"])

    def test_secrets(self) -> None:
        """What is named as a secret isn't shown, nor what is in it."""
        given = {"text": "Hello", "api_key": "hush", "credentials": {"value": "hush"}, "steps": [{"token": "hush"}]}
        self.assertEqual(lines("json", json.dumps(given).encode()), ["Hello"])

    def test_event(self) -> None:
        """The field `event`, `event_type` or `type` is the name of the event."""
        for key in ("event", "event_type", "type"):
            self.assertEqual(read("json", json.dumps({key: "job.done"}).encode()).name, "job.done")

    def test_invalid_json(self) -> None:
        """What isn't JSON is refused with 400."""
        for given in (b"", b"text", b"a=b"):
            self.assertEqual(self.assertRaises(BadPayload, read, "json", given).status, 400)


class FormTests(SynchronousTestCase):
    """Forms of any service."""

    def test_fields(self) -> None:
        """The fields of a form are described, and reached by a text of one's own."""
        given = b"title=New+order&customer=Kiosk&total=12.50"
        self.assertEqual(lines("form", given, FORM), ["**New order**", "- customer: Kiosk", "- total: 12\\.50"])
        self.assertEqual(render("{customer}: {total}", read("form", given, FORM).values), "Kiosk: 12\\.50")

    def test_invalid_form(self) -> None:
        """What isn't a form is refused with 400."""
        for given, kind in ((b"a=b", "text/plain"), (b"", FORM["content-type"])):
            error = self.assertRaises(BadPayload, read, "form", given, {"content-type": kind})
            self.assertEqual(error.status, 400)


class AnythingInARoomTests(InARoomCase):
    """JSON and forms in a room."""

    def test_json(self) -> None:
        """JSON is a message without a text; what isn't JSON gets 400."""
        path, _ = self.make("json")
        self.assertEqual(self.send(path, b'{"text": "Hello"}'), (202, ["Hello"]))
        self.assertEqual(self.send(path, b"Hello"), (400, []))

    def test_form(self) -> None:
        """So is a form."""
        path, _ = self.make("form")
        self.assertEqual(self.send(path, b"text=Hello", {"Content-Type": FORM["content-type"]}), (202, ["Hello"]))
        self.assertEqual(self.send(path, b"Hello", {"Content-Type": "text/plain"}), (400, []))
