"""Identifiers of the Text network: `@user`, `#room` and `#room/user`. `person` and `name` lack the `@` and `#`."""

from __future__ import annotations

from typing import Any

from errklein.chat.identifiers import Purpose
from errklein.networks.base import LocalOccupant, LocalPerson, LocalRoom


class TextPerson(LocalPerson):
    """A person; `str()` returns `@user`. The `@` of the name may be omitted. The backend builds it with a name only."""

    def __init__(
        self, person: str, client: str | None = None, nick: str | None = None, fullname: str | None = None
    ) -> None:
        super().__init__(person.removeprefix("@"), client, nick, fullname)

    @property
    def aclattr(self) -> str:
        """The name for access rules: `@user`. They may also leave the `@` out."""
        return f"@{self.person}"

    def access_names(self, purpose: Purpose) -> tuple[str, ...]:
        return self.aclattr, self.person

    def __str__(self) -> str:
        return f"@{self.person}"


class TextOccupant(LocalOccupant, TextPerson):
    """A person in a room; `str()` returns `#room/user`. `aclattr` is the same as outside the room."""

    nick = LocalPerson.nick

    def __str__(self) -> str:
        return f"{self.room}/{self.person}"


class TextRoom(LocalRoom):
    """A room; `str()` returns `#room`. The `#` of the name may be omitted."""

    def __init__(self, name: str, occupants: Any = None, topic: str | None = "", bot: Any = None) -> None:
        super().__init__(name.removeprefix("#"), occupants, topic, bot)

    def __str__(self) -> str:
        return f"#{self.name}"
