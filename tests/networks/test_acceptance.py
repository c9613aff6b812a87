"""The acceptance script on networks that take little time: in memory, ngircd, Prosody, and doubles."""

from __future__ import annotations

import time
from typing import Any

from errklein.networks.slack import _backend
from long_tests.networks.acceptance import AcceptanceCase, Site
from long_tests.networks.sites import InMemorySite, IRCSite, MatrixSite, TelegramSite, XMPPSite
from long_tests.networks.slack_site import SlackSite
from tests import needs_network
from tests.networks.irc.ngircd import Ngircd
from tests.networks.matrix.server import FakeHomeserver
from tests.networks.telegram.server import FakeTelegram
from tests.networks.xmpp.people import needs_asyncio
from tests.networks.xmpp.prosody import Prosody


class InMemoryTests(AcceptanceCase):
    """The Test network."""

    def make_site(self, reactor: Any) -> Site:
        """Return the network."""
        return InMemorySite(reactor)

    async def test_script(self) -> None:
        """All steps hold."""
        await self.run_script()


class NgircdTests(AcceptanceCase):
    """IRC."""

    def make_site(self, reactor: Any) -> Site:
        """Return the network."""
        return IRCSite(reactor, lambda: Ngircd(penalties=False))

    async def test_script(self) -> None:
        """All steps hold, or what the network lacks is replaced as the table says."""
        await self.run_script()


class HomeserverDoubleTests(AcceptanceCase):
    """Matrix."""

    def make_site(self, reactor: Any) -> Site:
        """Return the network."""
        needs_network()
        server = FakeHomeserver(reactor, time.time)
        for name in ("alice", "bob", "errklein"):
            server.register(name)

        async def start() -> str:
            server.start()
            return server.url

        async def stop() -> None:
            await server.stop()
            self.assertEqual(server.unexpected, [])

        return MatrixSite(reactor, start, stop)

    async def test_script(self) -> None:
        """All steps hold."""
        await self.run_script()


class TelegramDoubleTests(AcceptanceCase):
    """Telegram."""

    def make_site(self, reactor: Any) -> Site:
        """Return the network."""
        needs_network()
        self.server = FakeTelegram(reactor, time.time)
        return TelegramSite(reactor, self.server)

    async def test_script(self) -> None:
        """All steps hold, and the double has found no wrong call."""
        self.addCleanup(lambda: self.assertEqual(self.server.unexpected, []))
        await self.run_script()


class SlackDoubleTests(AcceptanceCase):
    """Slack."""

    def make_site(self, reactor: Any) -> Site:
        """Return the network, with more messages a second than Slack allows."""
        needs_network()
        self.patch(_backend, "PACE", 0.0)
        return SlackSite(reactor)

    async def test_script(self) -> None:
        """All steps hold."""
        await self.run_script()


class ProsodyTests(AcceptanceCase):
    """XMPP."""

    def make_site(self, reactor: Any) -> Site:
        """Return the network."""
        needs_asyncio(reactor)
        return XMPPSite(reactor, Prosody("alice", "bob", "errklein"))

    async def test_script(self) -> None:
        """All steps hold, or what the network lacks is replaced as the table says."""
        await self.run_script()
