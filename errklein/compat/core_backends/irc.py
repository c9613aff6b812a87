"""The class of the network IRC."""

from errklein.backends.irc import IRCBackend

__all__ = ["IRCBackend"]
