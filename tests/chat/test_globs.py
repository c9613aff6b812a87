"""Patterns of shell style."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat.globs import compiled, literal_brackets

TEXTS = st.text("ab[]!-*?\n", max_size=8)


class GlobTests(SynchronousTestCase):
    """What matches."""

    @given(TEXTS, TEXTS)
    def test_like_fnmatch(self, text: str, pattern: str) -> None:
        """A pattern matches the whole text as the standard library has it, case and line breaks included."""
        self.assertEqual(compiled(pattern).match(text) is not None, fnmatchcase(text, pattern))

    @given(st.text("ab[]!-"))
    def test_brackets_that_are_none(self, text: str) -> None:
        """With literal brackets a text without `*` and `?` matches itself alone."""
        self.assertIsNotNone(compiled(literal_brackets(text)).match(text))
        self.assertIsNone(compiled(literal_brackets(text)).match(f"{text}a"))
