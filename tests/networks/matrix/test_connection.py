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

    async def test_forged_alias(self) -> None:
        """A room doesn't become the configured one by writing the alias into it."""
        bob = await self.person("bob")
        bot = await self.in_room()
        alias = {"type": "m.room.canonical_alias", "content": {"alias": self.alias}}
        forged = await bob.make_room(self.bot.user, preset="private_chat", initial_state=[alias])
        await self.alice.say(self.room, "!now")
        await bot.events.hear("!now")
        self.assertFalse(bot.backend.membership.is_joined(forged))
