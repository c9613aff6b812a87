"""Who is who on XMPP, for plugins that ask for errbot's classes of it; there is no such network here."""

from __future__ import annotations

from typing import Any

from errklein.chat import Identifier, Person, Room, RoomOccupant


def split_identifier(txtrep: str) -> tuple[str, str, str | None]:
    """The parts of an address "node@domain/resource" (RFC 7622, 3.1); "" without a node, None without a resource."""
    bare, slash, resource = txtrep.partition("/")
    node, at, domain = bare.partition("@")
    return (node if at else "", domain if at else bare, resource if slash else None)


class XMPPIdentifier(Identifier):
    """An address. Two with the same node and domain are equal, whatever their resources."""

    def __init__(self, node: str | None, domain: str, resource: str | None) -> None:
        if not domain:
            raise ValueError("an XMPP address needs a domain")
        self._node = node
        self._domain = domain
        self._resource = resource

    @property
    def node(self) -> str | None:
        """What stands before the @, if anything does."""
        return self._node

    @property
    def domain(self) -> str:
        """The host."""
        return self._domain

    @property
    def resource(self) -> str | None:
        """The device or session, if one is named."""
        return self._resource

    @property
    def person(self) -> str:
        """The address without the resource."""
        return f"{self._node}@{self._domain}" if self._node else self._domain

    @property
    def nick(self) -> str | None:
        """What stands before the @."""
        return self._node

    @property
    def fullname(self) -> str | None:
        """Nothing: an address has no long name."""
        return None

    @property
    def email(self) -> str:
        """Nothing: an address is none for mail."""
        return ""

    @property
    def client(self) -> str | None:
        """The resource."""
        return self._resource

    def __eq__(self, other: object) -> bool:
        return isinstance(other, XMPPIdentifier) and self.person == other.person

    def __hash__(self) -> int:
        return hash(self.person)

    def __str__(self) -> str:
        return f"{self.person}/{self._resource}" if self._resource else self.person


class XMPPPerson(XMPPIdentifier, Person):
    """Somebody."""

    @property
    def aclattr(self) -> str:
        """The address without the resource."""
        return self.person


class XMPPRoomOccupant(XMPPPerson, RoomOccupant):
    """Somebody in a room, whose resource is the nick there."""

    def __init__(self, node: str | None, domain: str, resource: str | None, room: Room) -> None:
        super().__init__(node, domain, resource)
        self._room = room

    @property
    def room(self) -> Room:
        """The room."""
        return self._room

    @property
    def person(self) -> str:
        """The whole address: the one without the resource is the room's."""
        return f"{super().person}/{self.resource}"

    @property
    def nick(self) -> str | None:
        """The nick in the room."""
        return self.resource

    def __str__(self) -> str:
        return self.person


class XMPPRoom(XMPPIdentifier, Room):
    """A room. Nothing can be done to it."""

    def __init__(self, room_jid: str, bot: Any = None) -> None:
        super().__init__(*split_identifier(room_jid))
        self._bot = bot
