"""Stored persons and rooms of XMPP and Telegram. errklein has no such networks, and no longer has classes for them."""

from __future__ import annotations

from errklein.chat import Identifier

_TELEGRAM = ("TelegramMUCOccupant", "TelegramPerson", "TelegramRoom")
_XMPP = ("XMPPPerson", "XMPPRoom", "XMPPRoomOccupant")
_CLASSES = {
    "errbot.backends.telegram_messenger": _TELEGRAM,
    "errbot.backends.xmpp": _XMPP,
    "errklein.compat.backends.telegram": _TELEGRAM,
    "errklein.compat.backends.xmpp": _XMPP,
}


class FormerIdentifier(Identifier):
    """A person or room as it was stored, with the attributes of the class that it had then.

    `str()` is the address: of Telegram a number, of XMPP `node@domain/resource`. No network can send it a message.
    """

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


def is_former_identifier(module: str, qualname: str) -> bool:
    """Whether a stored value names a class that FormerIdentifier stands for."""
    return qualname in _CLASSES.get(module, ())
