"""Tests for finding commands in messages."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.commands._registry import find_command

NAMES = {"echo": 1, "status": 1, "status_plugins": 1, "plugin_config": 1, "a_b_c": 1, "grün": 1}


class FindCommandTests(SynchronousTestCase):
    """Names of commands and their arguments."""

    def find(self, text: str) -> tuple[str, str] | None:
        """Return the command of `NAMES` that the text begins with."""
        return find_command(text, NAMES, 3)

    def test_nothing_is_no_command(self) -> None:
        """An empty text or unknown words match no command."""
        self.assertIsNone(self.find(""))
        self.assertIsNone(self.find("nope a b c"))

    @given(st.text())
    def test_arguments_are_a_suffix_of_the_text(self, text: str) -> None:
        """The arguments after a name are unchanged."""
        found = self.find("echo " + text)
        assert found is not None
        self.assertEqual(found, ("echo", text.lstrip()))
