"""Suggestions for misspelt names in error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def most_similar(name: str, names: Iterable[str]) -> str:
    """Return the name that resembles the given one most, regardless of case; "" if none does."""
    by_lower_case = {known.lower(): known for known in sorted(names, reverse=True)}
    similar = get_close_matches(name.lower(), by_lower_case, 1)
    return by_lower_case[similar[0]] if similar else ""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean 'NAME'?" with the most similar name, for the end of a sentence; "" if none is similar."""
    similar = most_similar(name, names)
    return f"; did you mean {similar!r}?" if similar else ""
