"""Both journals of errklein fulfil the journal contract."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from errklein.journal import MemoryJournal
from errklein.ports import Journal
from errklein.testing.journal_contract import JournalContract


class MemoryJournalTests(JournalContract, SynchronousTestCase):
    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a new journal."""
        return MemoryJournal(now)
