"""Finds the command in a message, or those that are like it."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from errklein.text import plain


@dataclass(frozen=True)
class Prefixes:
    """What a message has to begin with to be a command.

    `alternatives` are other prefixes, each of which may be followed by one of `separators`; with `ignore_case` they
    match in either case. With `optional_in_direct` a direct message needs no prefix.
    """

    prefix: str = "!"
    optional_in_direct: bool = False
    alternatives: tuple[str, ...] = ()
    separators: tuple[str, ...] = ()
    ignore_case: bool = False


def strip_prefix(body: str, prefixes: Prefixes, direct: bool) -> str | None:
    """What follows the prefix, without white space around it; None if the message isn't meant as a command."""
    rest = _strip_alternative(body, prefixes)
    if rest is None:
        if not (direct and prefixes.optional_in_direct) and not body.startswith(prefixes.prefix):
            return None
        rest = body
    return rest.removeprefix(prefixes.prefix).strip()


def _strip_alternative(body: str, prefixes: Prefixes) -> str | None:
    compared, alternatives = body, prefixes.alternatives
    if prefixes.ignore_case:
        compared, alternatives = body.lower(), tuple(alternative.lower() for alternative in alternatives)
    longest = max(filter(compared.startswith, alternatives), key=len, default="")
    if not longest:
        return None
    rest = body[len(longest) :]
    for separator in prefixes.separators:
        rest = rest.removeprefix(separator)
    return rest


def find_command(text: str, names: Container[str], most_words: int) -> tuple[str, str] | None:
    """The longest command name that `text` begins with, and the arguments after it.

    Words of the text may be joined by spaces or underscores where the name has underscores. `most_words` is how many
    words the longest name has. Line breaks and spaces inside of the arguments stay as they are.
    """
    words = text.split(None, most_words)[:most_words]
    for count in range(len(words), 0, -1):
        name = "_".join(words[:count])
        if name in names:
            return name, "".join(text.split(None, count)[count:])
    return None


def unknown_command(text: str, names: Iterable[str], prefix: str) -> str:
    """A sentence, as Markdown, with the first words of `text`, and another one with those of the commands' `names` that are like it."""
    words = text.split()
    attempts = [" ".join(words[:1]), *([" ".join(words[:2])] if len(words) > 1 else [])]
    spaced = [name.replace("_", " ") for name in names]
    near: list[str] = []
    for attempt in attempts:
        near.extend(name for name in get_close_matches(attempt, spaced) if name not in near)
    shown = " / ".join(f'"{plain(attempt)}"' for attempt in attempts)
    answer = f"Command {shown} not found."
    if near:
        answer += "\n\nDid you mean " + " or ".join(f'"{plain(prefix + name)}"' for name in near) + " ?"
    return answer
