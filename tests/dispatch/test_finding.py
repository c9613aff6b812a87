"""Tests for prefixes of commands."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.dispatch._finding import strip_prefix

SETTINGS = SimpleNamespace(BOT_PREFIX="!", BOT_ALT_PREFIXES=(), BOT_ALT_PREFIX_CASEINSENSITIVE=False)


class StripPrefixTests(SynchronousTestCase):
    """Texts after a prefix."""

    @given(st.text())
    def test_any_text_after_the_prefix_is_kept(self, text: str) -> None:
        """Only one prefix and the surrounding whitespace are removed."""
        if not text.startswith("!"):
            self.assertEqual(strip_prefix("!" + text, SETTINGS), text.strip())
