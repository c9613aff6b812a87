"""The journal fulfils the contract: in memory and inline, and in a file with threads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.journal import SQLiteJournal
from errklein.ports.journal import Journal
from errklein.testing.journal_contract import JournalContract
from tests.journal.inline import InlineReactor, InlineThreads, WaitingThreads


class InlineTests(JournalContract, SynchronousTestCase):
    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a journal in memory."""
        self.clock = InlineReactor()
        return SQLiteJournal(None, self.clock, now, threads=InlineThreads)

    def settle(self) -> None:
        """Let the log be written."""
        self.clock.advance(1)


class TogetherTests(JournalContract, SynchronousTestCase):
    """The file, with writes that share transactions."""

    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a journal with a new file."""
        self.reactor = InlineReactor()
        return SQLiteJournal(Path(self.mktemp()), self.reactor, now, threads=self.start)

    def start(self, *arguments: Any) -> WaitingThreads:
        """Create the threads."""
        self.threads = WaitingThreads(*arguments)
        return self.threads

    def settle(self) -> None:
        """Let everything be written."""
        self.reactor.advance(1)
        self.threads.turn()
