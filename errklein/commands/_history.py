"""Command history, kept for each person and place."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from errklein.chat import EXACT, Identifier, Message, Person, RoomOccupant

PRIVATE = ""  # the place of commands in direct messages
KEPT = 10  # maximum number of commands in a person's history
PERSONS = 10_000  # maximum number of persons with a history; beyond it, the oldest history is dropped


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender of a command, and the place where it was sent. `person` is the sender's name and `aclattr` the name in
    access rules, both folded. Because both are compared, a person who takes over a nick neither sees nor repeats the
    commands of its former holder. `place` is PRIVATE for a direct message, else it identifies the room."""

    person: str
    aclattr: str = ""
    place: str = PRIVATE

    @classmethod
    def of(cls, message: Message) -> Sender:
        sender, is_direct = message.frm, isinstance(message.to, Person)
        fold = (sender.name_rules if isinstance(sender, Identifier) else EXACT).fold
        person, aclattr = str(getattr(sender, "person", "") or ""), str(getattr(sender, "aclattr", "") or "")
        room = sender.room if isinstance(sender, RoomOccupant) else message.to
        # A message to neither a person nor a room never counts as private.
        return cls(fold(person), fold(aclattr), PRIVATE if is_direct else f"in {fold(str(room))}")


class HistoryEntry(tuple[str, str]):  # noqa: SLOT001 - one of a tuple has no named slots
    """A pair of the command's name and its arguments as typed, with the `sender` as an attribute."""

    sender: Sender


class History(dict[Any, deque[HistoryEntry]]):
    """The histories of all persons on a network: a mapping from names, as the network's rules `fold` them, to commands, the latest last."""

    def __init__(self, fold: Callable[[str], str] = str) -> None:
        super().__init__()
        self._fold = fold
        self.make: Callable[[], deque[HistoryEntry]] = partial(deque, maxlen=KEPT)
        """Returns the history of a new person."""

    def __missing__(self, person: Any) -> deque[HistoryEntry]:
        if isinstance(person, str) and (folded := self._fold(person)) != person:
            return self[folded]
        if len(self) >= PERSONS:
            del self[next(iter(self))]
        return self.setdefault(person, self.make())

    def remember(self, sender: Sender, command: str, args: str) -> None:
        """Append a command. An equal command that the sender sent in the same place before is removed."""
        entry = HistoryEntry((command, args))
        entry.sender = sender
        commands = self[sender.person]
        for index, before in enumerate(commands):
            if before == entry and (not isinstance(before, HistoryEntry) or before.sender == sender):
                del commands[index]
                break
        commands.append(entry)

    def entries(self, sender: Sender) -> list[HistoryEntry]:
        """Return the commands that the sender sent in that place, the latest last. Entries that plugins added have no
        sender, and are included in every place. So are entries of a sender without `aclattr`."""
        return [
            entry
            for entry in self.get(sender.person, ())
            if not isinstance(entry, HistoryEntry)
            or (entry.sender.aclattr in ("", sender.aclattr) and entry.sender.place == sender.place)
        ]

    def recall(self, sender: Sender, back: int) -> HistoryEntry | None:
        """Return the command that the sender sent `back` commands ago in that place, 1 being the latest, or None."""
        entries = self.entries(sender)
        return entries[-back] if 0 < back <= len(entries) else None

    def senders(self, person: str) -> set[str]:
        """Return the names in access rules of those who have sent a person's commands: several if the name has passed to others."""
        entries = self.get(self._fold(person), ())
        return {one.sender.aclattr for one in entries if isinstance(one, HistoryEntry) and one.sender.aclattr}

    def forget(self, person: str, aclattr: str = "") -> int:
        """Remove a person's commands, or only those of a sender with that name in access rules. Return their number."""
        entries, others = self.pop(self._fold(person), self.make()), self.make()
        if aclattr:
            # What plugins have added may be of either.
            others.extend(
                one for one in entries if isinstance(one, HistoryEntry) and one.sender.aclattr != self._fold(aclattr)
            )
        if others:
            self[self._fold(person)] = others
        return len(entries) - len(others)


def contains_recall(text: str, prefix: str) -> bool:
    if not prefix:
        return False
    return re.search(rf"(?<!\S){re.escape(prefix)}\s*(?:\d{{1,4}}|{re.escape(prefix.strip())})(?!\S)", text) is not None


def recall_position(text: str, prefix: str) -> int | None:
    """Return the number of commands back that the text repeats, or None if it repeats none. A second prefix, as in
    `!!`, repeats the latest command; a number, as in `!3`, one further back."""
    if prefix and text == prefix.strip():
        return 1
    # Longer numbers exceed any history.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else None
