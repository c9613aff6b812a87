"""The scenario slow clients for a few seconds; benchmarks/slow_clients.py takes longer."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from long_tests.acceptance.slow_clients import DESCRIPTORS, slow_clients

CLIENTS = 2 * DESCRIPTORS


class SlowClientTests(SynchronousTestCase):
    """A real bot, which is attacked by another process."""

    timeout = 60

    def assert_served(self, addresses: int) -> None:
        """Fail unless another client is served as usual. The limit of time is for a busy machine."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        figures = slow_clients(directory, CLIENTS, addresses, seconds=3)
        self.assertEqual(figures.problems(p99=0.8), [], figures.report())

    def test_one_address(self) -> None:
        """Slow clients with one address don't keep another client out."""
        self.assert_served(1)

    def test_many_addresses(self) -> None:
        """Slow clients with an address each don't keep another client out, though they use all file descriptors."""
        self.assert_served(CLIENTS)
