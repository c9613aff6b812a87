"""Other names for unknown ones in error messages: the most similar name, and the new name of a setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

NEW_NAMES: Mapping[str, str] = {"BACKENDS": "NETWORKS"}  # the old names of settings with the new ones
_SIMILARITY = 0.65  # the difflib ratio from which names are similar: "Irk" and "IRC", but not "nothing" and "string"
_SHORTEST = 3  # the least length of a name that is similar to those that begin with it, as "int" is to "integer"


def most_similar(name: str, names: Iterable[str]) -> str:
    """Return the name that resembles the given one most, regardless of case; "" if none does."""
    by_lower_case = {known.lower(): known for known in sorted(names, reverse=True)}
    given = name.lower()
    similar = get_close_matches(given, by_lower_case, 1, _SIMILARITY) or [
        known
        for known in by_lower_case
        if min(len(known), len(given)) >= _SHORTEST and (given.startswith(known) or known.startswith(given))
    ]
    return by_lower_case[similar[0]] if similar else ""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean 'NAME'?" with the most similar name, for the end of a sentence; "" if none is similar."""
    similar = most_similar(name, names)
    return f"; did you mean {similar!r}?" if similar else ""


def did_you_mean_path(path: Path) -> str:
    """Return "; did you mean '/PATH'?" with the most similar path in the same directory; "" if none is similar."""
    try:
        similar = most_similar(path.name, [beside.name for beside in path.parent.iterdir()])
    except OSError:
        return ""
    return f"; did you mean {str(path.parent / similar)!r}?" if similar else ""
