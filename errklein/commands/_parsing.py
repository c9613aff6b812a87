"""Parsing of messages: prefix, command name and arguments, and suggestions for unknown commands."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from errklein.text import code, plain
from errklein.text.suggestions import most_similar


@dataclass(frozen=True)
class Prefixes:
    """The prefixes with which a message must begin to be a command.

    `alternatives` are further prefixes, each of which may be followed by one of `separators`; with `ignore_case` they are
    case-insensitive. With `optional_in_direct`, direct messages need no prefix.
    """

    prefix: str = "!"
    optional_in_direct: bool = False
    alternatives: tuple[str, ...] = ()
    separators: tuple[str, ...] = ()
    ignore_case: bool = False


def strip_prefix(body: str, prefixes: Prefixes, direct: bool) -> str | None:
    """Return the text after the prefix, stripped, or None if the message must have a prefix and has none.

    `direct` is whether it is a direct message.
    """
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
    """Return the longest command name that the text begins with, and the arguments after it, or None.

    The text may have spaces or underscores where the name has underscores. `most_words` is the number of words in the longest
    name. Whitespace within the arguments is kept.
    """
    words = text.split(None, most_words)[:most_words]
    for count in range(len(words), 0, -1):
        name = "_".join(words[:count])
        if name in names:
            return name, "".join(text.split(None, count)[count:])
    return None


def unknown_command(text: str, names: Iterable[str], prefix: str) -> str:
    """Return the Markdown reply to an unknown command, with suggestions from `names` that resemble the text's first words.

    If the text is the beginning of several names, as "plugin" is, the reply lists these. If another word follows such a
    beginning, the reply lists them, too, with the closest first.
    """

    def quoted(name: str) -> str:
        return f'"{plain(prefix + name)}"'

    words = text.split()
    attempts = [" ".join(words[:1]), *([" ".join(words[:2])] if len(words) > 1 else [])]
    spaced = {name.replace("_", " ").lower(): name.replace("_", " ") for name in names}
    begun = " ".join(words)
    if begun and (longer := [name for lower, name in spaced.items() if lower.startswith(f"{begun.lower()} ")]):
        return f"Commands that begin with {quoted(begun)}: {', '.join(map(quoted, longer))}."
    longest = max((name.count(" ") for name in spaced), default=0)
    for count in range(min(len(words) - 1, longest), 0, -1):
        begun = " ".join(words[:count])
        after = {
            lower[len(begun) + 1 :]: name for lower, name in spaced.items() if lower.startswith(f"{begun.lower()} ")
        }
        if after:
            closest = after.pop(most_similar(words[count], after), "")
            meant, kind = (f"Did you mean {quoted(closest)}? ", "Others") if closest else ("", "Commands")
            others = (
                f"{kind} that begin with {quoted(begun)}: {', '.join(map(quoted, after.values()))}." if after else ""
            )
            return f'Command "{plain(f"{begun} {words[count]}")}" not found.\n\n{meant}{others}'.rstrip()
    near: list[str] = []
    for attempt in attempts:
        near.extend(name for name in get_close_matches(attempt.lower(), spaced) if name not in near)
    shown = " / ".join(f'"{plain(attempt)}"' for attempt in attempts)
    reply = f"Command {shown} not found."
    if near:
        reply += "\n\nDid you mean " + " or ".join(quoted(spaced[name]) for name in near) + "?"
    return reply


def command_hint(prefix: str) -> str:
    """Return the sentence that explains how to give commands, in Markdown."""
    listed = f"{code(f'{prefix}help')} lists them."
    return f"Commands begin with {code(prefix)}; {listed}" if prefix else f"Commands: {listed}"
