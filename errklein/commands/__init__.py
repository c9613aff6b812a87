"""Declaration, registration and parsing of chat commands, access rules and flows. Nothing in this
package does I/O; `errklein.dispatch` runs commands."""

from errklein.commands._declaration import (
    ARG_BOTCMD_CHARACTER_REPLACEMENTS,
    ArgParserBase,
    ArgumentParseError,
    ArgumentParser,
    Command,
    CommandDeclaration,
    CommandError,
    HelpRequested,
    SeparatorArgParser,
    ShlexArgParser,
    admin_by_default,
    also_in_rooms,
    arg_botcmd,
    botcmd,
    botmatch,
    cmdfilter,
    concurrent,
    documentation,
    is_admin_by_default,
    re_botcmd,
    with_prefix,
)
from errklein.commands._registry import (
    CommandRegistry,
    FilterRegistry,
    RegisteredCommand,
    RegisteredFilter,
    command_hint,
    similar_commands,
    unknown_command,
)
from errklein.commands.access import Caller, check_access, explain_access, get_acl_room, get_acl_usr, unmatched
from errklein.commands.flows import FLOW_END, Flow, FlowNode, FlowRoot, botflow, never

__all__ = ["SeparatorArgParser", "ShlexArgParser"]
"""The names for plugins. Further names are those that other packages of errklein use."""
