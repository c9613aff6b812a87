"""The acceptance script on ejabberd, on the asyncio reactor, which slixmpp needs."""

from __future__ import annotations

from typing import Any

from long_tests.networks.acceptance import AcceptanceCase, Site
from long_tests.networks.sites import XMPPSite
from tests.networks.xmpp.ejabberd import Ejabberd
from tests.networks.xmpp.people import needs_asyncio


class EjabberdTests(AcceptanceCase):
    """XMPP."""

    def make_site(self, reactor: Any) -> Site:
        """Return the network."""
        needs_asyncio(reactor)
        site = XMPPSite(reactor, Ejabberd("alice", "bob", "errklein"))
        site.file_name = "_repeat_a_file.bin"
        return site

    async def test_script(self) -> None:
        """All steps hold, or what the network lacks is replaced as the table says."""
        await self.run_script()
