"""Identifiers of networks that were written for errbot: which network they belong to, and their attributes, which may block."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from errklein.chat import Identifier, Message, Person, RoomOccupant


class NetworkStamp:
    """Notes the network in its identifiers, whose classes know of one network only."""

    def __init__(self, network: str) -> None:
        self._network = network

    def identifier(self, identifier: Any) -> Any:
        """The same identifier, after noting the network in it and, for an occupant, in its room."""
        for part in (identifier, getattr(identifier, "room", None) if isinstance(identifier, RoomOccupant) else None):
            if isinstance(part, Identifier) and part.network != self._network:
                # Some are immutable; they count as identifiers of the network that is being handled.
                with suppress(Exception):
                    part.network = self._network
        return identifier

    def details(self, details: Iterable[Any]) -> None:
        """Note it in all identifiers among the details of an event."""
        for detail in details:
            if isinstance(detail, Message):
                self.message(detail)
            elif isinstance(detail, (list, tuple)):
                self.details(detail)
            else:
                for part in (detail, *(getattr(detail, name, None) for name in ("identifier", "reactor"))):
                    self.identifier(part)

    def message(self, message: Message) -> None:
        """Note it in the sender and recipient."""
        self.identifier(message.frm)
        self.identifier(message.to)


def ask_beforehand(message: Message) -> None:
    """Read the attributes that access control reads on the reactor, here where it may block; networks cache them."""
    for identifier in (message.frm, message.to):
        for name in ("person", "aclattr", "nick") if isinstance(identifier, Person) else ("aclattr",):
            with suppress(Exception):
                getattr(identifier, name)
        with suppress(Exception):
            str(identifier)
