"""Chat commands as values: their declaration, how a message is read, and who may do what. No network here."""

from errklein.commands.access import Caller, Denial, decide
from errklein.commands.declaration import CommandDeclaration, CommandError, botcmd
from errklein.commands.parsing import Prefixes, find_command, strip_prefix
from errklein.commands.registry import CommandRegistry, RegisteredCommand

__all__ = [
    "Caller",
    "CommandDeclaration",
    "CommandError",
    "CommandRegistry",
    "Denial",
    "Prefixes",
    "RegisteredCommand",
    "botcmd",
    "decide",
    "find_command",
    "strip_prefix",
]
