"""The simulation with outbox and network: the guarantees hold."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.journal.outbox_simulation import OutboxSimulation
from tests.journal.simulation import simulate

SEEDS = 30


class OutboxSimulationTests(SynchronousTestCase):
    """The guarantees of messages in worlds from many seeds."""

    def test_messages_are_sent(self) -> None:
        """A stored message arrives, or is reported, in the order of its lane; twice only across a break or a crash."""
        for seed in range(SEEDS):
            simulate(seed, OutboxSimulation)
