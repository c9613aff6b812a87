"""Stored persons and rooms that errklein has no classes for: those of XMPP and Telegram, and masks of errbot on IRC."""

from __future__ import annotations

from errklein.chat import Identifier
from errklein.compat._running_bots import running_bots

_TELEGRAM = ("TelegramMUCOccupant", "TelegramPerson", "TelegramRoom")
_XMPP = ("XMPPPerson", "XMPPRoom", "XMPPRoomOccupant")
_CLASSES = {
    "errbot.backends.telegram_messenger": _TELEGRAM,
    "errbot.backends.xmpp": _XMPP,
    "errklein.compat.backends.telegram": _TELEGRAM,
    "errklein.compat.backends.xmpp": _XMPP,
}


class FormerIdentifier(Identifier):
    """A stored person or room, with the attributes of its former class. `str()` is the address: a number for Telegram,
    `node@domain/resource` for XMPP. Messages can't be sent to it."""

    @property
    def aclattr(self) -> str:
        """The address without the resource."""
        state = vars(self)
        return str(state["_id"]) if "_id" in state else "@".join(filter(None, map(state.get, ("_node", "_domain"))))

    person = aclattr

    def __str__(self) -> str:
        return "/".join(filter(None, (self.aclattr, vars(self).get("_resource"))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FormerIdentifier) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class NickMask(str):
    """The mask in a person that errbot has stored on IRC, which the package irc defines."""

    __slots__ = ()

    @property
    def network(self) -> str:
        """The name of the running bot's IRC network; "" without one. errbot has one network, and stores no name."""
        bot = running_bots.newest
        networks = {} if bot is None else bot.bot_config.networks
        return next((name for name, view in networks.items() if view.BACKEND == "IRC"), "")


def is_former_identifier(module: str, qualname: str) -> bool:
    """Return whether FormerIdentifier replaces the class that a stored value uses."""
    return qualname in _CLASSES.get(module, ())
