"""Lines for the width of a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.text._terminal import wrapped


class WrappingTests(SynchronousTestCase):
    """Breaks between words."""

    def test_words(self) -> None:
        """Long lines are broken between words, of which styles and wide characters have their width on the terminal."""
        self.assertEqual(wrapped("one two three four", 9), "one two\nthree\nfour")
        self.assertEqual(wrapped("\x1b[1mone\x1b[22m two\nthree four", 9), "\x1b[1mone\x1b[22m two\nthree\nfour")
        self.assertEqual(wrapped("日本 語 日本", 7), "日本 語\n日本")

    def test_indentation(self) -> None:
        """Further lines are indented as the first one, in lists behind the bullet or number."""
        self.assertEqual(wrapped("  one two three", 9), "  one two\n  three")
        self.assertEqual(wrapped("• one two three", 9), "• one two\n  three")
        self.assertEqual(wrapped("12. one two", 9), "12. one\n    two")

    def test_left_alone(self) -> None:
        """Words that are longer than a line, and rows of tables, aren't broken."""
        self.assertEqual(wrapped("https://example.net/path", 9), "https://example.net/path")
        self.assertEqual(wrapped("│ one │ two │ three │", 9), "│ one │ two │ three │")

    @given(st.text("ab \n•", max_size=60), st.integers(1, 20))
    def test_any_text(self, text: str, columns: int) -> None:
        """All words stay, in their order."""
        self.assertEqual(wrapped(text, columns).split(), text.split())
