"""The module that irc.plug names: the class of the network IRC."""

from errklein.backends.irc import IRCBackend

__all__ = ["IRCBackend"]
