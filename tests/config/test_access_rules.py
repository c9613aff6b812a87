"""Tests for the validation of ACCESS_CONTROLS and ACCESS_CONTROLS_DEFAULT."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.config import ConfigError, load_config
from errklein.config._settings import checked


class CheckTests(SynchronousTestCase):
    """Validation when the configuration is loaded."""

    def refusal(self, value: Any, setting: str = "ACCESS_CONTROLS") -> str:
        """Return the error line for the value."""
        with self.assertRaises(ConfigError) as raised:
            load_config(None, {"BACKEND": "Null", setting: value})
        line = str(raised.exception)
        self.assertTrue(line.startswith(f"{setting}: expected "), line)
        self.assertNotIn("\n", line)
        return line

    def test_fine(self) -> None:
        """Strings, tuples, lists and None are accepted as values, and every pattern that can match a command."""
        rules = {
            "*": {"allowusers": "bob", "denyusers": ("a", "b"), "allowrooms": ["#a"], "denyrooms": {"#b"}},
            "Health:status gc": {"allowargs": None, "allowmuc": True, "allowprivate": None},
            "UPPER:*": {},
        }
        self.assertEqual(checked("ACCESS_CONTROLS", rules), rules)
        self.assertEqual(checked("ACCESS_CONTROLS_DEFAULT", rules["*"]), rules["*"])

    def test_unknown_key(self) -> None:
        """The error names the unknown key, its pattern and the valid keys."""
        for name in ("'alowusers'", "'status'", "allowusers"):
            self.assertIn(name, self.refusal({"status": {"alowusers": ("bob",)}}))
        self.assertIn("'admin'", self.refusal({"admin": "bob"}, "ACCESS_CONTROLS_DEFAULT"))

    def test_wrong_types(self) -> None:
        """The error names the key, its pattern and the valid values."""
        self.assertIn("True or False for allowmuc of the rule 'x', not 'no'", self.refusal({"x": {"allowmuc": "no"}}))
        self.assertIn("strings for denyargs of the rule 'x', not 3", self.refusal({"x": {"denyargs": 3}}))
        self.assertIn("not a tuple", self.refusal({"x": {"allowusers": ("bob", 3)}}))
        self.assertIn("the rule 'x'", self.refusal({"x": ("bob",)}))
        self.assertIn("not 3", self.refusal({3: {}}))
        self.assertIn("a dict of rules, not a list", self.refusal([]))
        self.assertIn("not a tuple", self.refusal((), "ACCESS_CONTROLS_DEFAULT"))

    def test_patterns_that_match_nothing(self) -> None:
        """The error names the invalid pattern."""
        for pattern in ("", " ", ":", "Help:", ":help", "a:b:c"):
            self.assertIn(repr(pattern), self.refusal({pattern: {}}))

    def test_networks(self) -> None:
        """The rules of a single network are validated too."""
        networks = {"here": {"BACKEND": "Null", "ACCESS_CONTROLS": {"x": {"foo": 1}}}}
        error = self.assertRaises(ConfigError, load_config, None, {"NETWORKS": networks})
        self.assertIn("NETWORKS['here']: ACCESS_CONTROLS: ", str(error))

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists) | st.binary())
    def test_accepted_or_refused(self, value: Any) -> None:
        """Any value of a rule is either accepted or rejected with an error in one line."""
        for key in ("allowusers", "allowmuc", "nonsense"):
            try:
                checked("ACCESS_CONTROLS", {"x": {key: value}})
            except ConfigError as error:
                self.assertNotIn("\n", str(error))
