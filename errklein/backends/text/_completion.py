"""Completion of commands with Tab, one word at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os.path import commonprefix

_GAP = 2
"""Columns between two words of a list."""


def completions(typed: str, commands: Iterable[str]) -> list[str]:
    """Return the texts that `typed` may become with its last word complete, sorted, each once.

    `commands` have their prefix, and single spaces between words::

        completions("!plugin r", ["!plugin reload", "!plugin remove", "!room list"])
        # ["!plugin reload", "!plugin remove"]
    """
    found = set()
    for command in commands:
        if command.startswith(typed):
            end = command.find(" ", len(typed))
            found.add(command if end < 0 else command[:end])
    return sorted(found)


def addition(typed: str, found: Sequence[str]) -> str:
    """Return what the completions have in common after `typed`, with a space if there is only one."""
    rest = commonprefix(found)[len(typed) :]  # noqa: RUF071 - characters, not path components
    return f"{rest} " if len(found) == 1 else rest


def in_columns(found: Sequence[str], width: int) -> str:
    """Return the last words of the completions in columns, sorted downwards, for a terminal of that width."""
    words = [text.rpartition(" ")[2] for text in found]
    column = max(map(len, words)) + _GAP
    rows = -(-len(words) // max(1, width // column))
    return "\n".join("".join(word.ljust(column) for word in words[row::rows]).rstrip() for row in range(rows))
