"""The module of irc.plug."""

from errklein.backends.irc import IRCBackend

__all__ = ["IRCBackend"]
