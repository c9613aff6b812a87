"""Preparation of identifiers from third-party backends.

The network is recorded in them, and attributes that may block are read before they get to the reactor.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from errklein.chat import Identifier, Message, Person, RoomOccupant


class NetworkStamp:
    """Records the name of the network in identifiers, since a third-party backend doesn't know it."""

    def __init__(self, network: str) -> None:
        self._network = network

    def identifier(self, identifier: Any) -> Any:
        """Record the network in the identifier and, for an occupant, in its room. Returns the identifier."""
        for part in (identifier, getattr(identifier, "room", None) if isinstance(identifier, RoomOccupant) else None):
            if isinstance(part, Identifier) and part.network != self._network:
                # Some identifiers are immutable; they count as identifiers of the network that is being handled.
                with suppress(Exception):
                    part.network = self._network
        return identifier

    def details(self, details: Iterable[Any]) -> None:
        """Record the network in all identifiers in the details of an event."""
        for detail in details:
            if isinstance(detail, Message):
                self.message(detail)
            elif isinstance(detail, (list, tuple)):
                self.details(detail)
            else:
                for part in (detail, *(getattr(detail, name, None) for name in ("identifier", "reactor"))):
                    self.identifier(part)

    def message(self, message: Message) -> None:
        """Record the network in the sender and recipient."""
        self.identifier(message.frm)
        self.identifier(message.to)


def ask_beforehand(message: Message) -> None:
    """Read the attributes that access control uses on the reactor, in a thread where they may block.

    Backends cache them.
    """
    for identifier in (message.frm, message.to):
        for name in ("person", "aclattr", "nick") if isinstance(identifier, Person) else ("aclattr",):
            with suppress(Exception):
                getattr(identifier, name)
        with suppress(Exception):
            str(identifier)
