"""The command history of each person."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from errklein.chat import Message, RoomOccupant, folded_name

PRIVATE = ""
"""The place of commands that were sent in private."""

KEPT = 10
"""How many commands are kept of each person."""

PERSONS = 10_000
"""How many persons are remembered; then the one who came first is forgotten."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose command it is, and where it was sent.

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


class HistoryEntry(tuple[str, str]):  # noqa: SLOT001 - one of a tuple has no named slots
    """A command's name, and its arguments as they were typed."""

    sender: Sender


class History(dict[Any, deque[HistoryEntry]]):
    """The commands of each person, the latest last, by the name as folded by `fold`; by default none."""

    def __init__(self, fold: Callable[[str], str] = str) -> None:
        super().__init__()
        self._fold = fold

    def __missing__(self, person: Any) -> deque[HistoryEntry]:
        if isinstance(person, str) and (folded := self._fold(person)) != person:
            return self[folded]
        if len(self) >= PERSONS:
            del self[next(iter(self))]
        return self.setdefault(person, deque(maxlen=KEPT))

    def remember(self, sender: Sender, command: str, args: str) -> None:
        """Add a command; if the sender has sent it in the same place before, it moves to the end."""
        entry = HistoryEntry((command, args))
        entry.sender = sender
        commands = self[sender.person]
        for index, before in enumerate(commands):
            if before == entry and (not isinstance(before, HistoryEntry) or before.sender == sender):
                del commands[index]
                break
        commands.append(entry)

    def entries(self, sender: Sender) -> list[HistoryEntry]:
        """The commands that the sender has sent in that place.

        Entries that plugins have added have no sender; they are always included, as are those of a sender without `aclattr`.
        """
        return [
            entry
            for entry in self.get(sender.person, ())
            if not isinstance(entry, HistoryEntry)
            or (entry.sender.aclattr in ("", sender.aclattr) and entry.sender.place == sender.place)
        ]

    def recall(self, sender: Sender, back: int) -> HistoryEntry | None:
        """The command that the sender gave in that place `back` commands ago, 1 being the last; None if there is none."""
        entries = self.entries(sender)
        return entries[-back] if 0 < back <= len(entries) else None


def _place_of(message: Message) -> str:
    """The place of a message. One to neither a person nor a room has its own, where no private commands are shown."""
    if message.is_direct:
        return PRIVATE
    room = message.frm.room if isinstance(message.frm, RoomOccupant) else message.to
    return f"in {folded_name(room, str(room))}"


def recall_position(text: str, prefix: str) -> int | None:
    """How many commands back `text` repeats: 1 for a second prefix, else the number; None for any other text."""
    if prefix and text == prefix.strip():
        return 1
    # Longer ones are no place in a history, whatever they are.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else None
