"""The IRC network, built on Twisted's IRCClient."""

from errklein.config.networks import Network
from errklein.networks.irc._backend import IRCBackend
from errklein.networks.irc.identifiers import IRCPerson, IRCRoom, IRCRoomOccupant
from errklein.networks.irc.settings import SETTINGS

__all__ = ["IRCBackend", "IRCPerson", "IRCRoom", "IRCRoomOccupant"]

_IDENTIFIERS = "errklein.networks.irc.identifiers"

NETWORK = Network(
    "IRC",
    "IRC, with TLS and SASL",
    SETTINGS,
    lambda context: IRCBackend(context.reactor, context.config),
    values=[f"{_IDENTIFIERS}:{name}" for name in ("IRCPerson", "IRCRoom", "IRCRoomOccupant", "_stored_room")],
    defaults={"COMPACT_OUTPUT": True},
)
