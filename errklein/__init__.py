"""A chatbot on Twisted with commands and webhooks, which runs errbot's plugins.

Plugins import all names from this package::

    from errklein import BotPlugin, botcmd


    class Greeter(BotPlugin):
        @botcmd
        def hello(self, message, args):
            return f"Hello, {args or message.frm.person}!"
"""

from errklein._version import __version__
from errklein.chat import (
    AWAY,
    DND,
    OFFLINE,
    ONLINE,
    Identifier,
    Message,
    Person,
    Presence,
    Reaction,
    Room,
    RoomOccupant,
    Stream,
)
from errklein.commands import (
    FLOW_END,
    Command,
    CommandError,
    Flow,
    FlowRoot,
    arg_botcmd,
    botcmd,
    botflow,
    botmatch,
    cmdfilter,
    re_botcmd,
)
from errklein.plugins import BotFlow, BotPlugin, ValidationException, recurse_check_structure
from errklein.running import on_reactor
from errklein.webhooks import webhook

__all__ = [
    "AWAY",
    "DND",
    "FLOW_END",
    "OFFLINE",
    "ONLINE",
    "BotFlow",
    "BotPlugin",
    "Command",
    "CommandError",
    "Flow",
    "FlowRoot",
    "Identifier",
    "Message",
    "Person",
    "Presence",
    "Reaction",
    "Room",
    "RoomOccupant",
    "Stream",
    "ValidationException",
    "__version__",
    "arg_botcmd",
    "botcmd",
    "botflow",
    "botmatch",
    "cmdfilter",
    "on_reactor",
    "re_botcmd",
    "recurse_check_structure",
    "webhook",
]
