"""Long messages cut into parts."""

from __future__ import annotations

from typing import SupportsIndex

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.text import PARTS_CAP, at_most, split_message
from errklein.text._splitting import LEFT_OUT, truncated


def in_bytes(text: str) -> int:
    """How long a text is on the wire."""
    return len(text.encode())


class Copied(str):
    """A text that knows how much was copied out of it."""

    __slots__ = ("copied",)

    def __getitem__(self, place: SupportsIndex | slice) -> str:
        copy = super().__getitem__(place)
        self.copied: int = getattr(self, "copied", 0) + len(copy)
        return copy


TEXTS = st.text(alphabet="ab é漢🎉\n\n  `~*", max_size=300)


class SplittingTests(SynchronousTestCase):
    """`split_message` keeps the limit and loses nothing."""

    def test_short_text(self) -> None:
        """What fits is one part, unchanged, even if it is empty."""
        self.assertEqual([" a\n"], split_message(" a\n", 3))
        self.assertEqual([""], split_message("", 3))

    def test_between_words(self) -> None:
        """Without other borders a part ends between words."""
        self.assertEqual(["aaa bbb", "ccc ddd"], split_message("aaa bbb ccc ddd", 8))
        self.assertEqual(["aaa bbb", "ccc"], split_message("aaa bbb ccc", 7))

    def test_between_lines(self) -> None:
        """Rather than between words a part ends between lines."""
        self.assertEqual(["aaa bbb", "ccc ddd eee"], split_message("aaa bbb\nccc ddd eee", 12))

    def test_between_paragraphs(self) -> None:
        """Rather than between lines a part ends between paragraphs."""
        self.assertEqual(["aaa\nbbb", "c\nd\neeeee"], split_message("aaa\nbbb\n\nc\nd\neeeee", 12))

    def test_inside_a_word(self) -> None:
        """A word that is too long is cut between its characters."""
        self.assertEqual(["aaaa", "aaaa", "aa"], split_message("a" * 10, 4))

    def test_in_bytes(self) -> None:
        """Measured in bytes, a part never ends inside a character."""
        self.assertEqual(["éé", "é"], split_message("ééé", 5, in_bytes))
        self.assertEqual(["漢", "漢"], split_message("漢漢", 5, in_bytes))

    def test_accents_stay_with_their_letters(self) -> None:
        """A combining accent, or the parts of one emoji, aren't torn apart."""
        self.assertEqual(["aaa", "e\u0301b"], split_message("aaae\u0301b", 4))
        self.assertEqual(["aaa", "👩\u200d💻"], split_message("aaa👩\u200d💻", 5))

    def test_character_longer_than_limit(self) -> None:
        """A character that can't fit is a part of its own rather than lost."""
        self.assertEqual(["🎉", "🎉"], split_message("🎉🎉", 3, in_bytes))

    def test_megabytes(self) -> None:
        """Of a message that nobody would read to its end the last part says that more was left out."""
        parts = split_message("word " * 1_000_000, 1000)
        self.assertEqual((PARTS_CAP, LEFT_OUT), (len(parts), parts[-1]))
        self.assertEqual(["a", "b", "c"], split_message("abc", 1, most=3))
        self.assertEqual(["a", "b", "."], split_message("abcd", 1, most=3))

    def test_rest_is_not_copied(self) -> None:
        """Of the text no more is read for a part than the part may need."""
        for piece in ("word ", "x", "line\n", "\n"):
            text = Copied("```\n" + piece * 20_000)
            parts = split_message(text, 100)
            self.assertLessEqual(text.copied, 102 * len(parts))

    def test_many_lines(self) -> None:
        """So it is with a message that is cut into lines; exactly as many as there may be are all kept."""
        self.assertEqual(["a", "b"], at_most(["a", "b"], most=2))
        self.assertEqual(["a", LEFT_OUT], at_most(["a", "b", "c"], most=2))
        self.assertEqual(["a", LEFT_OUT], at_most(["a"], cut=True, most=2))
        self.assertEqual(["a", LEFT_OUT], at_most(["a", "b"], cut=True, most=2))

    def test_no_limit(self) -> None:
        """A limit that nothing can keep is an error."""
        with self.assertRaises(ValueError):
            split_message("a", 0)

    def test_code_is_reopened(self) -> None:
        """Each part of a block of code is a block of code of the same language."""
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
        """In code only newlines are taken away at a cut."""
        parts = split_message("```\n" + "    aaaa\n" * 8 + "```", 40)
        self.assertEqual(8, sum(part.split("\n").count("    aaaa") for part in parts))

    @given(TEXTS, st.integers(4, 60))
    def test_limit_is_kept(self, text: str, limit: int) -> None:
        """No part is longer than the limit, in characters or in bytes, and none is empty."""
        for length in (len, in_bytes):
            parts = split_message(text, limit, length)
            self.assertTrue(all(length(part) <= limit for part in parts), parts)
            self.assertTrue(all(parts) or parts == [text], parts)

    @given(st.text(alphabet="ab é漢🎉\n\n  *", max_size=300), st.integers(4, 60))
    def test_nothing_is_lost(self, text: str, limit: int) -> None:
        """The parts hold all that is visible, in order."""
        parts = split_message(text, limit, in_bytes)
        self.assertEqual("".join(text.split()), "".join("".join(parts).split()))

    @given(TEXTS, st.integers(4, 60))
    def test_nothing_is_lost_around_code(self, text: str, limit: int) -> None:
        """With code, the parts hold all that is visible besides the fences, in order."""
        parts = split_message(text, limit)
        keep = str.maketrans("", "", "`~ \n")
        self.assertEqual(text.translate(keep), "".join(parts).translate(keep))


class TruncationTests(SynchronousTestCase):
    """Texts in log lines and replies."""

    def test_long_text_is_cut_off(self) -> None:
        """A text up to the limit stays as it is; a longer one is cut off there and ends with an ellipsis."""
        self.assertEqual(truncated("abc", 3), "abc")
        self.assertEqual(truncated("abcd", 3), "abc…")
