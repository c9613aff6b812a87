"""What somebody is told whose command there isn't."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from errklein.text.quoting import plain


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
