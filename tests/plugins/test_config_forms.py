"""Configurations of plugins as forms."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin
from errklein.commands.operations import Actor
from errklein.plugins.operations import configuration_of, form_of
from errklein.plugins.plugin import PluginConfigurationException, PluginError
from errklein.testing import TestBot
from errklein.text.masking import MASK

FLAT = {"URL": "https://example.org", "TOKEN": "", "PORT": 80, "SHARE": 0.5, "QUIET": False}
STORED = {**FLAT, "TOKEN": "s3cret", "OLDER": 1}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["token", "host", "password", "rooms", "n"]), inner)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


class FieldTests(SynchronousTestCase):
    """Forms of flat templates."""

    def test_secret(self) -> None:
        """A secret isn't shown, and an empty field keeps it; another text replaces it."""
        form = form_of(FLAT, STORED)
        self.assertNotIn("s3cret", repr(form))
        self.assertEqual((form.fields or {})["TOKEN"], (MASK, True))
        for text in ("", MASK):
            self.assertEqual(configuration_of(FLAT, STORED, {"TOKEN": text}), STORED)
        self.assertEqual(configuration_of(FLAT, STORED, {"TOKEN": "n3w"}), {**STORED, "TOKEN": "n3w"})
        self.assertEqual((form_of(FLAT, None).fields or {})["TOKEN"], ("", True))

    def test_secret_in_an_address(self) -> None:
        """A value that contains a known secret is one itself, whatever its name is."""
        bot = TestBot()
        bot.bot.plugin_manager.store_configuration("Shop", {"URL": "https://bob:hunter22@example.org"})
        stored = bot.bot.plugin_manager.configuration("Shop")
        self.assertEqual((form_of({"URL": ""}, stored).fields or {})["URL"], (MASK, True))
        self.assertEqual(configuration_of({"URL": ""}, stored, {"URL": ""}), stored)

    def test_types(self) -> None:
        """Texts of fields become values of the template's types; fields that weren't sent stay, and so do older keys."""
        texts = {"URL": "", "PORT": "8080", "SHARE": "1", "QUIET": "True"}
        expected = {**STORED, "URL": "", "PORT": 8080, "SHARE": 1.0, "QUIET": True}
        self.assertEqual(configuration_of(FLAT, STORED, texts), expected)
        self.assertEqual(configuration_of(FLAT, STORED, {}), STORED)
        for wrong in ({"PORT": "eighty"}, {"PORT": ""}, {"SHARE": "a"}, {"OTHER": "1"}):
            self.assertRaises(ValueError, configuration_of, FLAT, STORED, wrong)

    def test_not_flat(self) -> None:
        """Lists, nested templates, and texts of several lines, which browsers would join, are given as a text."""
        for value in (["a"], {"a": 1}, None, "two\nlines", "two\x85lines"):
            self.assertIsNone(form_of({"A": value}, None).fields)
            self.assertIsNone(form_of({"A": ""}, {"A": value}).fields)
        self.assertEqual(form_of(None, None).text, "")
        self.assertRaises(ValueError, configuration_of, {"A": [1]}, None, {"A": "1"})


class TextTests(SynchronousTestCase):
    """Forms of other templates."""

    template: Any = {"SERVERS": [{"host": "", "token": ""}], "DB": {"password": ""}}
    stored: Any = {
        "SERVERS": [{"host": "a", "token": "of-a"}, {"host": "b", "token": "of-b"}],
        "DB": {"password": "pass1", "pool": 3},
    }

    def read(self, text: str) -> Any:
        """Return the configuration that the text means."""
        return configuration_of(self.template, self.stored, text)

    def test_change_beside_a_secret(self) -> None:
        """A value is changed, and secrets stay where MASK is."""
        text = form_of(self.template, self.stored).text
        self.assertNotIn("of-a", text)
        self.assertNotIn("pass1", text)
        self.assertEqual(self.read(text), self.stored)
        changed = {**self.stored, "DB": {"password": "pass1", "pool": 4}}
        self.assertEqual(self.read(text.replace("3", "4")), changed)

    def test_secret_goes_to_nobody_else(self) -> None:
        """In a list, a secret stays with its item, also if items are moved or removed. A changed item needs it again."""
        a, b = (f"{{'host': '{one}', 'token': '{MASK}'}}" for one in "ab")
        for items, expected in (((b, a), [1, 0]), ((b,), [1]), ((a, b), [0, 1])):
            found = self.read(f"{{'SERVERS': [{', '.join(items)}]}}")["SERVERS"]
            self.assertEqual(found, [self.stored["SERVERS"][index] for index in expected])
        added = self.read(f"{{'SERVERS': [{a}, {b}, {{'host': 'c', 'token': 'of-c'}}]}}")["SERVERS"]
        self.assertEqual(added[:2], self.stored["SERVERS"])
        evil = f"{{'SERVERS': [{{'host': 'evil', 'token': '{MASK}'}}, {b}]}}"
        error = self.assertRaises(ValueError, self.read, evil)
        self.assertIn("['SERVERS'][0]['token'] has •••", str(error))

    def test_list_of_secrets(self) -> None:
        """A secret is added to a list of secrets; after a removal, it isn't known which ones are left."""
        template, stored = {"TOKENS": [""]}, {"TOKENS": ["one1", "two2"]}
        added = configuration_of(template, stored, f"{{'TOKENS': ['{MASK}', '{MASK}', 'three']}}")
        self.assertEqual(added, {"TOKENS": ["one1", "two2", "three"]})
        self.assertRaises(ValueError, configuration_of, template, stored, f"{{'TOKENS': ['{MASK}']}}")

    def test_unknown_secret(self) -> None:
        """MASK where nothing is stored is refused, and so is a text that is no literal of the template's type."""
        for wrong in (
            f"{{'OTHER': '{MASK}'}}",
            "{",
            "[]",
            "f()",
            f"{{'DB': {{'user': '{MASK}'}}}}",
            "'" + "x" * 100_001,
        ):
            self.assertRaises(ValueError, self.read, wrong)

    @given(VALUES)
    def test_unchanged(self, value: Any) -> None:
        """What isn't changed stays the same, whatever is stored."""
        template = {"A": ["x"]}
        stored = {"A": [value]}
        self.assertEqual(repr(configuration_of(template, stored, form_of(template, stored).text)), repr(stored))


class Shop(BotPlugin):
    """Has a flat configuration."""

    def get_configuration_template(self) -> dict[str, Any]:
        return FLAT


class OperationTests(SynchronousTestCase):
    """The operations of a running bot."""

    def test_configured(self) -> None:
        """A form is read, changed, checked and applied; nobody reads the secret, and the note doesn't have it."""
        bot = TestBot([Shop])
        bot.start()
        self.addCleanup(bot.stop)
        bot.command("!plugin config Shop " + repr(FLAT | {"TOKEN": "s3cret"}))
        plugins, notes = bot.bot.core_host.plugins, list[tuple[str, str]]()
        by = Actor("alice", reads_details=True, note=lambda *note: notes.append(note))
        form = self.successResultOf(Deferred.fromCoroutine(plugins.form(by, "Shop")))
        self.assertNotIn("s3cret", repr(form))
        change = plugins.configure_from(by, "Shop", {"PORT": "81", "TOKEN": ""})
        self.successResultOf(Deferred.fromCoroutine(change))
        self.assertEqual(bot.plugin("Shop").config, FLAT | {"TOKEN": "s3cret", "PORT": 81})
        failed = plugins.configure_from(by, "Shop", {"PORT": "n3w"})
        error = self.failureResultOf(Deferred.fromCoroutine(failed), PluginConfigurationException)
        self.assertIn("PORT must be a number", error.getErrorMessage())
        self.assertEqual(notes, [("plugin_config", "Shop …")] * 2)
        bot.command("!plugin blacklist Shop")
        refused = Deferred.fromCoroutine(plugins.configure_from(by, "Shop", {"PORT": "82"}))
        self.assertIn("Shop is blacklisted", self.failureResultOf(refused, PluginError).getErrorMessage())
        self.assertFalse(bot.plugin("Shop").is_activated)
