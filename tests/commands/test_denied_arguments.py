"""Tests for `denyargs`, with arguments in any spelling."""

from __future__ import annotations

import unicodedata
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.commands import Caller
from errklein.commands.access import denies, glob, normalised
from errklein.text import folded
from tests.commands.test_access import decide_access
from tests.text.test_folding import INVISIBLE

ANYBODY = Caller("alice!a@example.org", None, is_admin=False)

WIDE = {chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)}
"""ASCII characters and their fullwidth forms."""

WORDS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12)


def _literal(text: str) -> str:
    """Return a pattern that matches only that text."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)


@st.composite
def disguised(draw: Any, text: str) -> str:
    """Return the text in another case and width, with invisible characters."""
    parts = []
    for character in text:
        parts += draw(st.lists(st.sampled_from(INVISIBLE), max_size=2))
        parts.append(
            draw(st.sampled_from([character, character.upper(), character.lower(), WIDE.get(character, character)]))
        )
    return "".join(parts)


class DenialTests(SynchronousTestCase):
    """Arguments that match or don't match a denied pattern."""

    def test_production(self) -> None:
        """`production*` matches in any case, width and disguise; it doesn't match other words."""
        for text in (
            "production",
            "Production",
            "PRODUCTION eu",
            "ｐroduction",
            "pro\u200bduction",
            "\u00adproduction",
        ):
            self.assertTrue(denies(text, "production*"), ascii(text))
        for text in ("staging", "preproduction", "prod", ""):
            self.assertFalse(denies(text, "production*"), text)

    def test_patterns_are_normalised(self) -> None:
        """Patterns are folded too, members of sets included."""
        for pattern in ("Production*", "ＰＲＯＤ*", "*pro\u00adduc*", "[P]ROD*", "[!a]ROD*", "P?O*", "[A-Q]*"):
            self.assertTrue(denies("production eu", ("nothing", pattern)), ascii(pattern))

    def test_no_wildcard_comes_of_a_letter(self) -> None:
        """A fullwidth asterisk, bracket or question mark in a pattern is a literal and no wildcard."""
        for pattern, text in (("a＊", "a*"), ("a？", "a?"), ("［ab］", "[ab]")):
            self.assertTrue(denies(text, pattern))
            self.assertFalse(denies("ab", pattern))
            self.assertFalse(denies("a", pattern))

    def test_patterns_for_invisible_characters(self) -> None:
        """A pattern of invisible characters matches texts with them, and not every text."""
        self.assertTrue(denies("a\u200bb", "*\u200b*"))
        self.assertFalse(denies("ab", "*\u200b*"))
        self.assertFalse(denies("", "\u200b"))
        self.assertIsNone(normalised("*\u200b*"))
        self.assertTrue(denies("anything", "*"))
        self.assertTrue(denies("", ""))

    def test_as_commands_get_them(self) -> None:
        """The text is also matched as splitters return it: without quotes, backslashes and extra whitespace."""
        for text in (
            '"production"',
            "pro''duction",
            "pro\\duction",
            "PRO\u200b\\duction",
            "pro“duc”tion",
            "pro\\duction “",
            " production",
            "\u200b production",
        ):
            self.assertTrue(denies(text, "production*"), ascii(text))
        for text in ("eu  db", "eu\t db", "'eu' db", "EU \u00a0db", "“eu db”"):
            self.assertTrue(denies(text, "eu db"), ascii(text))
        for text in ("--force eu", "—force eu", "'--'force eu", "eu \\--force"):
            self.assertTrue(denies(text, "*--force*"), ascii(text))
        self.assertTrue(denies("a  b", "a  b"))
        self.assertFalse(denies("it's in staging", "its in staging"))

    @given(st.data(), WORDS)
    def test_no_disguise_helps(self, data: Any, text: str) -> None:
        """A pattern that is written out, or with `*`, `?` or a set, matches all disguises of a text."""
        literal = _literal(text)
        place = data.draw(st.integers(0, len(text) - 1))
        shown = [_literal(text[:place]), _literal(text[place + 1 :])]
        hidden = data.draw(disguised(text))
        for pattern in (
            literal,
            f"{shown[0]}*",
            f"*{shown[1]}",
            f"{shown[0]}?{shown[1]}",
            f"{shown[0]}[!\u20ac]{shown[1]}",
        ):
            self.assertTrue(glob(text, pattern), pattern)
            self.assertTrue(denies(hidden, data.draw(st.sampled_from([pattern, pattern.swapcase()]))))

    @given(st.data(), st.text(min_size=1, max_size=12))
    def test_any_text(self, data: Any, text: str) -> None:
        """A text that is denied in normalised form is denied in all disguises, ASCII or not."""
        wildcards = st.sampled_from(["", "", "?", "*"])
        pattern = "".join(data.draw(wildcards) or _literal(character) for character in folded(text))
        place = data.draw(st.integers(0, len(text)))
        for hidden in (
            text[:place] + data.draw(st.sampled_from(INVISIBLE)) + text[place:],
            text.casefold(),
            unicodedata.normalize("NFKC", text),
            "".join(WIDE.get(one, one) for one in text),
        ):
            self.assertTrue(denies(hidden, pattern), ascii(hidden))

    @given(st.text(max_size=12), st.text(st.characters() | st.sampled_from("*?[]!-ab"), max_size=8))
    def test_nothing_is_let_in_anew(self, text: str, pattern: str) -> None:
        """A text that matches as typed is denied, whatever its normalised form is."""
        self.assertLessEqual(glob(text, pattern), denies(text, pattern))


class RuleTests(SynchronousTestCase):
    """`denyargs` and `allowargs` in ACCESS_CONTROLS."""

    def denied(self, args: str, **rule: Any) -> bool:
        """Return whether the arguments are denied."""
        decision = decide_access("Ops", "deploy", args, ANYBODY, admin_only=False, rules={"deploy": rule}, default={})
        return decision.denial is not None

    def test_deny_and_allow(self) -> None:
        """`denyargs` also matches the normalised form; `allowargs` matches only the exact text."""
        for args in ("Production", "prod\u200buction", "ｐroduction"):
            self.assertTrue(self.denied(args, denyargs=("production*",)), ascii(args))
            self.assertTrue(self.denied(args, allowargs=("production*",)), ascii(args))
        self.assertFalse(self.denied("production", allowargs=("production*",)))
        self.assertFalse(self.denied("staging", denyargs=("production*",)))
