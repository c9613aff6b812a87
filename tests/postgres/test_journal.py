"""The journal on PostgreSQL fulfils the contracts, also of its outbox, and several processes share it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from errklein.ports.journal import Journal
from errklein.ports.outbox import OutboxStore
from tests.journal.contract import JournalContract
from tests.journal.inline import InlineReactor, WaitingThreads
from tests.journal.outbox_contract import JournalOutboxContract, SharedCommits
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


class OutboxTests(JournalOutboxContract, SynchronousTestCase):
    def make_store(self) -> OutboxStore:
        """Return the store of a journal in a new database."""
        self.url = new_tables(self)
        return super().make_store()

    def open_journal(self) -> Journal:
        """Return the journal of the next process."""
        return new_journal(self.url, lambda: 1000.0, self.reactor, self.runs())


class SharedCommitsTests(SharedCommits, OutboxTests):
    """Writes share transactions."""
