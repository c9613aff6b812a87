"""Comparison of names on networks without rules for names."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat.identifiers import EXACT, compiled, literal_brackets, matches_any, rules_of
from errklein.networks.test import TestPerson


class ExactTests(SynchronousTestCase):
    """Exact comparison."""

    def test_patterns(self) -> None:
        """`*`, `?` and `[…]` are wildcards, and case matters; a string is one pattern."""
        rules = rules_of(TestPerson("alice"))
        for pattern, matches in (("a*", True), ("?lice", True), ("[ab]lice", True), ("A*", False), ("[!a]*", False)):
            self.assertEqual(matches_any(rules, "alice", pattern), matches, pattern)
            self.assertEqual(matches_any(rules, "alice", ("bob", pattern), denies=True), matches, pattern)

    def test_names(self) -> None:
        """Folding changes no name."""
        self.assertEqual(rules_of(TestPerson("Alice")).fold("Alice[1]"), "Alice[1]")

    def test_other_objects(self) -> None:
        """Objects other than identifiers have no rules, even if they have an attribute `name_rules`."""

        class Odd:
            name_rules = "none"

        self.assertIs(rules_of(Odd()), EXACT)
        self.assertIs(rules_of(None), EXACT)


TEXTS = st.text("ab[]!-*?\n", max_size=8)


class GlobTests(SynchronousTestCase):
    """Patterns."""

    @given(TEXTS, TEXTS)
    def test_like_fnmatch(self, text: str, pattern: str) -> None:
        """A pattern matches whole texts as `fnmatch.fnmatchcase` does, including line breaks."""
        self.assertEqual(compiled(pattern).match(text) is not None, fnmatchcase(text, pattern))

    @given(st.text("ab[]!-"))
    def test_brackets_that_are_none(self, text: str) -> None:
        """With literal brackets, a text without `*` and `?` matches only itself."""
        self.assertIsNotNone(compiled(literal_brackets(text)).match(text))
        self.assertIsNone(compiled(literal_brackets(text)).match(f"{text}a"))
