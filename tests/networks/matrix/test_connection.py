"""Tests of the connection to Matrix with a double on the loopback interface."""

from __future__ import annotations

import time

from twisted.internet import reactor as the_reactor
from twisted.trial.unittest import TestCase

from tests import needs_network
from tests.networks.matrix.connection import ConnectionTests
from tests.networks.matrix.server import FakeHomeserver


class DoubleTests(ConnectionTests, TestCase):
    """What a real homeserver also does."""

    async def make_server(self) -> None:
        """Start the double."""
        needs_network()
        self.server = FakeHomeserver(the_reactor, time.time)
        self.server.start()
        self.addCleanup(self.stop_server)
        self.url = self.server.url

    async def stop_server(self) -> None:
        """Stop the double, which must have understood everything."""
        await self.server.stop()
        self.assertEqual([failure.getTraceback() for failure in self.server.unexpected], [])
