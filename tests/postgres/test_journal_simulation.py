"""The simulation of processes that share a journal, are killed or stopped, and lose the server's answers: the guarantees hold."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.postgres.journal_simulation import simulate
from tests.postgres.journals import new_tables

SEEDS = (5, 6)  # `long_tests` has more
STEPS = 40


class SimulationTests(SynchronousTestCase):
    """The guarantees in worlds from some seeds."""

    def test_guarantees_of_nodes(self) -> None:
        """What was answered runs, once while a process has its lease, in order if it must; all is accounted for."""
        for seed in SEEDS:
            ran = simulate(seed, new_tables(self), STEPS)
            self.assertGreater(len(ran), STEPS)
