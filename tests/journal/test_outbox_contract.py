"""The store of outgoing messages fulfils the contract: in memory, with a file, and with threads."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.database import Run
from errklein.journal import SQLiteJournal
from errklein.ports.outbox import OutboxStore
from tests.journal.inline import INLINE, InlineReactor, WaitingThreads, memory_journal, restarted
from tests.journal.outbox_contract import OutboxStoreContract


class SQLiteOutboxStoreTests(OutboxStoreContract, SynchronousTestCase):
    def make_store(self) -> OutboxStore:
        """Return the store of a journal with a new file."""
        self.path = Path(self.mktemp())
        self.addCleanup(lambda: self.result_of(self.journal.close()))
        return self.open()

    def open(self) -> OutboxStore:
        """Open the journal."""
        self.reactor = InlineReactor()
        self.journal = SQLiteJournal(self.path, self.reactor, lambda: 1000.0, runs=self.runs())
        return self.journal.outbox

    def runs(self) -> tuple[Run, Run]:
        """Return the functions that run writes and reads."""
        return INLINE

    def restart(self) -> OutboxStore:
        """Close the journal, and open it again."""
        self.result_of(self.journal.close())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return self.open()


class SharedCommitsTests(SQLiteOutboxStoreTests):
    """The file, with writes that share transactions."""

    def runs(self) -> tuple[Run, Run]:
        """Return functions of which writes wait."""
        self.threads = WaitingThreads()
        return self.threads.runs

    def settle(self) -> None:
        """Let everything be written."""
        self.reactor.advance(1)
        self.threads.turn()


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
