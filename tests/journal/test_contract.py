"""Both journals of errklein fulfil the journal contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.journal import MemoryJournal, SQLiteJournal
from errklein.ports.journal import Journal
from errklein.testing.journal_contract import JournalContract
from tests.journal.inline import InlineReactor, InlineThreads, WaitingThreads


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
