"""errklein: chat commands and webhooks on one Twisted reactor. Plugin authors import from here."""

from errklein._version import __version__
from errklein.chat import AWAY, DND, OFFLINE, ONLINE, Identifier, Message, Person, Presence, Room, RoomOccupant
from errklein.commands import Command, CommandError, arg_botcmd, botcmd, botmatch, cmdfilter, re_botcmd
from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.structure import ValidationException, recurse_check_structure
from errklein.running import on_reactor
from errklein.webhooks import webhook

__all__ = [
    "AWAY",
    "DND",
    "OFFLINE",
    "ONLINE",
    "BotPlugin",
    "Command",
    "CommandError",
    "Identifier",
    "Message",
    "Person",
    "Presence",
    "Room",
    "RoomOccupant",
    "ValidationException",
    "__version__",
    "arg_botcmd",
    "botcmd",
    "botmatch",
    "cmdfilter",
    "on_reactor",
    "re_botcmd",
    "recurse_check_structure",
    "webhook",
]
