"""The store of outgoing messages fulfils the contract: in memory, with a file, and with threads."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.journal import SQLiteJournal
from errklein.ports.outbox import OutboxStore
from tests.journal.inline import memory_journal, restarted
from tests.journal.outbox_contract import JournalOutboxContract, OutboxStoreContract, SharedCommits


class SQLiteOutboxStoreTests(JournalOutboxContract, SynchronousTestCase):
    def make_store(self) -> OutboxStore:
        """Return the store of a journal with a new file."""
        self.path = Path(self.mktemp())
        return super().make_store()

    def open_journal(self) -> SQLiteJournal:
        """Return the journal of the file."""
        return SQLiteJournal(self.path, self.reactor, lambda: 1000.0, runs=self.runs())


class SharedCommitsTests(SharedCommits, SQLiteOutboxStoreTests):
    """The file, with writes that share transactions."""


class MemoryOutboxStoreTests(OutboxStoreContract, SynchronousTestCase):
    def make_store(self) -> OutboxStore:
        """Return the store of a journal in memory."""
        self.journal = memory_journal(lambda: 1000.0)
        self.addCleanup(lambda: self.result_of(self.journal.close()))
        return self.journal.outbox

    def restart(self) -> OutboxStore:
        """Let another journal use the database, as the next process uses a file."""
        self.journal = restarted(self.journal)
        return self.journal.outbox

    def test_nothing_is_planned(self) -> None:
        """Messages wait for no disk, so that nobody waits for them and no call is delayed."""
        self.add()
        self.end(delivery=7)
        self.assertFalse(self.store.unwritten)
        self.assertEqual(self.journal._reactor.getDelayedCalls(), [])  # type: ignore[attr-defined]
