"""Both stores of outgoing messages fulfil the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.journal import MemoryJournal, SQLiteJournal
from errklein.ports.outbox import OutboxStore
from errklein.testing.outbox_store_contract import OutboxStoreContract
from tests.journal.inline import InlineReactor, InlineThreads, WaitingThreads


class MemoryOutboxStoreTests(OutboxStoreContract, SynchronousTestCase):
    def make_store(self) -> OutboxStore:
        """Return the store of a new journal."""
        self.memory = MemoryJournal(lambda: 1000.0).outbox
        return self.memory

    def restart(self) -> OutboxStore:
        """Let the messages be those of an earlier process."""
        self.memory.restart()
        return self.memory


class SQLiteOutboxStoreTests(OutboxStoreContract, SynchronousTestCase):
    def make_store(self) -> OutboxStore:
        """Return the store of a journal with a new file."""
        self.path = Path(self.mktemp())
        self.addCleanup(lambda: self.result_of(self.journal.close()))
        return self.open()

    def open(self) -> OutboxStore:
        """Open the journal."""
        self.reactor = InlineReactor()
        self.journal = SQLiteJournal(self.path, self.reactor, lambda: 1000.0, threads=self.start)
        return self.journal.outbox

    def start(self, *arguments: Any) -> InlineThreads:
        """Return the threads of the journal."""
        return InlineThreads(*arguments)

    def restart(self) -> OutboxStore:
        """Close the journal, and open it again."""
        self.result_of(self.journal.close())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return self.open()


class SharedCommitsTests(SQLiteOutboxStoreTests):
    """The file, with writes that share transactions."""

    def start(self, *arguments: Any) -> WaitingThreads:
        """Return the threads of the journal."""
        self.threads = WaitingThreads(*arguments)
        return self.threads

    def settle(self) -> None:
        """Let everything be written."""
        self.reactor.advance(1)
        self.threads.turn()
