"""Rules by which a network compares the names of people and rooms and matches them against patterns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from errklein.chat.globs import compiled, patterns_of


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
