"""The XMPP network, as a client of a server. Its connection is that of slixmpp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from errklein.config.networks import Network, NetworkFinding
from errklein.networks.xmpp.settings import SETTINGS

if TYPE_CHECKING:
    from errklein.networks.context import NetworkContext
    from errklein.ports.chat import Backend

__all__ = ["NETWORK"]

_IDENTIFIERS = "errklein.networks.xmpp.identifiers"


def _make(context: NetworkContext) -> Backend:
    from errklein.networks.xmpp._backend import XMPPBackend

    return XMPPBackend(context)


async def _check(context: NetworkContext) -> Sequence[NetworkFinding]:
    from errklein.networks.xmpp._client import check

    return [NetworkFinding(text) for text in await check(context)]


NETWORK = Network(
    "XMPP",
    "XMPP (Jabber), with a password",
    SETTINGS,
    _make,
    values=[f"{_IDENTIFIERS}:{name}" for name in ("XMPPPerson", "XMPPRoom", "XMPPRoomOccupant")],
    libraries=["slixmpp"],
    extra="errklein[xmpp]",
    admin="alice@example.org",
    mentions_all=False,
    check=_check,
)
