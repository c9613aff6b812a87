"""The IRC backend, built on Twisted's IRCClient."""

from errklein.backends.irc._backend import IRCBackend
from errklein.backends.irc.identifiers import IRCPerson, IRCRoom, IRCRoomOccupant

__all__ = ["IRCBackend", "IRCPerson", "IRCRoom", "IRCRoomOccupant"]
