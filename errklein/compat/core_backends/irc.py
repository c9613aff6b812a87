"""The module of irc.plug."""

from errklein.networks.irc import IRCBackend

__all__ = ["IRCBackend"]
