"""The simulation of sources, crashes and full disks: the guarantees hold."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.journal.simulation import simulate

SEEDS = 50


class SimulationTests(SynchronousTestCase):
    """The guarantees in worlds from many seeds."""

    def test_guarantees(self) -> None:
        """What was acknowledged runs; what is done doesn't run again; nothing runs twice at the same time."""
        for seed in range(SEEDS):
            simulate(seed)
