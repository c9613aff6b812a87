"""Tests of the ownership in simulated worlds, and of the simulation itself: it finds defects."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.journal import _queue
from errklein.ports.journal import Journal
from errklein.postgres import _nodes
from tests.journal.contract import JournalContract
from tests.journal.inline import InlineReactor
from tests.postgres.memory import Server, Session
from tests.postgres.queue_simulation import QueueSimulation, SharedJournal, SharedTables
from tests.postgres.simulation import Simulation, has_violation

SEEDS = range(25)


class UnlimitedNodes(_nodes.PostgresNodes):
    """Nodes of which an owner doesn't notice that it was paused or cut off."""

    @property
    def owns(self) -> bool:
        """Whether nobody else has been seen as the owner."""
        return self._epoch is not None and not self._lost


class UnfencedSimulation(Simulation):
    """A world in which transactions check no epoch."""

    def fence_of(self, epoch: int | None) -> int | None:
        """Return no epoch."""
        return None


class PatientServer(Server):
    """A server on which nobody ends the sessions of a node that is removed."""

    def end_sessions_of(self, session: Session, id: int, beat: int) -> None:
        """Do nothing."""


class SharedJournalTests(JournalContract, SynchronousTestCase):
    """The double of the journal keeps its contract."""

    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a journal."""
        self.reactor = InlineReactor()
        return SharedJournal(SharedTables(), "errklein 1", self.reactor, now, maybeDeferred)

    def settle(self) -> None:
        """Let the log be written."""
        self.reactor.advance(1)


class SimulationTests(SynchronousTestCase):
    def test_nodes_keep_their_guarantees(self) -> None:
        """Whatever fails, at most one process acts as the owner, none writes with an old epoch, and somebody takes over."""
        for seed in SEEDS:
            Simulation(seed).run()

    def test_writes_without_a_check_are_found(self) -> None:
        """Transactions that don't check the epoch violate a guarantee."""
        self.assertTrue(has_violation(UnfencedSimulation, SEEDS))

    def test_unnoticed_pause_is_found(self) -> None:
        """An owner that doesn't notice that it was paused violates a guarantee."""
        self.assertTrue(has_violation(Simulation, SEEDS, nodes_class=UnlimitedNodes))

    def test_kept_sessions_are_found(self) -> None:
        """A takeover that doesn't end the sessions of the earlier owner violates a guarantee."""
        self.assertTrue(has_violation(Simulation, SEEDS, server_class=PatientServer))

    def test_hasty_takeover_is_found(self) -> None:
        """A takeover before the owner must have given up violates a guarantee."""
        self.patch(_nodes, "DEAD", 3.0)
        self.assertTrue(has_violation(Simulation, SEEDS))


class QueueSimulationTests(SynchronousTestCase):
    def test_deliveries_run(self) -> None:
        """What a process has acknowledged is run, and nothing that is done runs again, whatever happens to the processes."""
        for seed in SEEDS:
            QueueSimulation(seed).run()

    def test_late_handlers_are_found(self) -> None:
        """A process that begins after a pause what others have run violates a guarantee."""
        self.patch(_queue, "LATE", 1000.0)
        self.assertTrue(has_violation(QueueSimulation, SEEDS))
