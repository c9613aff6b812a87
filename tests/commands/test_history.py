"""Tests for the history of commands."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.commands import _history as history
from errklein.commands._history import History, Sender, recall_position


class HistoryTests(SynchronousTestCase):
    """What a person has commanded."""

    def test_somebody_else_of_that_name(self) -> None:
        """Who has somebody's name, but isn't known to access rules as that one, has another history."""
        given_lately = History()
        given_lately.remember(Sender("bob", "bob!b@home"), "echo", "a secret")
        given_lately.remember(Sender("bob", "bob!m@elsewhere"), "echo", "mine")
        self.assertEqual(given_lately.entries(Sender("bob", "bob!m@elsewhere")), [("echo", "mine")])
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home"), 1), ("echo", "a secret"))
        self.assertIsNone(given_lately.recall(Sender("bob", "bob!m@elsewhere"), 2))

    def test_somebody_else_moves_nothing(self) -> None:
        """What they command doesn't move what the other has commanded, so that "the last one" stays the same."""
        given_lately = History()
        for command in ("wipe", "deploy"):
            given_lately.remember(Sender("bob", "bob!b@home"), command, "x")
        given_lately.remember(Sender("bob", "bob!m@elsewhere"), "deploy", "x")
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home"), 1), ("deploy", "x"))
        given_lately.remember(Sender("bob", "bob!b@home"), "wipe", "x")
        self.assertEqual(given_lately.entries(Sender("bob", "bob!b@home")), [("deploy", "x"), ("wipe", "x")])

    def test_each_place_has_its_own(self) -> None:
        """A command given in private is neither listed nor repeated in a room, nor the other way round."""
        given_lately = History()
        given_lately.remember(Sender("bob", "bob!b@home"), "echo", "a secret")
        given_lately.remember(Sender("bob", "bob!b@home", "#ops"), "echo", "hello")
        self.assertEqual(given_lately.entries(Sender("bob", "bob!b@home")), [("echo", "a secret")])
        self.assertEqual(given_lately.entries(Sender("bob", "bob!b@home", "#ops")), [("echo", "hello")])
        self.assertEqual(given_lately.entries(Sender("bob", "bob!b@home", "#dev")), [])
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home"), 1), ("echo", "a secret"))
        self.assertIsNone(given_lately.recall(Sender("bob", "bob!b@home", "#ops"), 2))

    def test_same_command_in_another_place(self) -> None:
        """Giving a command again in a room leaves it where it was in the private history."""
        given_lately = History()
        for command in ("deploy", "wipe"):
            given_lately.remember(Sender("bob", "bob!b@home"), command, "x")
        given_lately.remember(Sender("bob", "bob!b@home", "#ops"), "deploy", "x")
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home"), 1), ("wipe", "x"))
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home"), 2), ("deploy", "x"))

    def test_what_plugins_put_there(self) -> None:
        """A plugin may write into it as into errbot's, and that is anybody's of that name."""
        given_lately = History()
        given_lately["bob"].append(("echo", "x"))
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home"), 1), ("echo", "x"))
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home", "#ops"), 1), ("echo", "x"))

    def test_persons_are_forgotten(self) -> None:
        """However many persons there are, no more than so many are remembered."""
        self.patch(history, "PERSONS", 3)
        given_lately = History()
        for person in "abcd":
            given_lately.remember(Sender(person), "echo", "")
        self.assertEqual(list(given_lately), ["b", "c", "d"])

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text can be looked at; only the prefix and short numbers ask for the history."""
        back = recall_position(text, "!")
        self.assertEqual(back is not None, text == "!" or (text.isascii() and text.isdecimal() and len(text) < 5))

    def test_prefixes_with_spaces(self) -> None:
        """A prefix that ends with a space asks for the last command as well."""
        self.assertEqual(recall_position("bot", "bot "), 1)
        self.assertIsNone(recall_position("", ""))
