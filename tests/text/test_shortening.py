"""Tests for cutting off long texts."""

from twisted.trial.unittest import SynchronousTestCase

from errklein.text.shortening import shortened


class ShortenedTests(SynchronousTestCase):
    """Texts in log lines and replies."""

    def test_long_text_is_cut_off(self) -> None:
        """A text up to the limit stays as it is; a longer one is cut off there and ends with an ellipsis."""
        self.assertEqual(shortened("abc", 3), "abc")
        self.assertEqual(shortened("abcd", 3), "abc…")
