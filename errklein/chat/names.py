"""Rules by which a network compares the names of people and rooms and matches them against patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache
from typing import Protocol

CHARACTER_SET = r"\[!?\]?[^\]]*\]"
"""A regular expression for a set of characters: "[", perhaps "!" and a first "]" that is a member, up to the next "]"."""


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression whose `match` compares the whole text: `*`, `?`, `[…]` and `[!…]` are wildcards."""
    return re.compile(translate(pattern))


def literal_brackets(pattern: str) -> str:
    """The pattern with its brackets escaped, so that only `*` and `?` are wildcards."""
    return pattern.replace("[", "[[]")


def patterns_of(patterns: Iterable[str] | str) -> Iterable[str]:
    """The patterns; a string is a single one."""
    return (patterns,) if isinstance(patterns, str) else patterns


class NameRules(Protocol):
    """The rules of one network."""

    def fold(self, name: str) -> str:
        """The folded form of the name: two names are the same if their folded forms are equal. Idempotent."""

    def matches(self, name: str, pattern: str, *, denies: bool = False) -> bool:
        """Whether the pattern matches the whole name.

        Pass `denies=True` if a match denies something. If the network's rules aren't known exactly, such a pattern matches
        every name that may be the same, and other patterns match only names that certainly are.
        """


class ExactNames:
    """Names are compared character by character; `*`, `?` and `[…]` are wildcards."""

    def fold(self, name: str) -> str:
        """The name itself."""
        return name

    def matches(self, name: str, pattern: str, *, denies: bool = False) -> bool:
        """Whether the pattern matches the whole name; case matters."""
        return compiled(pattern).match(name) is not None


EXACT: NameRules = ExactNames()


def matches_any(rules: NameRules, name: str, patterns: Iterable[str] | str, *, denies: bool = False) -> bool:
    """Whether one of the patterns matches the name by these rules."""
    return any(rules.matches(name, pattern, denies=denies) for pattern in patterns_of(patterns))
