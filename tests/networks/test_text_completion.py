"""Completion of commands with Tab."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.text._terminal import addition, completions, in_columns

COMMANDS = ["!help", "!plugin config", "!plugin reload", "!plugin remove", "!room", "!room list"]


class CompletionTests(SynchronousTestCase):
    """The words that Tab adds or lists."""

    def test_one_word_at_a_time(self) -> None:
        """Only the word being typed is completed, and each word is offered once."""
        for typed, expected in (
            ("", ["!help", "!plugin", "!room"]),
            ("!p", ["!plugin"]),
            ("!plugin", ["!plugin"]),
            ("!plugin re", ["!plugin reload", "!plugin remove"]),
            ("!room ", ["!room list"]),
        ):
            self.assertEqual(completions(typed, COMMANDS), expected, typed)

    def test_arguments_are_not_completed(self) -> None:
        """Arguments, plain text and unknown commands have no completions."""
        for typed in ("!plugin reload Gre", "!help ro", "hello", "!x", "!plugin  re"):
            self.assertEqual(completions(typed, COMMANDS), [], typed)

    def test_common_part_is_added(self) -> None:
        """Tab adds what all completions share, and a space after the only one."""
        for typed, expected in (("", "!"), ("!plugin r", "e"), ("!plugin re", ""), ("!he", "lp "), ("!help", " ")):
            self.assertEqual(addition(typed, completions(typed, COMMANDS)), expected, typed)
        self.assertEqual(addition("hello", []), "")

    def test_columns(self) -> None:
        """The list has the last words only, in as many columns as the terminal has room for."""
        found = ["!plugin config", "!plugin info", "!plugin reload"]
        self.assertEqual(in_columns(found, 80), "config  info    reload")
        self.assertEqual(in_columns(found, 16), "config  reload\ninfo")
        self.assertEqual(in_columns(found, 3), "config\ninfo\nreload")
