"""The journal fulfils the contract: in memory and inline, and in a file with threads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.journal import SQLiteJournal
from errklein.ports.journal import Journal
from tests.journal.contract import JournalContract
from tests.journal.inline import INLINE, InlineReactor, WaitingThreads


class InlineTests(JournalContract, SynchronousTestCase):
    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a journal in memory."""
        self.clock = InlineReactor()
        return SQLiteJournal(None, self.clock, now, runs=INLINE)

    def settle(self) -> None:
        """Let the log be written."""
        self.clock.advance(1)


class TogetherTests(JournalContract, SynchronousTestCase):
    """The file, with writes that share transactions."""

    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a journal with a new file."""
        self.reactor, self.threads = InlineReactor(), WaitingThreads()
        return SQLiteJournal(Path(self.mktemp()), self.reactor, now, runs=self.threads.runs)

    def settle(self) -> None:
        """Let everything be written."""
        self.reactor.advance(1)
        self.threads.turn()
