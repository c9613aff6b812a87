"""The simulation of processes that share a journal: many seeds, and defects that it must find."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.journal import _queue
from tests.postgres.journal_simulation import Violated, simulate
from tests.postgres.journals import new_tables
from tests.postgres.server import programs

SEEDS = 60


class JournalSimulationTests(SynchronousTestCase):
    """Three processes, of which one may be killed or stopped at any time."""

    timeout = 3600

    def setUp(self) -> None:
        """Import the module, which needs psycopg."""
        programs()
        from errklein.postgres import _journal

        self.module = _journal

    def test_guarantees_from_many_seeds(self) -> None:
        """The guarantees hold in worlds from many seeds."""
        for seed in range(SEEDS):
            simulate(seed, new_tables(self))

    def check_found(self) -> None:
        """Check that a defect violates a guarantee."""
        for seed in range(SEEDS):
            try:
                simulate(seed, new_tables(self))
            except Violated:
                self.flushLoggedErrors()
                return
        self.fail("the defect was not found")

    def change(self, query: str, before: str, after: str) -> None:
        """Put a defect into a query."""
        queries = self.module.PostgresWriter.queries
        self.assertIn(before, queries[query])
        changed = {**queries, query: queries[query].replace(before, after)}
        self.patch(self.module.PostgresWriter, "queries", changed)

    def test_end_without_the_lease(self) -> None:
        """The end of an attempt that counts, although another process has the lease, is found."""
        self.change("end", "AND state = 1 AND node = current_node()", "")
        self.check_found()

    def test_order_of_one_process(self) -> None:
        """A process that runs an ordered webhook's delivery at once, although another one has recorded an older one, is found."""
        self.patch(self.module.PostgresJournal, "shared", False)
        self.check_found()

    def test_late_start(self) -> None:
        """A process that was stopped, and begins a delivery after its lease, is found."""
        begin = _queue.DeliveryQueue._begin
        self.patch(
            _queue.DeliveryQueue,
            "_begin",
            lambda queue, delivery, in_order, is_late: begin(queue, delivery, in_order, False),
        )
        self.check_found()

    def test_lease_without_end(self) -> None:
        """A delivery that is leased when it is recorded, and whose lease doesn't end with its process, is found."""
        self.change("add deliveries", "WHEN column6 = 0 THEN 'infinity'", "WHEN column6 >= 0 THEN 'infinity'")
        self.check_found()
