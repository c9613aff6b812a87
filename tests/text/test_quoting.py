"""Quoting of untrusted text for Markdown."""

from __future__ import annotations

from html import unescape

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.text import sanitize, to_irc, to_plain
from errklein.text._quoting import plain, plain_lines
from errklein.text._splitting import split_message
from tests import takes_long

# All that Markdown knows, but for entities and tags, which templates escape.
SPECIAL = st.text(alphabet=" \tab1é漢*_`[](){}>#:!|=+-./\\\"'~^", max_size=40)

# With them, and what means something only as a whole.
PIECES = st.lists(
    st.sampled_from(
        (
            *(
                "&lt;",
                "&#35;",
                "<br>",
                "<http://x/>",
                "~~~",
                "```",
                "===",
                ":   ",
                "    ",
                "\t",
                "[a]: b",
                "*[A]: b",
                "[^1]: x",
            ),
            *("| ", "|-|-|", "{: color='red' }", "1. ", "# ", "- ", "> ", "![a](http://x/)", "a", "  ", "\n", "\n\n"),
        )
    ),
    max_size=12,
).map("".join)

LINE = SPECIAL.map(lambda text: " ".join(sanitize(text).split()))


class PlainTests(SynchronousTestCase):
    """`plain` and `plain_lines`."""

    @given(LINE)
    @example("/x/__init__.py, line 1: _y_ isn't *there*")
    @example("12. {: color='red' }")
    def test_shown_as_it_is(self, text: str) -> None:
        """Any text is shown literally on one line, at the start of a message and in a list."""
        self.assertEqual(to_plain(plain(text)), text)
        self.assertEqual(to_irc(plain(text)), text)
        if text:
            self.assertEqual(to_plain(f"- {plain(text)}"), f"• {text}")
            self.assertEqual(to_plain(f"Look: {plain(text)}"), f"Look: {text}")

    @given(st.lists(LINE.filter(bool), min_size=1, max_size=3))
    @example(["- a", "# b", "1. c", "> d"])
    @example(["a", "==="])
    @example(["~~~", "a", "~~~"])
    @example(["a", ": b"])
    def test_lines(self, lines: list[str]) -> None:
        """`plain_lines` keeps the lines, indented or not."""
        for indent in ("", "  "):
            text = "\n".join(indent + line for line in lines)
            self.assertEqual([line.strip() for line in to_plain(plain_lines(text)).splitlines()], lines)

    @given(PIECES)
    @example("    *a*\n\n    *b*\n\n\t*c*")
    @example("a\n\n     \n    *b*")
    def test_whole_texts(self, text: str) -> None:
        """`plain_lines` shows paragraphs literally, with any indentation, entities and tags."""
        for render in (to_plain, to_irc):
            shown = [line.split() for line in render(plain_lines(text)).splitlines()]
            self.assertEqual(
                [line for line in shown if line], [line.split() for line in text.splitlines() if line.split()]
            )

    def test_long_runs(self) -> None:
        """A long run of one sign is quoted in linear time."""
        takes_long()
        for sign in "#*_`[=~:-1":
            text = sign * 200_000 + "x"
            self.assertEqual(unescape(plain(text).replace("\\", "")), text)

    def test_parts(self) -> None:
        """A text that is split into parts is shown literally too."""
        text = "really long - with + signs # and > others 1. in it " * 5
        parts = split_message(plain_lines(text), 30)
        self.assertEqual(" ".join(to_plain(part) for part in parts).split(), text.split())

    def test_no_more_than_needed(self) -> None:
        """Characters without a meaning at their place aren't escaped, for networks that show Markdown as text."""
        for text in (
            "b_c.d: x-y + (z) > 2. #3!",
            "Odd could not be loaded: /a/b_c.py, line 1: NameError: name 'x' isn't defined",
        ):
            self.assertEqual(plain(text), text)
