"""Who is who in a text conversation: `@user`, `#room` and `#room/user`."""

from __future__ import annotations

from errklein.backends.base import LocalOccupant, LocalPerson, LocalRoom


class TextPerson(LocalPerson):
    """Somebody, as `@user`. `aclattr` is what access rules know the person by, if that is written otherwise."""

    def __init__(self, person: str, aclattr: str | None = None) -> None:
        super().__init__(person, nick=person.removeprefix("@"), fullname=person.removeprefix("@"))
        self._aclattr = aclattr or person

    @property
    def aclattr(self) -> str:
        """The name, written as in BOT_ADMINS."""
        return self._aclattr


class TextOccupant(LocalOccupant, TextPerson):
    """Somebody in a room, as `#room/user`."""

    def __str__(self) -> str:
        return f"{self.room}/{self.person.removeprefix('@')}"


class TextRoom(LocalRoom):
    """A room, as `#room`."""

    def occupant_named(self, name: str) -> LocalOccupant:
        """The person of that name in this room, known to access rules as outside of it."""
        occupant = super().occupant_named(name)
        if isinstance(occupant, TextOccupant) and self._backend is not None:
            occupant._aclattr = self._backend.person_named(name).aclattr
        return occupant
