"""The audit accounts for everything that was accepted, in spite of crashes, full disks, clocks that are set, and removals."""

from __future__ import annotations

import sqlite3
from collections.abc import Coroutine, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.database import Access
from errklein.journal import INLINE, JournalArchive, Retention, SQLiteJournal
from errklein.webhooks.deliveries import Balance
from tests.journal.accepting import Accepting
from tests.journal.crashing_disk import CrashingDisk
from tests.journal.inline import InlineReactor

DELIVERIES, PROCESSES, DAY = 2000, 10, 86400.0


class AuditTests(SynchronousTestCase):
    """A journal on a disk that is full at times, whose processes crash."""

    def setUp(self) -> None:
        """Create the disk and the source."""
        self.random, self.reactor = Random(4711), InlineReactor()
        self.reactor.advance(2e9)
        self.disk = CrashingDisk(self.random, Path(self.mktemp()))
        self.accepting = Accepting(self.random, self.reactor.seconds)

    def test_balance(self) -> None:
        """Of 2,000 deliveries and their messages, all are accounted for after each crash. What is deleted by hand is named."""
        with self.disk.connections():
            for process in range(PROCESSES):
                if process == PROCESSES - 1:
                    # What was received earlier in this hour of yesterday is too old.
                    self.reactor.advance(DAY)
                self.run_process(DELIVERIES // PROCESSES)
                balances = self.balances()
                for one in balances:
                    self.assertEqual((one.difference, one.missing), (0, []), one)
                if process < PROCESSES - 1:
                    self.assertGreaterEqual(balances[0].accepted, self.accepting.recorded)
        parts = {name: number for one in balances for name, number in one.parts.items()}
        self.assertTrue(all(parts.values()), parts)
        with closing(sqlite3.connect(self.disk.path)) as connection, connection:
            ids = [
                connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0] for table in ("deliveries", "outbox")
            ]
            connection.execute("DELETE FROM deliveries WHERE id = ?", ids[:1])
            connection.execute("DELETE FROM outbox WHERE id = ?", ids[1:])
        self.assertEqual([(one.difference, one.missing) for one in self.balances()], [(1, ids[:1]), (1, ids[1:])])

    def run_process(self, number: int) -> None:
        """Let a process accept so many deliveries, and crash meanwhile."""
        accepting, random = self.accepting, self.random
        recorded: list[int] = []
        journal = SQLiteJournal(
            self.disk.path, self.reactor, accepting.now, retention=Retention(DAY, 400_000), runs=INLINE
        )
        accepting.journal = journal
        self.disk.begin_process(random.randrange(300, 2000), lambda: recorded.append(accepting.recorded))
        self.wait_for(accepting.begin())
        for count in range(number):
            self.disk.full = 20 < count % 100 < 25
            self.wait_for(accepting.deliver())
            if count % 50 == 0:
                accepting.set_clock()
            if count % 20 == 0:
                journal.maintain()
        self.disk.full = False
        if not recorded:
            self.disk.crash()
        # The next process doesn't know what this one does after its crash.
        accepting.recorded = recorded[0]
        journal.close()

    def wait_for(self, coroutine: Coroutine[Deferred[Any], Any, Any]) -> None:
        """Let time pass until the coroutine has ended."""
        done = Deferred.fromCoroutine(coroutine)
        while not done.called:
            self.reactor.advance(0.05)
        self.reactor.advance(0.05)
        self.successResultOf(done)

    def balances(self) -> Sequence[Balance]:
        """Return the balances of the file, as `errklein audit` reads them."""
        with closing(JournalArchive(self.disk.path, Access.SHARE)) as archive:
            return archive.balances(0.0, 3e9)
