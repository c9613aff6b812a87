"""The module of irc.plug."""

from errklein.networks.irc._backend import IRCBackend as IRCBackend
