"""Chat commands as values: their declaration, how a message is read, and who may do what. No network here."""

from errklein.commands.access import Caller
from errklein.commands.arg_botcmd import arg_botcmd
from errklein.commands.arguments import (
    ARG_BOTCMD_CHARACTER_REPLACEMENTS,
    ArgParserBase,
    ArgumentParseError,
    ArgumentParser,
    HelpRequested,
    SeparatorArgParser,
    ShlexArgParser,
)
from errklein.commands.declaration import CommandDeclaration, CommandError
from errklein.commands.decorators import botcmd, botmatch, cmdfilter, re_botcmd
from errklein.commands.dynamic import Command
from errklein.commands.parsing import Prefixes, find_command, strip_prefix
from errklein.commands.registry import CommandRegistry, RegisteredCommand

__all__ = [
    "ARG_BOTCMD_CHARACTER_REPLACEMENTS",
    "ArgParserBase",
    "ArgumentParseError",
    "ArgumentParser",
    "Caller",
    "Command",
    "CommandDeclaration",
    "CommandError",
    "CommandRegistry",
    "HelpRequested",
    "Prefixes",
    "RegisteredCommand",
    "SeparatorArgParser",
    "ShlexArgParser",
    "arg_botcmd",
    "botcmd",
    "botmatch",
    "cmdfilter",
    "find_command",
    "re_botcmd",
    "strip_prefix",
]
