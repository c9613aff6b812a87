"""Tests of the connection to Matrix with a real Synapse."""

from __future__ import annotations

from itertools import count
from typing import ClassVar

from twisted.internet import reactor as the_reactor
from twisted.trial.unittest import TestCase

from tests.networks.matrix.connection import ConnectionTests
from tests.networks.matrix.synapse import Synapse


class SynapseTests(ConnectionTests, TestCase):
    """All tests use one homeserver, and accounts and rooms of their own."""

    _server: ClassVar[Synapse | None] = None
    _numbers = count(1)

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop the homeserver."""
        if cls._server is not None:
            cls._server.stop()
            cls._server = None

    async def make_server(self) -> None:
        """Start the homeserver before the first test."""
        if SynapseTests._server is None:
            SynapseTests._server = Synapse()
            SynapseTests._server.start()
        await SynapseTests._server.wait_until_up(the_reactor)
        self.url, self.suffix = SynapseTests._server.url, f"-{next(self._numbers)}"
