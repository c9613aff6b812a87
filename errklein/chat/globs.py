"""Shell-style patterns, compiled and cached."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache

CHARACTER_SET = r"\[!?\]?[^\]]*\]"
"""A regular expression for a set of characters: "[", perhaps "!" and a first "]" that is a member, up to the next "]"."""


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression for the pattern, whose `match` compares the whole text.

    `*` matches any characters, `?` one character, `[…]` one of a set and `[!…]` one outside of it. Case matters.
    """
    return re.compile(translate(pattern))


def literal_brackets(pattern: str) -> str:
    """The pattern with its brackets escaped, so that only `*` and `?` are wildcards."""
    return pattern.replace("[", "[[]")


def patterns_of(patterns: Iterable[str] | str) -> Iterable[str]:
    """The patterns; a string is a single one."""
    return (patterns,) if isinstance(patterns, str) else patterns
