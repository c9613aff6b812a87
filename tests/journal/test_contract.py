"""Both journals of errklein fulfil the journal contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.journal import MemoryJournal, SQLiteJournal
from errklein.ports import Journal
from errklein.testing.journal_contract import JournalContract
from tests.journal.inline import InlineReactor, InlineThreads


class MemoryJournalTests(JournalContract, SynchronousTestCase):
    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a new journal."""
        return MemoryJournal(now)


class SQLiteJournalTests(JournalContract, SynchronousTestCase):
    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a journal with a new file."""
        self.clock = InlineReactor()
        return SQLiteJournal(Path(self.mktemp()), self.clock, now, threads=InlineThreads)

    def settle(self) -> None:
        """Let the log be written."""
        self.clock.advance(1)
