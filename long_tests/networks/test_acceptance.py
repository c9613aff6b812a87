"""The acceptance script on real servers that need seconds to start, or that Debian's packages have: Synapse, ergo and InspIRCd."""

from __future__ import annotations

from typing import Any

from long_tests.networks.acceptance import AcceptanceCase, Site
from long_tests.networks.sites import IRCSite, MatrixSite
from tests.networks.irc.ergo import Ergo
from tests.networks.irc.inspircd import NO_LIMITS, Inspircd
from tests.networks.matrix.people import Person
from tests.networks.matrix.synapse import Synapse


class SynapseTests(AcceptanceCase):
    """Matrix."""

    def make_site(self, reactor: Any) -> Site:
        """Return the network."""
        server = Synapse()

        async def start() -> str:
            server.start()
            await server.wait_until_up(reactor)
            for name in ("alice", "bob", "errklein"):
                await Person(reactor, server.url, name).register()
            return server.url

        async def stop() -> None:
            server.stop()

        return MatrixSite(reactor, start, stop)

    async def test_script(self) -> None:
        """All steps hold."""
        await self.run_script()


class ErgoTests(AcceptanceCase):
    """IRC with accounts and history."""

    def make_site(self, reactor: Any) -> Site:
        """Return the network."""
        return IRCSite(reactor, Ergo)

    async def test_script(self) -> None:
        """All steps hold, or what the network lacks is replaced as the table says."""
        await self.run_script()


class InspircdTests(AcceptanceCase):
    """IRC."""

    def make_site(self, reactor: Any) -> Site:
        """Return the network."""
        return IRCSite(reactor, lambda: Inspircd(NO_LIMITS), rate=0.1)

    async def test_script(self) -> None:
        """All steps hold, or what the network lacks is replaced as the table says."""
        await self.run_script()
