"""Persons, rooms and occupants on Matrix. Ids are compared exactly, as the specification demands: `@Alice:example.org`
is another person than `@alice:example.org`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from errklein.networks.base import LocalPerson, Member
from errklein.networks.directory import ManagedRoom

# Of the characters that old ids may have, those that look like the end of a line or of a word are left out.
_LOCAL = r"[^\s:\x00-\x1f\x7f\ud800-\udfff]{1,254}"
_IS_USER = re.compile(rf"@{_LOCAL}:[A-Za-z0-9.:\[\]-]+")
_IS_ALIAS = re.compile(rf"#{_LOCAL}:[A-Za-z0-9.:\[\]-]+")
# Since version 12 of rooms, ids have no server.
_IS_ROOM_ID = re.compile(r"![^\s/\x00-\x1f\x7f\ud800-\udfff]+")
_MOST = 255
"""The largest size of an id, in bytes."""


def is_user(text: str) -> bool:
    """Return whether the text is the id of a person, such as @alice:example.org."""
    return _IS_USER.fullmatch(text) is not None and len(text.encode()) <= _MOST


def is_room(text: str) -> bool:
    """Return whether the text is the id of a room, or an alias such as #ops:example.org."""
    return (_IS_ALIAS if text[:1] == "#" else _IS_ROOM_ID).fullmatch(text) is not None and len(text.encode()) <= _MOST


class MatrixPerson(LocalPerson):
    """A person on Matrix, identified by an id such as @alice:example.org and network. An invalid id raises ValueError.
    `name` is the display name; "" if it is unknown. Anybody may choose any name."""

    def __init__(self, user: str, network: str = "", name: str = "") -> None:
        if not is_user(user):
            raise ValueError(f"invalid person: {user!r}; expected an id such as @alice:example.org")
        super().__init__(user, nick=name or user, fullname=name or None)
        self.network = network


class MatrixRoom(ManagedRoom):
    """A room, identified by its id, such as !abc:example.org, or by an alias, such as #ops:example.org, until that is resolved."""

    def __init__(self, text: str, network: str = "", id: str = "", *known: Any, **options: Any) -> None:
        if not is_room(text):
            raise ValueError(f"invalid room: {text!r}; expected an alias such as #ops:example.org, or an id such as !a")
        super().__init__(text, network, id or (text if text[0] == "!" else ""), *known, **options)

    @property
    def claimed(self) -> Sequence[str]:
        aliases: Sequence[str] = self._act.known(self.id).aliases if self._actions is not None else ()
        return aliases


class MatrixOccupant(Member, MatrixPerson):
    """A person in a room, identified by id, room and network. `str()` returns the room and the person: `!abc:hs/@alice:hs`."""

    def __init__(self, user: str, room: MatrixRoom, name: str = "") -> None:
        super().__init__(user, room.network, name)
        self._room = room


def split_occupant(text: str) -> tuple[str, str] | None:
    """Return the room and the person in `ROOM/@alice:hs`; None for any other text."""
    room, slash, user = text.partition("/@")
    return (room, f"@{user}") if slash and is_room(room) and is_user(f"@{user}") else None
