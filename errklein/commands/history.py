"""The commands that each person has given lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from errklein.chat import Message, RoomOccupant
from errklein.chat.identifiers import folded_name

PRIVATE = ""
"""The place of commands that were given in private."""

KEPT = 10
"""How many commands are kept of each person."""

PERSONS = 10_000
"""How many persons are remembered; then the one who came first is forgotten."""


class Given(tuple[str, str]):  # noqa: SLOT001 - one of a tuple has no named slots
    """A command's name, and its arguments as they were typed.

    `aclattr` is the name of the sender in access rules, so that a person who takes over a nick neither sees nor repeats the
    commands of its former holder. `place` is where the command was given, as `place_of` returns it.
    """

    aclattr = ""
    place = PRIVATE

    @classmethod
    def by(cls, aclattr: str, place: str, command: str, args: str) -> Given:
        """The command with its arguments, its sender's name in access rules, and the place."""
        given = cls((command, args))
        given.aclattr = aclattr
        given.place = place
        return given


class History(dict[Any, deque[Given]]):
    """The commands of each person, the latest last. A person who isn't in it has an empty history.

    Keys are names of persons, folded by `fold`. A lookup folds the name, too.
    """

    def __init__(self, fold: Callable[[str], str] = str) -> None:
        super().__init__()
        self._fold = fold

    def __missing__(self, person: Any) -> deque[Given]:
        if isinstance(person, str) and (folded := self._fold(person)) != person:
            return self[folded]
        if len(self) >= PERSONS:
            del self[next(iter(self))]
        given: deque[Given] = deque(maxlen=KEPT)
        self[person] = given
        return given

    def remember(self, person: str, command: str, args: str, aclattr: str = "", place: str = PRIVATE) -> None:
        """Add a command; if the person has given it in the same place before, it moves to the end."""
        given = Given.by(aclattr, place, command, args)
        commands = self[person]
        for index, before in enumerate(commands):
            if (
                before == given
                and getattr(before, "aclattr", aclattr) == aclattr
                and getattr(before, "place", place) == place
            ):
                del commands[index]
                break
        commands.append(given)

    def of(self, person: str, aclattr: str = "", place: str = PRIVATE) -> list[Given]:
        """The commands that the person, whose name in access rules is now `aclattr`, has given in that place.

        Entries that plugins have added have neither sender nor place; they are always included.
        """
        return [
            given
            for given in self.get(person, ())
            if getattr(given, "aclattr", "") in ("", aclattr) and getattr(given, "place", place) == place
        ]

    def again(self, person: str, back: int, aclattr: str = "", place: str = PRIVATE) -> Given | None:
        """The command that the person gave in that place `back` commands ago, 1 being the last; None if there is none."""
        given = self.of(person, aclattr, place)
        return given[-back] if 0 < back <= len(given) else None


def place_of(message: Message) -> str:
    """The place of a message in the history: PRIVATE for a direct message, else one for each room.

    A message to neither a person nor a room has a place of its own, so that no private commands are shown there.
    """
    if message.is_direct:
        return PRIVATE
    room = message.frm.room if isinstance(message.frm, RoomOccupant) else message.to
    return f"in {folded_name(room, str(room))}"


def asked_again(text: str, prefix: str) -> int | None:
    """How many commands ago the one was given that is asked for once more; None if `text` is another command.

    The prefix alone, which follows a prefix, means the last one; a number says which.
    """
    if prefix and text == prefix.strip():
        return 1
    # Longer ones are no place in a history, whatever they are.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else None
