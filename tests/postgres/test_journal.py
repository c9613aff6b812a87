"""The journal on PostgreSQL fulfils the contracts, also of its outbox, and several processes share it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from errklein.database import Run
from errklein.ports.journal import Journal
from errklein.ports.outbox import OutboxStore
from tests.journal.contract import JournalContract
from tests.journal.inline import INLINE, InlineReactor, WaitingThreads
from tests.journal.outbox_contract import OutboxStoreContract
from tests.postgres.journals import new_journal, new_tables


class InlineTests(JournalContract, SynchronousTestCase):
    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a journal in a new database."""
        self.reactor = InlineReactor()
        return new_journal(new_tables(self), now, self.reactor)

    def settle(self) -> None:
        """Let the log be written."""
        self.reactor.advance(1)


class TogetherTests(JournalContract, SynchronousTestCase):
    """Writes share transactions."""

    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a journal in a new database."""
        self.reactor, self.threads = InlineReactor(), WaitingThreads()
        return new_journal(new_tables(self), now, self.reactor, self.threads.runs)

    def settle(self) -> None:
        """Let everything be written."""
        self.reactor.advance(1)
        self.threads.turn()


class OutboxTests(OutboxStoreContract, SynchronousTestCase):
    def make_store(self) -> OutboxStore:
        """Return the store of a journal in a new database."""
        self.url = new_tables(self)
        self.addCleanup(lambda: self.result_of(self.journal.close()))
        return self.open()

    def open(self) -> OutboxStore:
        """Open the journal."""
        self.reactor = InlineReactor()
        self.journal = new_journal(self.url, lambda: 1000.0, self.reactor, self.runs())
        return self.journal.outbox

    def runs(self) -> tuple[Run, Run]:
        """Return the functions that run writes and reads."""
        return INLINE

    def restart(self) -> OutboxStore:
        """Close the journal, and open it as the next process."""
        self.result_of(self.journal.close())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return self.open()


class SharedCommitsTests(OutboxTests):
    """Writes share transactions."""

    def runs(self) -> tuple[Run, Run]:
        """Return functions of which writes wait."""
        self.threads = WaitingThreads()
        return self.threads.runs

    def settle(self) -> None:
        """Let everything be written."""
        self.reactor.advance(1)
        self.threads.turn()
