"""The IRC network, built on Twisted's IRCClient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from errklein.config.networks import Network, NetworkFinding
from errklein.networks.irc.identifiers import IRCPerson, IRCRoom, IRCRoomOccupant
from errklein.networks.irc.settings import SETTINGS

if TYPE_CHECKING:
    from errklein.networks.context import NetworkContext
    from errklein.networks.irc._backend import IRCBackend

__all__ = ["IRCBackend", "IRCPerson", "IRCRoom", "IRCRoomOccupant"]

_IDENTIFIERS = "errklein.networks.irc.identifiers"


def __getattr__(name: str) -> Any:
    # Imported on first use: whoever reads a configuration needs only the descriptor.
    if name == "IRCBackend":
        from errklein.networks.irc._backend import IRCBackend

        return IRCBackend
    raise AttributeError(f"module 'errklein.networks.irc' has no attribute {name!r}")


def _make(context: NetworkContext) -> IRCBackend:
    from errklein.networks.irc._backend import IRCBackend

    return IRCBackend(context)


async def _check(context: NetworkContext) -> list[NetworkFinding]:
    from errklein.networks.irc._backend import ConnectionCheck

    return [NetworkFinding(await ConnectionCheck(context).result())]


NETWORK = Network(
    "IRC",
    "IRC, with TLS and SASL",
    SETTINGS,
    _make,
    values=[f"{_IDENTIFIERS}:{name}" for name in ("IRCPerson", "IRCRoom", "IRCRoomOccupant", "_stored_room")],
    defaults={"COMPACT_OUTPUT": True},
    admin="alice!*@alice.example.org",
    mentions_all=False,
    check=_check,
)
