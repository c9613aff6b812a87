"""Who is who on Telegram, for plugins that ask for errbot's classes of it; there is no such network here."""

from __future__ import annotations

from errklein.chat import Identifier, Person, Room, RoomOccupant
from errklein.chat.identifiers import RoomError


class RoomsNotSupportedError(RoomError):
    """Bots can't go through rooms on Telegram."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or "Rooms can't be joined, made or looked into by bots on Telegram")


class TelegramIdentifier(Identifier):
    """Somebody or something by its number. Two with the same number are equal."""

    def __init__(self, id: int) -> None:
        self._id = id

    @property
    def id(self) -> int:
        """The number."""
        return self._id

    @property
    def aclattr(self) -> str:
        """The number, as access rules name it."""
        return str(self._id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TelegramIdentifier) and self._id == other._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __str__(self) -> str:
        return str(self._id)


class TelegramPerson(TelegramIdentifier, Person):
    """Somebody."""

    def __init__(
        self, id: int, first_name: str | None = None, last_name: str | None = None, username: str | None = None
    ) -> None:
        super().__init__(id)
        self._first_name = first_name
        self._last_name = last_name
        self._username = username

    @property
    def first_name(self) -> str | None:
        """The first name, if it is known."""
        return self._first_name

    @property
    def last_name(self) -> str | None:
        """The last name, if it is known."""
        return self._last_name

    @property
    def username(self) -> str | None:
        """The name after the @, if there is one."""
        return self._username

    @property
    def person(self) -> str:
        """The number."""
        return str(self._id)

    @property
    def client(self) -> None:
        """Nothing: Telegram doesn't tell."""
        return

    @property
    def nick(self) -> str | None:
        """The name after the @."""
        return self._username

    @property
    def fullname(self) -> str:
        """Both names, as far as they are known."""
        return " ".join(filter(None, (self._first_name, self._last_name)))


class TelegramRoom(TelegramIdentifier, Room):
    """A group. Nothing can be done to it."""

    def __init__(self, id: int, title: str | None = None) -> None:
        super().__init__(id)
        self._title = title

    @property
    def title(self) -> str | None:
        """What the group is called, if it is known."""
        return self._title


class TelegramMUCOccupant(TelegramPerson, RoomOccupant):
    """Somebody in a group."""

    def __init__(
        self,
        id: int,
        room: TelegramRoom,
        first_name: str | None = None,
        last_name: str | None = None,
        username: str | None = None,
    ) -> None:
        super().__init__(id, first_name, last_name, username)
        self._room = room

    @property
    def room(self) -> TelegramRoom:
        """The group."""
        return self._room
