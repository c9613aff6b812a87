"""Tests for the command history."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.dispatch import _finding as history
from errklein.dispatch._finding import History, Sender, recall_position


class HistoryTests(SynchronousTestCase):
    """Histories of persons and places."""

    def test_somebody_else_of_that_name(self) -> None:
        """A person with the same name and another name in access rules has a separate history."""
        given_lately = History()
        given_lately.remember(Sender("bob", "bob!b@home"), "echo", "a secret")
        given_lately.remember(Sender("bob", "bob!m@elsewhere"), "echo", "mine")
        self.assertEqual(given_lately.entries(Sender("bob", "bob!m@elsewhere")), [("echo", "mine")])
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home"), 1), ("echo", "a secret"))
        self.assertIsNone(given_lately.recall(Sender("bob", "bob!m@elsewhere"), 2))

    def test_somebody_else_moves_nothing(self) -> None:
        """Their commands don't move the other person's, so that `!!` still repeats the same command."""
        given_lately = History()
        for command in ("wipe", "deploy"):
            given_lately.remember(Sender("bob", "bob!b@home"), command, "x")
        given_lately.remember(Sender("bob", "bob!m@elsewhere"), "deploy", "x")
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home"), 1), ("deploy", "x"))
        given_lately.remember(Sender("bob", "bob!b@home"), "wipe", "x")
        self.assertEqual(given_lately.entries(Sender("bob", "bob!b@home")), [("deploy", "x"), ("wipe", "x")])

    def test_each_place_has_its_own(self) -> None:
        """A command sent in private is neither listed nor repeated in a room, nor the other way round."""
        given_lately = History()
        given_lately.remember(Sender("bob", "bob!b@home"), "echo", "a secret")
        given_lately.remember(Sender("bob", "bob!b@home", "#ops"), "echo", "hello")
        self.assertEqual(given_lately.entries(Sender("bob", "bob!b@home")), [("echo", "a secret")])
        self.assertEqual(given_lately.entries(Sender("bob", "bob!b@home", "#ops")), [("echo", "hello")])
        self.assertEqual(given_lately.entries(Sender("bob", "bob!b@home", "#dev")), [])
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home"), 1), ("echo", "a secret"))
        self.assertIsNone(given_lately.recall(Sender("bob", "bob!b@home", "#ops"), 2))

    def test_same_command_in_another_place(self) -> None:
        """Repeating a command in a room doesn't move it in the private history."""
        given_lately = History()
        for command in ("deploy", "wipe"):
            given_lately.remember(Sender("bob", "bob!b@home"), command, "x")
        given_lately.remember(Sender("bob", "bob!b@home", "#ops"), "deploy", "x")
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home"), 1), ("wipe", "x"))
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home"), 2), ("deploy", "x"))

    def test_what_plugins_put_there(self) -> None:
        """An entry that a plugin adds, as on errbot, belongs to everyone with that name."""
        given_lately = History()
        given_lately["bob"].append(("echo", "x"))
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home"), 1), ("echo", "x"))
        self.assertEqual(given_lately.recall(Sender("bob", "bob!b@home", "#ops"), 1), ("echo", "x"))

    def test_forget(self) -> None:
        """A person's commands are removed, in all places; with a name in access rules, only those of that sender."""
        given_lately = History(str.lower)
        given_lately.remember(Sender("bob", "bob!b@home"), "echo", "a secret")
        given_lately.remember(Sender("bob", "bob!b@home", "#ops"), "echo", "hello")
        given_lately.remember(Sender("bob", "bob!m@elsewhere"), "echo", "mine")
        given_lately["bob"].append(("echo", "added"))
        given_lately.remember(Sender("carol"), "echo", "hers")
        self.assertEqual(given_lately.senders("BOB"), {"bob!b@home", "bob!m@elsewhere"})
        self.assertEqual(given_lately.forget("Bob", "Bob!b@home"), 3)
        self.assertEqual(given_lately.entries(Sender("bob", "bob!m@elsewhere")), [("echo", "mine")])
        self.assertEqual(given_lately.forget("Bob"), 1)
        self.assertEqual(
            (list(given_lately), given_lately.forget("bob"), given_lately.senders("bob")), (["carol"], 0, set())
        )

    def test_persons_are_forgotten(self) -> None:
        """The number of persons with a history is limited."""
        self.patch(history, "PERSONS", 3)
        given_lately = History()
        for person in "abcd":
            given_lately.remember(Sender(person), "echo", "")
        self.assertEqual(list(given_lately), ["b", "c", "d"])

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Only the prefix and short numbers repeat commands, whatever the text is."""
        back = recall_position(text, "!")
        self.assertEqual(back is not None, text == "!" or (text.isascii() and text.isdecimal() and len(text) < 5))

    def test_prefixes_with_spaces(self) -> None:
        """A prefix that ends with a space repeats the latest command as well."""
        self.assertEqual(recall_position("bot", "bot "), 1)
        self.assertIsNone(recall_position("", ""))
