"""Webhooks of rooms in the configuration: the options of a file, which give the values that the commands of a chat give."""

from __future__ import annotations

import contextlib
import json
from dataclasses import fields, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source
from errklein.webhooks.option_values import HookError
from errklein.webhooks.options import NAME, RoomWebhook, room_webhooks

ALERTS = {"source": "grafana", "room": "#ops", "secret": "env:GRAFANA"}


def error_of(**options: Any) -> str:
    """Return the error for a webhook with these options; None removes one."""
    given = {name: value for name, value in {**ALERTS, **options}.items() if value is not None}
    try:
        room_webhooks({"alerts": given}, find_source)
    except HookError as error:
        return str(error).removeprefix("WEBHOOKS['alerts']: ")
    raise AssertionError("no error")


class OfFilesTests(SynchronousTestCase):
    """The options of a key of WEBHOOKS without a colon."""

    def test_defaults(self) -> None:
        """Source, room and secret are enough; None is a default; keys with a colon are other webhooks."""
        found = room_webhooks({"alerts": {**ALERTS, "text": None}, "Shop:order": {"rate": "1/s"}}, find_source)
        self.assertEqual(
            found, {"alerts": RoomWebhook("alerts", "grafana", "#ops", secret="env:GRAFANA", is_from_file=True)}
        )

    def test_all_options(self) -> None:
        """Patterns of events may be one text; rooms and rates are as given."""
        options = {
            **ALERTS,
            "room": "#{labels.team}",
            "rooms": ["#ops", "libera:#web"],
            "events": "firing",
            "text": "{title}: {status}",
            "messages": "5/min",
            "rate": "10/s",
        }
        webhook = room_webhooks({"alerts": options}, find_source)["alerts"]
        self.assertEqual((webhook.room, webhook.rooms), ("#{labels.team}", ("#ops", "libera:#web")))
        self.assertEqual((webhook.events, webhook.text), (("firing",), "{title}: {status}"))
        self.assertEqual((webhook.messages, webhook.rate), ("5/min", "10/s"))

    def test_missing_options(self) -> None:
        """Each required option is named."""
        for option in ("source", "room", "secret"):
            self.assertEqual(error_of(**{option: None}), f"the option {option!r} is missing")

    def test_unknown_names(self) -> None:
        """A misspelt option or source has a suggestion; another one the known names."""
        self.assertEqual(error_of(event=["firing"]), "unknown option 'event'; did you mean 'events'?")
        self.assertIn("unknown option 'x'; expected one of events, messages, rate, room, rooms", error_of(x=1))
        self.assertIn("there is no source 'grafna'; did you mean 'grafana'?", error_of(source="grafna"))

    def test_values(self) -> None:
        """An error names the option and what is expected."""
        for options, expected in (
            ({"messages": "often"}, "messages: expected a rate such as '10/s'"),
            ({"rate": 5}, "rate: expected a text, not 5"),
            ({"events": ["a b", ""]}, "events: expected a list of texts"),
            ({"events": {"firing": True}}, "events: expected a list of texts, not a dict"),
            ({"text": "{a|b}"}, "text: expected "),
            ({"template": "../alerts.md"}, "template: expected the name of a file beside config.py"),
            ({"secret": "secret:grafana-1"}, "secret: expected a reference such as 'env:NAME'"),
            ({"signed": "yes"}, "signed: expected True or False, not 'yes'"),
            ({"source": "slack", "signed": True}, "Slack's format signs nothing"),
            ({"text": "a", "template": "b"}, "the options 'text' and 'template' exclude each other"),
        ):
            self.assertIn(expected, error_of(**options))
        self.assertEqual(error_of(secret="hunter2").count("hunter2"), 0)
        with self.assertRaisesRegex(HookError, "expected a dict of options, not a list"):
            room_webhooks({"alerts": ["hunter2"]}, find_source)

    def test_signed(self) -> None:
        """A source that signs its requests on demand has a signature instead of a token in the address."""
        schemes = [
            room_webhooks({"alerts": {**ALERTS, **options}}, find_source)["alerts"]
            .declaration(find_source, "/hooks")
            .verify
            for options in ({"signed": True}, {"signed": False}, {})
        ]
        self.assertEqual(
            [one and one.scheme for one in schemes], ["hmac_signature", "token in the address", "token in the address"]
        )

    def test_room_of_a_payload(self) -> None:
        """A payload can only choose among rooms that the file lists."""
        for options in ({"room": "#{labels.team}"}, {"rooms": ["#ops"]}):
            self.assertIn("require each other", error_of(**options))


TEXTS = st.text(max_size=20)
TIMES = st.floats(0, 5e9)
WEBHOOKS = st.builds(
    RoomWebhook,
    st.from_regex(NAME, fullmatch=True),
    TEXTS,
    TEXTS,
    rooms=st.lists(TEXTS, max_size=3).map(tuple),
    events=st.lists(TEXTS, max_size=3).map(tuple),
    text=TEXTS,
    secret=TEXTS,
    token=TEXTS,
    previous=st.none() | st.tuples(TEXTS, TIMES),
    expires=st.just(0.0) | st.floats(1e6, 5e9),
    noticed=st.booleans(),
    made_by=TEXTS,
    made_at=TIMES,
)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | TEXTS, st.lists, max_leaves=3)


class StoredTests(SynchronousTestCase):
    """What is stored of a webhook."""

    @given(WEBHOOKS)
    @settings(deadline=None)
    def test_same_after_json(self, webhook: RoomWebhook) -> None:
        """A storage that only knows JSON gives back an equal webhook."""
        stored = json.loads(json.dumps(webhook.stored()))
        self.assertEqual(RoomWebhook.of_stored(webhook.name, stored), webhook)

    @given(WEBHOOKS, st.sampled_from([field.name for field in fields(RoomWebhook)]), JSON)
    @settings(deadline=None)
    def test_damaged_values(self, webhook: RoomWebhook, name: str, value: Any) -> None:
        """With any other value, the webhook is usable, or the error is one that the load of the others survives."""
        with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):
            found = RoomWebhook.of_stored(webhook.name, {**webhook.stored(), name: value})
            replace(found, source="alertmanager").declaration(find_source, "/hooks")
            self.assertGreaterEqual(found.due, 0)
            self.assertTrue(all(isinstance(one, str) for one in (*found.digests, *found.references)))

    def test_names(self) -> None:
        """Neither the name of a plugin's webhook nor a path is that of a webhook of a room."""
        stored = RoomWebhook("x", "alertmanager", "#ops").stored()
        for name in ("Shop:order", "a/b", "", "Grafana", "x" * 41, "a\n"):
            self.assertRaises(HookError, RoomWebhook.of_stored, name, stored)


class EqualValueTests(SynchronousTestCase):
    """A file and the commands of a chat give the same values."""

    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "events": st.lists(
                    st.from_regex(r"[a-z_]{1,8}(\.[a-z*]{1,8})?", fullmatch=True), max_size=4, unique=True
                ),
                "signed": st.booleans(),
                "messages": st.from_regex(r"[1-9][0-9]{0,3}/(s|min|h)", fullmatch=True),
                "rate": st.from_regex(r"[1-9][0-9]{0,3}/(s|min|h)", fullmatch=True),
                "text": st.from_regex(
                    r"[a-z ]{0,9}\{[a-z]{1,5}(\.[a-z0-9]{1,5}){0,2}(\|title)?\}[a-z ]{0,9}", fullmatch=True
                ),
            },
        )
    )
    def test_same_options(self, options: dict[str, Any]) -> None:
        """Options in the configuration and in a chat give the same webhook."""
        made = RoomWebhook("alerts", "grafana", "#ops")
        for option, value in options.items():
            if option == "signed":
                # An argument of the command that makes a webhook.
                made = replace(made, signed=value)
                continue
            made = made.changed(option, " ".join(value) if isinstance(value, list) else value)
        of_file = room_webhooks({"alerts": {**ALERTS, **options}}, find_source)["alerts"]
        self.assertEqual(of_file, replace(made, secret="env:GRAFANA", is_from_file=True))
        declared, other = of_file.declaration(find_source, "/hooks"), made.declaration(find_source, "/hooks")
        self.assertEqual(replace(declared, verify=None), replace(other, verify=None))
