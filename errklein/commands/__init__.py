"""Declaration, registration and parsing of chat commands, access rules, command history and flows.

Nothing in this package does I/O; `errklein.dispatch` runs commands.
"""

from errklein.commands._access_validation import NAME_PATTERN_KEYS, InvalidValue, check_rule, check_rules, unmatched
from errklein.commands._arguments import (
    ARG_BOTCMD_CHARACTER_REPLACEMENTS,
    ArgParserBase,
    ArgumentParseError,
    ArgumentParser,
    HelpRequested,
    SeparatorArgParser,
    ShlexArgParser,
)
from errklein.commands._declaration import (
    CommandDeclaration,
    CommandError,
    concurrent,
    documentation,
    is_concurrent,
    is_core,
    with_prefix,
)
from errklein.commands._decorators import botcmd, botmatch, cmdfilter, re_botcmd
from errklein.commands._dynamic import Command
from errklein.commands._history import History, Sender, contains_recall, recall_position
from errklein.commands._parsing import Prefixes, command_hint, find_command, strip_prefix, unknown_command
from errklein.commands._registry import CommandRegistry, FilterRegistry, RegisteredCommand, RegisteredFilter
from errklein.commands.access import (
    Caller,
    admin_by_default,
    check_access,
    explain_access,
    get_acl_room,
    get_acl_usr,
    is_admin_by_default,
    needs_admin,
)
from errklein.commands.arg_botcmd import arg_botcmd
from errklein.commands.flows import FLOW_END, Flow, FlowNode, FlowRoot, botflow, never

__all__ = [
    "ARG_BOTCMD_CHARACTER_REPLACEMENTS",
    "FLOW_END",
    "NAME_PATTERN_KEYS",
    "ArgParserBase",
    "ArgumentParseError",
    "ArgumentParser",
    "Caller",
    "Command",
    "CommandDeclaration",
    "CommandError",
    "CommandRegistry",
    "FilterRegistry",
    "Flow",
    "FlowNode",
    "FlowRoot",
    "HelpRequested",
    "History",
    "InvalidValue",
    "Prefixes",
    "RegisteredCommand",
    "RegisteredFilter",
    "Sender",
    "SeparatorArgParser",
    "ShlexArgParser",
    "admin_by_default",
    "arg_botcmd",
    "botcmd",
    "botflow",
    "botmatch",
    "check_access",
    "check_rule",
    "check_rules",
    "cmdfilter",
    "command_hint",
    "concurrent",
    "contains_recall",
    "documentation",
    "explain_access",
    "find_command",
    "get_acl_room",
    "get_acl_usr",
    "is_admin_by_default",
    "is_concurrent",
    "is_core",
    "needs_admin",
    "never",
    "re_botcmd",
    "recall_position",
    "strip_prefix",
    "unknown_command",
    "unmatched",
    "with_prefix",
]
