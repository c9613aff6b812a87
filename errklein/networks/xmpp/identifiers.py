"""Persons, rooms and occupants on XMPP, with the attributes that plugins know from errbot."""

from __future__ import annotations

import re

from errklein.chat import RoomOccupant, read_only
from errklein.chat.identifiers import Purpose
from errklein.networks.base import LocalPerson
from errklein.networks.directory import ManagedRoom

_JID = re.compile(
    r"([^\s\"&'/:<>@\x00-\x1f\x7f]{1,1023})@([^\s/@\x00-\x1f\x7f]{1,1023})(?:/([^\x00-\x1f\x7f]{1,1023}))?"
)


def split_identifier(text: str) -> tuple[str, str, str | None]:
    """Return node, domain and resource of a JID, as they are compared; None for no resource. ValueError: it has no node."""
    if (found := _JID.fullmatch(text)) is None:
        raise ValueError(f"invalid JID: {text!r}; expected one such as alice@example.org")
    return found[1].lower(), found[2].lower().rstrip("."), found[3]


def bare(text: str) -> str:
    """Return a JID without resource."""
    return "@".join(split_identifier(text)[:2])


class XMPPPerson(LocalPerson):
    """A person on XMPP, identified by node and domain. `str()` returns the JID, with the resource if it is known."""

    node: str = read_only("_node", "The part of the JID before the @.")
    domain: str = read_only("_domain", "The server.")
    resource: str | None = read_only("_client", "The device, or None.")

    def __init__(self, node: str, domain: str, resource: str | None = None, network: str = "", nick: str = "") -> None:
        super().__init__(f"{node}@{domain}", resource, nick or node)
        self._node, self._domain, self.network = node, domain, network

    def __str__(self) -> str:
        return f"{self._person}/{self._client}" if self._client else self._person


class XMPPRoom(ManagedRoom):
    """A room, identified by its JID, such as ops@conference.example.org."""

    name: str = read_only("text", "The JID.")


class XMPPRoomOccupant(XMPPPerson, RoomOccupant):
    """Somebody in a room, identified by the room and the nick there. `str()` returns ROOM/NICK; `node` and `domain` are the room's."""

    room: XMPPRoom = read_only("_room", "The room that the person is in.")
    real_jid: str | None = read_only(
        "_real_jid", "The person's JID without resource, if the server vouches for it; else None."
    )

    def __init__(
        self, node: str, domain: str, nick: str, room: XMPPRoom, network: str = "", real_jid: str = ""
    ) -> None:
        super().__init__(node, domain, nick, network, nick)
        self._room, self._real_jid = room, real_jid or None

    @property
    def person(self) -> str:  # type: ignore[override]
        """The person's JID, or the occupant's text, to which the room passes private messages."""
        return self._real_jid or str(self)

    aclattr = person

    def access_names(self, purpose: Purpose) -> tuple[str, ...]:
        """Return the JID. Others can take a nick, so it only counts to deny."""
        real = (self._real_jid,) if self._real_jid else ()
        return (*real, str(self)) if purpose == "deny" else real

    def _key(self) -> tuple[object, ...]:
        return (str(self),)
