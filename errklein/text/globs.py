"""Shell-style patterns, compiled and cached."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression for the pattern, whose `match` compares the whole text.

    `*` matches any characters, `?` one character, `[…]` one of a set and `[!…]` one outside of it. Case matters.
    """
    return re.compile(translate(pattern))


def literal_brackets(pattern: str) -> str:
    """The pattern with its brackets escaped, so that only `*` and `?` are wildcards."""
    return pattern.replace("[", "[[]")
