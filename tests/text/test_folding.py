"""Folding of text."""

from __future__ import annotations

import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.text._quoting import folded, is_invisible
from tests import takes_long

INVISIBLE = [chr(code) for code in range(sys.maxunicode + 1) if is_invisible(chr(code))]


class FoldedTests(SynchronousTestCase):
    """Texts with equal and with different folded forms."""

    def test_spellings_that_look_alike(self) -> None:
        """Case, width, ligatures, compositions and invisible characters make no difference."""
        for text, form in (
            ("Production", "production"),
            ("ｐｒｏｄｕｃｔｉｏｎ", "production"),
            ("pro\u200bduc\u00adtion", "production"),
            ("pro\ufe0fduc\U000e0100tion", "production"),
            ("\u2066pro\u202educ\u3164tion\U000e0041", "production"),
            ("pro\x02duc\x1btion", "production"),
            ("ﬁle", "file"),
            ("STRASSE", folded("straße")),
            ("e\u200d\u0301", "é"),
            ("É", "é"),
            ("K", "k"),
        ):
            self.assertEqual(folded(text), form, ascii(text))

    def test_white_space(self) -> None:
        """Each white space becomes a space, and is kept."""
        self.assertEqual(folded("a\tb\nc\u00a0d\u3000e\u2028f\x85g  h"), "a b c d e f g  h")

    def test_what_can_be_seen_stays(self) -> None:
        """Accents, other scripts, digits and signs are kept."""
        for text in ("café", "日本", "a-b_c=1/2", "ñandú", "😀", "ա"):
            self.assertEqual(folded(text), text)

    @given(st.text())
    def test_once_is_enough(self, text: str) -> None:
        """Folding a folded text changes nothing, and no invisible character is left."""
        form = folded(text)
        self.assertEqual(folded(form), form)
        self.assertFalse([ascii(one) for one in form if is_invisible(one)])

    def test_every_character(self) -> None:
        """Each character of Unicode has a folded form, which folds to itself."""
        takes_long()
        for code in range(sys.maxunicode + 1):
            form = folded(chr(code))
            if folded(form) != form:
                self.fail(ascii(chr(code)))

    @given(st.text(), st.integers(0), st.sampled_from(INVISIBLE))
    def test_invisible_characters_anywhere(self, text: str, place: int, character: str) -> None:
        """An invisible character makes no difference at any position."""
        place %= len(text) + 1
        self.assertEqual(folded(text[:place] + character + text[place:]), folded(text))

    @given(st.text())
    def test_compatible_with_normalisation(self, text: str) -> None:
        """Texts that are compatible by Unicode's normalisation have the same folded form."""
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            self.assertEqual(folded(unicodedata.normalize(form, text)), folded(text))


class InvisibleTests(SynchronousTestCase):
    """`is_invisible`."""

    def test_white_space_can_be_seen(self) -> None:
        """White space and printable characters aren't invisible."""
        self.assertFalse([ascii(one) for one in INVISIBLE if one.isspace() or (one.isprintable() and one.isascii())])

    def test_samples(self) -> None:
        """The well-known invisible characters are invisible."""
        for (
            character
        ) in "\u00ad\u034f\u061c\u115f\u17b4\u180e\u200b\u200d\u200f\u202e\u2060\u2064\u3164\ufe0f\ufeff\x00\x7f\x9f":
            self.assertTrue(is_invisible(character), ascii(character))
