"""The module of irc.plug."""

from errklein.networks.irc import IRCBackend as IRCBackend
