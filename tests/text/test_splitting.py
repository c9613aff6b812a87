"""Splitting of long messages."""

from __future__ import annotations

from typing import SupportsIndex

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.text import PARTS_CAP, at_most, split_message, split_rendered, to_xhtml
from errklein.text._splitting import LEFT_OUT, truncated


def in_bytes(text: str) -> int:
    """Return the length of a text in bytes."""
    return len(text.encode())


def in_utf16(text: str) -> int:
    """Return the length of a text in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def in_html(text: str) -> int:
    """Return the length of a text in bytes of its HTML."""
    return len(to_xhtml(text).encode())


EMOJI = ("🎉", "👩\u200d👩\u200d👧\u200d👦", "🇩🇪", "👍🏽", "❤\ufe0f", "1\ufe0f\u20e3")


class Copied(str):
    """A text that counts the characters copied from it."""

    __slots__ = ("copied",)

    def __getitem__(self, place: SupportsIndex | slice) -> str:
        copy = super().__getitem__(place)
        self.copied: int = getattr(self, "copied", 0) + len(copy)
        return copy


TEXTS = st.text(alphabet="ab é漢🎉\n\n  `~*", max_size=300)


class SplittingTests(SynchronousTestCase):
    """`split_message` keeps the limit and loses nothing."""

    def test_short_text(self) -> None:
        """A text that fits is one part, unchanged, even if it is empty."""
        self.assertEqual([" a\n"], split_message(" a\n", 3))
        self.assertEqual([""], split_message("", 3))

    def test_between_words(self) -> None:
        """A part ends between words."""
        self.assertEqual(["aaa bbb", "ccc ddd"], split_message("aaa bbb ccc ddd", 8))
        self.assertEqual(["aaa bbb", "ccc"], split_message("aaa bbb ccc", 7))

    def test_between_lines(self) -> None:
        """A part ends between lines rather than between words."""
        self.assertEqual(["aaa bbb", "ccc ddd eee"], split_message("aaa bbb\nccc ddd eee", 12))

    def test_between_paragraphs(self) -> None:
        """A part ends between paragraphs rather than between lines."""
        self.assertEqual(["aaa\nbbb", "c\nd\neeeee"], split_message("aaa\nbbb\n\nc\nd\neeeee", 12))

    def test_inside_a_word(self) -> None:
        """A word that is too long is split between characters."""
        self.assertEqual(["aaaa", "aaaa", "aa"], split_message("a" * 10, 4))

    def test_in_bytes(self) -> None:
        """With a limit in bytes, no part ends inside a character."""
        self.assertEqual(["éé", "é"], split_message("ééé", 5, in_bytes))
        self.assertEqual(["漢", "漢"], split_message("漢漢", 5, in_bytes))

    def test_accents_stay_with_their_letters(self) -> None:
        """Combining accents and emoji of several code points stay whole."""
        self.assertEqual(["aaa", "e\u0301b"], split_message("aaae\u0301b", 4))
        self.assertEqual(["aaa", "👩\u200d💻"], split_message("aaa👩\u200d💻", 5))

    def test_character_longer_than_limit(self) -> None:
        """A character that exceeds the limit is a part of its own."""
        self.assertEqual(["🎉", "🎉"], split_message("🎉🎉", 3, in_bytes))

    def test_megabytes(self) -> None:
        """If a message has too many parts, the last one states that the rest is missing."""
        parts = split_message("word " * 1_000_000, 1000)
        self.assertEqual((PARTS_CAP, LEFT_OUT), (len(parts), parts[-1]))
        self.assertEqual(["a", "b", "c"], split_message("abc", 1, most=3))
        self.assertEqual(["a", "b", "."], split_message("abcd", 1, most=3))

    def test_rest_is_not_copied(self) -> None:
        """The rest of the text isn't copied for each part."""
        for piece in ("word ", "x", "line\n", "\n"):
            text = Copied("```\n" + piece * 20_000)
            parts = split_message(text, 100)
            self.assertLessEqual(text.copied, 102 * len(parts))

    def test_many_lines(self) -> None:
        """The number of parts is also limited for a message of many lines; the maximum number is kept."""
        self.assertEqual(["a", "b"], at_most(["a", "b"], most=2))
        self.assertEqual(["a", LEFT_OUT], at_most(["a", "b", "c"], most=2))
        self.assertEqual(["a", LEFT_OUT], at_most(["a"], cut=True, most=2))
        self.assertEqual(["a", LEFT_OUT], at_most(["a", "b"], cut=True, most=2))

    def test_no_limit(self) -> None:
        """A limit below 1 raises ValueError."""
        with self.assertRaises(ValueError):
            split_message("a", 0)

    def test_code_is_reopened(self) -> None:
        """Each part of a code block is a code block of the same language."""
        lines = "\n".join(f"line {number}" for number in range(12))
        parts = split_message(f"intro\n```python\n{lines}\n```\nend", 50)
        self.assertGreater(len(parts), 2)
        for part in parts:
            self.assertLessEqual(len(part), 50)
            self.assertEqual(0, part.count("```") % 2)
        self.assertTrue(all(part.startswith("```python\n") for part in parts[1:-1]), parts)
        shown = [line for part in parts for line in part.split("\n") if line.startswith("line")]
        self.assertEqual(lines.split("\n"), shown)

    def test_indentation_of_code_stays(self) -> None:
        """In code only newlines are removed at a split."""
        parts = split_message("```\n" + "    aaaa\n" * 8 + "```", 40)
        self.assertEqual(8, sum(part.split("\n").count("    aaaa") for part in parts))

    @given(TEXTS, st.integers(4, 60))
    def test_limit_is_kept(self, text: str, limit: int) -> None:
        """No part exceeds the limit, in characters or in bytes, and none is empty."""
        for length in (len, in_bytes):
            parts = split_message(text, limit, length)
            self.assertTrue(all(length(part) <= limit for part in parts), parts)
            self.assertTrue(all(parts) or parts == [text], parts)

    @given(st.text(alphabet="ab é漢🎉\n\n  *", max_size=300), st.integers(4, 60))
    def test_nothing_is_lost(self, text: str, limit: int) -> None:
        """The parts contain all visible text, in order."""
        parts = split_message(text, limit, in_bytes)
        self.assertEqual("".join(text.split()), "".join("".join(parts).split()))

    @given(TEXTS, st.integers(4, 60))
    def test_nothing_is_lost_around_code(self, text: str, limit: int) -> None:
        """With code, the parts contain all visible text apart from the fences, in order."""
        parts = split_message(text, limit)
        keep = str.maketrans("", "", "`~ \n")
        self.assertEqual(text.translate(keep), "".join(parts).translate(keep))


class RenderedTests(SynchronousTestCase):
    """`split_rendered` keeps a limit of the rendered form."""

    def test_emoji(self) -> None:
        """Of 10,000 emoji each stays whole, by UTF-16 units and by bytes of HTML, and parts are nearly full."""
        for emoji in EMOJI:
            for measure in (in_utf16, in_html):
                parts = split_rendered(emoji * 10_000, measure, 4096, most=2000)
                self.assertEqual("".join(parts), emoji * 10_000)
                self.assertTrue(all(part == emoji * part.count(emoji) for part in parts))
                sizes = [measure(part) for part in parts]
                self.assertLessEqual(max(sizes), 4096)
                self.assertGreater(min(sizes[:-1]), 3500)

    def test_short_text(self) -> None:
        """A text is one part if its rendered form fits, also if its source doesn't."""
        text = "**a** *b* " * 4
        self.assertEqual(split_rendered(text, lambda text: len(text.replace("*", "")), 20), [text])
        self.assertEqual(split_rendered("", len, 20), [""])

    def test_code(self) -> None:
        """A code block is closed and opened again, and what HTML escapes counts."""
        code = "\n".join(f"if a < {number} && b > {number}:" for number in range(200))
        parts = split_rendered(f"Look:\n\n```python\n{code}\n```\n\nEnd.", in_html, 500)
        self.assertLessEqual(max(map(in_html, parts)), 500)
        self.assertTrue(all(part.count("```") in (0, 2) for part in parts))
        self.assertEqual([line for part in parts for line in part.split("\n") if "if a" in line], code.split("\n"))

    def test_most(self) -> None:
        """If the text needs more parts, the last one states that the rest is missing."""
        parts = split_rendered("word " * 1_000, in_html, 100, most=5)
        self.assertEqual((len(parts), parts[-1]), (5, LEFT_OUT))

    def test_work(self) -> None:
        """A part is rendered three or four times."""
        looks: list[int] = []

        def measure(text: str) -> int:
            looks.append(len(text))
            return in_html(text)

        parts = split_rendered("a < b & c > d. " * 5_000, measure, 4_000)
        self.assertLess(len(looks), 4 * len(parts))

    @given(TEXTS, st.integers(40, 90))
    def test_nothing_is_lost(self, text: str, limit: int) -> None:
        """The parts keep the limit, and contain all visible text apart from fences, in order."""
        parts = split_rendered(text, in_utf16, limit)
        self.assertTrue(all(in_utf16(part) <= limit for part in parts), parts)
        keep = str.maketrans("", "", "`~ \n")
        self.assertEqual(text.translate(keep), "".join(parts).translate(keep))


class TruncationTests(SynchronousTestCase):
    """`truncated`."""

    def test_long_text_is_cut_off(self) -> None:
        """A text up to the limit is unchanged; a longer one is truncated and ends with an ellipsis."""
        self.assertEqual(truncated("abc", 3), "abc")
        self.assertEqual(truncated("abcd", 3), "abc…")
