"""Persons, rooms and occupants on Matrix.

Ids are compared exactly, as the specification demands: `@Alice:example.org` is another person than `@alice:example.org`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from errklein.chat import Person, Room, RoomOccupant, read_only

# Of the characters that old ids may have, those that look like the end of a line or of a word are left out.
_LOCAL = r"[^\s:\x00-\x1f\x7f]+"
_IS_USER = re.compile(rf"@{_LOCAL}:[A-Za-z0-9.:\[\]-]+")
_IS_ALIAS = re.compile(rf"#{_LOCAL}:[A-Za-z0-9.:\[\]-]+")
# Since version 12 of rooms, ids have no server.
_IS_ROOM_ID = re.compile(r"![^\s/\x00-\x1f\x7f]+")
_MOST = 255
"""The largest size of an id, in bytes."""


def is_user(text: str) -> bool:
    """Return whether the text is the id of a person, such as @alice:example.org."""
    return _IS_USER.fullmatch(text) is not None and len(text.encode()) <= _MOST


def is_room(text: str) -> bool:
    """Return whether the text is the id of a room, or an alias such as #ops:example.org."""
    return (_IS_ALIAS if text[:1] == "#" else _IS_ROOM_ID).fullmatch(text) is not None and len(text.encode()) <= _MOST


class MatrixPerson(Person):
    """A person on Matrix, identified by id and network.

    :param user: The id, such as @alice:example.org.
    :param network: The network's name.
    :param name: The display name; "" if it is unknown. Anybody may choose any name.
    :raises ValueError: `user` is invalid.
    """

    person: str = read_only("_user", "The id.")
    aclattr: str = read_only("_user", "The id, which BOT_ADMINS and access rules are matched against.")

    def __init__(self, user: str, network: str = "", name: str = "") -> None:
        if not is_user(user):
            raise ValueError(f"invalid person: {user!r}; expected an id such as @alice:example.org")
        self._user, self.network, self._name = user, network, name

    @property
    def client(self) -> str | None:
        """None: messages don't state the device."""
        return None

    @property
    def nick(self) -> str | None:
        """The display name, or else the id; with the id if others in the room have the same name."""
        return self._name or self._user

    @property
    def fullname(self) -> str | None:
        """The display name; None if it is unknown."""
        return self._name or None

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, MatrixPerson) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        return self._user

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def _key(self) -> tuple[Any, ...]:
        return self.network, self._user


class MatrixRoom(Room):
    """A room, identified by its id, or by an alias until that is resolved. `str()` returns the id if it is known.

    :param text: The id, such as !abc:example.org, or an alias, such as #ops:example.org.
    :param network: The network's name.
    :param id: The id that the alias belongs to; "" if it is unknown.
    :raises ValueError: `text` is neither.
    """

    def __init__(self, text: str, network: str = "", id: str = "") -> None:
        if not is_room(text):
            raise ValueError(
                f"invalid room: {text!r}; expected an alias such as #ops:example.org, or an id such as !abc"
            )
        self.text, self.network = text, network
        self._id = id or (text if text[0] == "!" else "")

    @property
    def id(self) -> str:
        """The id; "" while it is unknown."""
        return self._id

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, MatrixRoom)
            and other.network == self.network
            and (other.text == self.text or bool(other.id and other.id == self.id))
        )

    def __hash__(self) -> int:
        # An alias equals its id as soon as that is known, and the hash must not change then.
        return hash((MatrixRoom, self.network))

    def __str__(self) -> str:
        return self.id or self.text

    def __repr__(self) -> str:
        return f"<MatrixRoom {self.text}>"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Plugins store identifiers. The connection can't be pickled.
        return MatrixRoom, (self.text, self.network, self.id)


class MatrixOccupant(MatrixPerson, RoomOccupant):
    """A person in a room, identified by id, room and network. `str()` returns the room and the person: `!abc:hs/@alice:hs`."""

    room: MatrixRoom = read_only("_room", "The room that the person is in.")

    def __init__(self, user: str, room: MatrixRoom, name: str = "") -> None:
        super().__init__(user, room.network, name)
        self._room = room

    @property
    def as_person(self) -> MatrixPerson:
        """The same person without the room, as a recipient of private messages."""
        return MatrixPerson(self._user, self.network, self._name)

    def __str__(self) -> str:
        return f"{self._room}/{self._user}"

    def _key(self) -> tuple[Any, ...]:
        return *super()._key(), self._room


def split_occupant(text: str) -> tuple[str, str] | None:
    """Return the room and the person in `ROOM/@alice:hs`; None for any other text."""
    room, slash, user = text.partition("/@")
    return (room, f"@{user}") if slash and is_room(room) and is_user(f"@{user}") else None
