"""The commands that each person has given lately."""

from __future__ import annotations

from collections import deque
from typing import Any

KEPT = 10
"""How many commands are kept of each person."""

PERSONS = 10_000
"""How many persons are remembered; then the one who came first is forgotten."""


class Given(tuple[str, str]):  # noqa: SLOT001 - one of a tuple has no named slots
    """A command's name, and its arguments as they were typed.

    `aclattr` is what access rules knew the person by: whoever has the name of another one later, as on IRC anybody may, neither
    sees nor repeats what that one has said.
    """

    aclattr = ""

    @classmethod
    def by(cls, aclattr: str, command: str, args: str) -> Given:
        """The command, as given by somebody who is known as that."""
        given = cls((command, args))
        given.aclattr = aclattr
        return given


class History(dict[Any, deque[Given]]):
    """The commands of each person, the latest last. A person who isn't in it has an empty history."""

    def __missing__(self, person: Any) -> deque[Given]:
        if len(self) >= PERSONS:
            del self[next(iter(self))]
        given: deque[Given] = deque(maxlen=KEPT)
        self[person] = given
        return given

    def remember(self, person: str, command: str, args: str, aclattr: str = "") -> None:
        """The person has given the command; if it is in the history already, it moves to the end."""
        given = Given.by(aclattr, command, args)
        commands = self[person]
        for place, before in enumerate(commands):
            if before == given and getattr(before, "aclattr", aclattr) == aclattr:
                del commands[place]
                break
        commands.append(given)

    def of(self, person: str, aclattr: str = "") -> list[Given]:
        """What the person, as access rules know it now, has given; what plugins have put there is anybody's."""
        return [given for given in self.get(person, ()) if getattr(given, "aclattr", "") in ("", aclattr)]

    def again(self, person: str, back: int, aclattr: str = "") -> Given | None:
        """The command that the person has given so many commands ago, 1 being the last one; None if there is none."""
        given = self.of(person, aclattr)
        return given[-back] if 0 < back <= len(given) else None


def asked_again(text: str, prefix: str) -> int | None:
    """How many commands ago the one was given that is asked for once more; None if `text` is another command.

    The prefix alone, which follows a prefix, means the last one; a number says which.
    """
    if prefix and text == prefix.strip():
        return 1
    # Longer ones are no place in a history, whatever they are.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else None
