"""Tests of the connection to Matrix with a real Synapse."""

from __future__ import annotations

import atexit
from itertools import count
from typing import ClassVar

from twisted.internet import reactor as the_reactor
from twisted.trial.unittest import TestCase

from tests.networks.matrix import people
from tests.networks.matrix.connection import ConnectionTests
from tests.networks.matrix.people import Connected, Person
from tests.networks.matrix.synapse import Synapse


class SynapseTests(ConnectionTests, TestCase):
    """All tests use one homeserver, and accounts and rooms of their own."""

    _server: ClassVar[Synapse | None] = None
    _numbers = count(1)

    async def make_server(self) -> None:
        """Start the homeserver before the first test."""
        if SynapseTests._server is None:
            SynapseTests._server = Synapse()
            SynapseTests._server.start()
            # Trial doesn't call tearDownClass.
            atexit.register(SynapseTests._server.stop)
        await SynapseTests._server.wait_until_up(the_reactor)
        self.url, self.suffix = SynapseTests._server.url, f"-{next(self._numbers)}"

    async def test_killed_server(self) -> None:
        """While the homeserver is killed and returns, 100 lines arrive in order, once."""
        server = SynapseTests._server
        assert server is not None
        bot = await self.in_room()
        sent = [bot.send(self.room, f"line {number}") for number in range(100)]
        await sent[10]
        server.kill()
        await bot.events.until(lambda: bot.events.named("backend_disconnected"), "the loss")
        server.start()
        await server.wait_until_up(the_reactor)
        for each in sent:
            await each
        self.assertEqual(await self.alice.texts(self.room), [f"line {number}" for number in range(100)])
        await self.alice.say(self.room, "!status")
        await bot.events.hear("!status")

    async def test_half_open_connection(self) -> None:
        """A homeserver that stops answering, with its connections open, is noticed within a minute; then messages arrive, once."""
        self.patch(people, "PATIENCE", 60.0)
        server = SynapseTests._server
        assert server is not None
        bot = await self.in_room()
        await bot.send(self.room, "before")
        server.freeze()
        self.addCleanup(server.freeze, False)
        sent = bot.send(self.room, "meanwhile")
        await bot.events.until(lambda: bot.events.named("backend_disconnected"), "noticing")
        server.freeze(False)
        await sent
        self.assertEqual(await self.alice.texts(self.room), ["before", "meanwhile"])

    async def test_database_that_was_restored(self) -> None:
        """A position of a later time than the homeserver's database has is given up, and commands run again after that."""
        bot = await self.in_room()
        await self.alice.say(self.room, "!first")
        await bot.events.hear("!first")
        await bot.stop()
        position = (await bot.context.state.get("sync"))["position"]
        number, _, rest = position["since"].partition("_")
        position = {**position, "since": f"s{int(number[1:]) + 100000}_{rest}"}
        await bot.context.state.set("sync", {"position": position, "ids": []})
        bot.make()
        await bot.start()
        await self.alice.say(self.room, "!now")
        await bot.events.hear("!now")


class LimitedTests(TestCase):
    """A homeserver that accepts few messages."""

    async def test_limits(self) -> None:
        """More messages than the homeserver accepts arrive in order, without an attempt that it counts as another one."""
        server = Synapse(rc_message={"per_second": 5, "burst_count": 5})
        self.addCleanup(server.stop)
        server.start()
        await server.wait_until_up(the_reactor)
        alice = await Person(the_reactor, server.url, "alice").register()
        bot_account = await Person(the_reactor, server.url, "err").register()
        rooms = [await alice.make_room(bot_account.user) for _ in range(2)]
        identity = {"user": bot_account.user, "password": "pw-err"}
        bot = Connected(the_reactor, server.url, identity)
        self.addCleanup(lambda: bot.stop())
        await bot.start()
        for room in rooms:
            await bot.events.until(lambda: bot.backend.membership.is_joined(room), "joining")  # noqa: B023 - at once
        sent = [bot.send(room, f"line {number}") for number in range(10) for room in rooms]
        for each in sent:
            await each
        for room in rooms:
            self.assertEqual(await alice.texts(room), [f"line {number}" for number in range(10)])
        self.assertEqual(bot.events.named("backend_disconnected"), [])
