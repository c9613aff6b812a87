"""The commands that each person has given lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

KEPT = 10
"""How many commands are kept of each person."""

PERSONS = 10_000
"""How many persons are remembered; then the one who came first is forgotten."""

Given = tuple[str, str]
"""A command's name, and its arguments as they were typed."""


class History(dict[Any, deque[Given]]):
    """The commands of each person, the latest last. A person who isn't in it has an empty history."""

    def __missing__(self, person: Any) -> deque[Given]:
        if len(self) >= PERSONS:
            del self[next(iter(self))]
        given: deque[Given] = deque(maxlen=KEPT)
        self[person] = given
        return given

    def remember(self, person: str, command: str, args: str) -> None:
        """The person has given the command; if it is in the history already, it moves to the end."""
        given = self[person]
        if (command, args) in given:
            given.remove((command, args))
        given.append((command, args))

    def again(self, person: str, back: int) -> Given | None:
        """The command that the person has given so many commands ago, 1 being the last one; None if there is none."""
        given: Sequence[Given] = self.get(person, ())
        return given[-back] if 0 < back <= len(given) else None


def asked_again(text: str, prefix: str) -> int | None:
    """How many commands ago the one was given that is asked for once more; None if `text` is another command.

    The prefix alone, which follows a prefix, means the last one; a number says which.
    """
    if prefix and text == prefix.strip():
        return 1
    # Longer ones are no place in a history, whatever they are.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else None
