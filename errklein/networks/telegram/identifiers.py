"""Persons, rooms and occupants on Telegram. Each is identified by its number, which Telegram gives, and nobody can choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from errklein.networks.base import LocalPerson, Member
from errklein.networks.directory import ManagedRoom


class TelegramPerson(LocalPerson):
    """A person on Telegram, identified by id and network. The names, if there are any, are those that the person has chosen."""

    def __init__(
        self, id: int | str, first_name: str | None = None, last_name: str | None = None, username: str | None = None
    ) -> None:
        full = " ".join(filter(None, (first_name, last_name))) or None
        super().__init__(str(id), nick=username or full, fullname=full)
        self.id, self.first_name, self.last_name, self.username = int(id), first_name, last_name, username


class TelegramRoom(ManagedRoom):
    """A group or channel, identified by an id such as -1001234567890 and network. If a group becomes a supergroup, its ids are equal."""

    @property
    def id(self) -> str:
        """The id, that of the supergroup as soon as it is known."""
        return (self._names.known(self.text) if self._names is not None else None) or self.text

    @property
    def title(self) -> str | None:
        return self._act.title_of(self.id) if self._actions is not None else None

    name = title

    @property
    def claimed(self) -> Sequence[str]:
        """The title, which administrators of the group choose."""
        return [self.title] if self.title else []


class TelegramOccupant(Member, TelegramPerson):
    """A person in a room, identified by id, room and network. `str()` returns both ids: `-1001234567890/123456789`."""

    def __init__(self, id: int | str, room: TelegramRoom, *names: Any) -> None:
        super().__init__(id, *names)
        self._room, self.network = room, room.network
