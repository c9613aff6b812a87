"""The IRC backend, built on Twisted's IRCClient."""

from errklein.networks.irc._backend import IRCBackend
from errklein.networks.irc.identifiers import IRCPerson, IRCRoom, IRCRoomOccupant

__all__ = ["IRCBackend", "IRCPerson", "IRCRoom", "IRCRoomOccupant"]
