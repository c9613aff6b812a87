"""Completion of commands with Tab."""

from __future__ import annotations

from prompt_toolkit.completion import CompleteEvent, get_common_complete_suffix
from prompt_toolkit.document import Document
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.text._terminal import CommandCompleter

COMMANDS = ["!help", "!plugin config", "!plugin reload", "!plugin remove", "!room", "!room list"]


class CompletionTests(SynchronousTestCase):
    """The words that Tab adds or lists."""

    def completions(self, typed: str) -> list[str]:
        """Return what is listed."""
        found = CommandCompleter(lambda typed: COMMANDS).get_completions(Document(typed), CompleteEvent())
        return [completion.display_text for completion in found]

    def test_one_word_at_a_time(self) -> None:
        """Only the word being typed is completed, and each word is offered once."""
        for typed, expected in (
            ("", ["!help", "!plugin", "!room"]),
            ("!p", ["!plugin"]),
            ("!plugin", ["!plugin"]),
            ("!plugin re", ["reload", "remove"]),
            ("!room ", ["list"]),
        ):
            self.assertEqual(self.completions(typed), expected, typed)

    def test_arguments_are_not_completed(self) -> None:
        """Arguments, plain text and unknown commands have no completions."""
        for typed in ("!plugin reload Gre", "!help ro", "hello", "!x", "!plugin  re"):
            self.assertEqual(self.completions(typed), [], typed)

    def test_common_part_is_added(self) -> None:
        """Tab adds what all completions share, and a space after the only one."""
        for typed, expected in (("", "!"), ("!plugin r", "e"), ("!plugin re", ""), ("!he", "lp "), ("!help", " ")):
            document = Document(typed)
            found = list(CommandCompleter(lambda typed: COMMANDS).get_completions(document, CompleteEvent()))
            self.assertEqual(get_common_complete_suffix(document, found), expected, typed)

    def test_error(self) -> None:
        """An error in the search is logged, and nothing is completed."""

        def fails(typed: str) -> list[str]:
            raise LookupError(typed)

        self.assertEqual(list(CommandCompleter(fails).get_completions(Document("!x"), CompleteEvent())), [])
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
