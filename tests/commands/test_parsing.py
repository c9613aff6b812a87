"""Tests for finding the command in a message."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.commands import Prefixes, find_command, strip_prefix

NAMES = {"echo": 1, "status": 1, "status_plugins": 1, "plugin_config": 1, "a_b_c": 1, "grün": 1}


class StripPrefixTests(SynchronousTestCase):
    """Which messages are commands, and what is left of them."""

    def test_prefix_is_needed_in_rooms(self) -> None:
        """Without the prefix a message isn't a command, and white space before it counts."""
        self.assertEqual(strip_prefix("!echo hi", Prefixes(), False), "echo hi")
        self.assertIsNone(strip_prefix("echo hi", Prefixes(), False))
        self.assertIsNone(strip_prefix("  !echo", Prefixes(), False))

    def test_prefix_may_be_optional_in_direct_messages(self) -> None:
        """With the setting a direct message needs no prefix, a room's message does."""
        prefixes = Prefixes(optional_in_direct=True)
        self.assertEqual(strip_prefix("echo hi", prefixes, True), "echo hi")
        self.assertEqual(strip_prefix("!echo hi", prefixes, True), "echo hi")
        self.assertIsNone(strip_prefix("echo hi", prefixes, False))

    def test_longest_alternative_prefix_wins(self) -> None:
        """The longest alternative that fits is taken off, with the separator after it."""
        prefixes = Prefixes(alternatives=("err", "errbot"), separators=(":", ","), ignore_case=True)
        self.assertEqual(strip_prefix("ErrBot: echo hi", prefixes, False), "echo hi")
        self.assertEqual(strip_prefix("err,echo hi", prefixes, False), "echo hi")

    def test_prefix_with_a_space(self) -> None:
        """A prefix may contain a space."""
        self.assertEqual(strip_prefix("hey bot echo", Prefixes(prefix="hey bot "), False), "echo")

    @given(st.text())
    def test_any_text_after_the_prefix_is_kept(self, text: str) -> None:
        """Nothing but white space at the ends and one prefix is taken away."""
        if not text.startswith("!"):
            self.assertEqual(strip_prefix("!" + text, Prefixes(), False), text.strip())


class FindCommandTests(SynchronousTestCase):
    """The longest name that fits, and its arguments."""

    def find(self, text: str) -> tuple[str, str] | None:
        """The command of `NAMES` in the text."""
        return find_command(text, NAMES, 3)

    def test_longest_name_wins(self) -> None:
        """`status plugins` is a command of its own, not `status` with an argument."""
        self.assertEqual(self.find("status plugins now"), ("status_plugins", "now"))
        self.assertEqual(self.find("status now"), ("status", "now"))

    def test_spaces_and_underscores_are_the_same(self) -> None:
        """A name may be written with spaces, underscores or both."""
        for text in ("a b c", "a_b_c", "a_b c", "a  b\tc"):
            self.assertEqual(self.find(text), ("a_b_c", ""))

    def test_arguments_keep_their_line_breaks(self) -> None:
        """White space inside of the arguments is what was typed."""
        self.assertEqual(self.find("echo  a   b\n c"), ("echo", "a   b\n c"))

    def test_names_are_case_sensitive_and_may_have_any_letter(self) -> None:
        """Capital letters make another name; letters needn't be ASCII."""
        self.assertIsNone(self.find("Echo"))
        self.assertEqual(self.find("grün x"), ("grün", "x"))

    def test_nothing_is_no_command(self) -> None:
        """An empty text, or unknown words, name no command."""
        self.assertIsNone(self.find(""))
        self.assertIsNone(self.find("nope a b c"))

    @given(st.text())
    def test_arguments_are_a_suffix_of_the_text(self, text: str) -> None:
        """Whatever is typed after a name arrives unchanged."""
        found = self.find("echo " + text)
        assert found is not None
        self.assertEqual(found, ("echo", text.lstrip()))
