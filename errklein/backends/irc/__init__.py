"""IRC, on Twisted's own client."""

from errklein.backends.irc._backend import IRCBackend
from errklein.backends.irc.identifiers import IRCPerson, IRCRoom, IRCRoomOccupant

__all__ = ["IRCBackend", "IRCPerson", "IRCRoom", "IRCRoomOccupant"]
