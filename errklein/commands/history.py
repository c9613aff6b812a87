"""The commands that each person has given lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from errklein.chat import Message, RoomOccupant
from errklein.chat.identifiers import folded_name

PRIVATE = ""
"""The place of commands that were given in private."""

KEPT = 10
"""How many commands are kept of each person."""

PERSONS = 10_000
"""How many persons are remembered; then the one who came first is forgotten."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose command it is, and where it was given.

    `person` is the name of the person, and `aclattr` the name in access rules, both folded. A person who takes over a nick
    neither sees nor repeats the commands of its former holder. `place` is PRIVATE for a direct message, else one for each room.
    """

    person: str
    aclattr: str = ""
    place: str = PRIVATE

    @classmethod
    def of(cls, message: Message) -> Sender:
        """The sender of the message; `person` is "" if there is none."""
        names = (str(getattr(message.frm, name, "") or "") for name in ("person", "aclattr"))
        person, aclattr = (folded_name(message.frm, name) for name in names)
        return cls(person, aclattr, _place_of(message))


class Given(tuple[str, str]):  # noqa: SLOT001 - one of a tuple has no named slots
    """A command's name, and its arguments as they were typed."""

    sender: Sender


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

    def remember(self, sender: Sender, command: str, args: str) -> None:
        """Add a command; if the sender has given it in the same place before, it moves to the end."""
        given = Given((command, args))
        given.sender = sender
        commands = self[sender.person]
        for index, before in enumerate(commands):
            if before == given and (not isinstance(before, Given) or before.sender == sender):
                del commands[index]
                break
        commands.append(given)

    def of(self, sender: Sender) -> list[Given]:
        """The commands that the sender has given in that place.

        Entries that plugins have added have no sender; they are always included, as are those of a sender without `aclattr`.
        """
        return [given for given in self.get(sender.person, ()) if not isinstance(given, Given) or _is_by(given, sender)]

    def again(self, sender: Sender, back: int) -> Given | None:
        """The command that the sender gave in that place `back` commands ago, 1 being the last; None if there is none."""
        given = self.of(sender)
        return given[-back] if 0 < back <= len(given) else None


def _is_by(given: Given, sender: Sender) -> bool:
    return given.sender.aclattr in ("", sender.aclattr) and given.sender.place == sender.place


def _place_of(message: Message) -> str:
    """The place of a message in the history.

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
