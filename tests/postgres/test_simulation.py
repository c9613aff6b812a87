"""Tests of the ownership in simulated worlds, and of the simulation itself: it finds defects."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.postgres import _nodes
from tests.postgres.memory import Server, Session
from tests.postgres.simulation import Simulation, has_violation

SEEDS = range(50)


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
