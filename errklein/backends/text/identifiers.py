"""Who is who in a text conversation: `@user`, `#room` and `#room/user`. Their names are without the `@` and the `#`."""

from __future__ import annotations

from collections.abc import Sequence

from errklein.backends.base import LocalBackend, LocalOccupant, LocalPerson, LocalRoom
from errklein.chat import RoomOccupant


class TextPerson(LocalPerson):
    """Somebody, as `@user`. Nobody on a terminal has a nick or a full name, unless one is given."""

    def __init__(
        self, person: str, client: str | None = None, nick: str | None = None, fullname: str | None = None
    ) -> None:
        super().__init__(person.removeprefix("@"), client, nick, fullname)
        self.written: str | None = None
        """How BOT_ADMINS has the name, if it is written otherwise there."""

    @property
    def aclattr(self) -> str:
        """`@user`, or the name as it is written in BOT_ADMINS."""
        return self.written or f"@{self.person}"

    def __str__(self) -> str:
        return f"@{self.person}"


class TextOccupant(LocalOccupant, TextPerson):
    """Somebody in a room, as `#room/user`, known to access rules as outside of it."""

    @property
    def nick(self) -> str | None:
        """Nothing, as outside of the room."""
        return self._nick

    def __str__(self) -> str:
        return f"{self.room}/{self.person}"


class TextRoom(LocalRoom):
    """A room, as `#room`."""

    def __init__(
        self,
        name: str,
        occupants: Sequence[RoomOccupant] | None = None,
        topic: str | None = "",
        bot: LocalBackend | None = None,
    ) -> None:
        super().__init__(name.removeprefix("#"), occupants, topic, bot)

    def enter(self, name: str) -> LocalOccupant:
        """The occupant of that name, with or without the @, who is in the room from now on."""
        return super().enter(name.removeprefix("@"))

    def occupant_named(self, name: str) -> LocalOccupant:
        """The person of that name in this room, known to access rules as outside of it."""
        occupant = super().occupant_named(name)
        if self._backend is not None:
            person = self._backend.person_named(name)
            if isinstance(occupant, TextOccupant) and isinstance(person, TextPerson):
                occupant.written = person.written
        return occupant

    def __str__(self) -> str:
        return f"#{self.name}"
