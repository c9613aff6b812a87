"""Rules for comparing the names of people and rooms, and for matching them against patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache
from typing import Protocol

CHARACTER_SET = r"\[!?\]?[^\]]*\]"
"""A regular expression for a set of characters in a pattern, such as `[abc]`, `[!abc]` or `[]a]`."""


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern with the wildcards `*`, `?`, `[…]` and `[!…]`; it matches whole texts."""
    return re.compile(translate(pattern))


def literal_brackets(pattern: str) -> str:
    """Return the pattern with escaped brackets, so that only `*` and `?` are wildcards."""
    return pattern.replace("[", "[[]")


def patterns_of(patterns: Iterable[str] | str) -> Iterable[str]:
    """Return the patterns as an iterable; a string is one pattern."""
    return (patterns,) if isinstance(patterns, str) else patterns


class NameRules(Protocol):
    """The rules of one network for names of people and rooms."""

    def fold(self, name: str) -> str:
        """Return the folded form of the name.

        Two names denote the same person or room if their folded forms are equal. Folding a folded name changes nothing.
        """

    def matches(self, name: str, pattern: str, *, denies: bool = False) -> bool:
        """Return whether the pattern matches the whole name.

        `denies` states that a match denies access. While the network's rules are unknown, such a pattern matches every
        name that may be the same, and other patterns only match names that certainly are.
        """


class ExactNames:
    """Rules that compare names character by character. The wildcards of patterns are `*`, `?`, `[…]` and `[!…]`."""

    def fold(self, name: str) -> str:
        """Return the name unchanged."""
        return name

    def matches(self, name: str, pattern: str, *, denies: bool = False) -> bool:
        """Return whether the pattern matches the whole name. Case matters."""
        return compiled(pattern).match(name) is not None


EXACT: NameRules = ExactNames()


def matches_any(rules: NameRules, name: str, patterns: Iterable[str] | str, *, denies: bool = False) -> bool:
    """Return whether the rules match the name with at least one of the patterns."""
    return any(rules.matches(name, pattern, denies=denies) for pattern in patterns_of(patterns))
