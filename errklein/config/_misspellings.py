"""Warnings about misspelt settings."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator

from errklein.config._loading import Config
from errklein.config._settings import DEPENDENT, SETTINGS
from errklein.config._source import ConfigSource

_KNOWN = {*SETTINGS, *DEPENDENT}

_SIMILARITY = 0.81
"""The difflib ratio that a name must exceed as a whole, and each of its words, to count as misspelt."""

_SIMILARITY_WITHOUT_WORD = 0.88
"""The ratio for names with another number of words. BOT_EXTRA_BACKEND reaches it for BOT_EXTRA_BACKEND_DIR, LOG_LEVEL doesn't
for BOT_LOG_LEVEL."""


def misspelt_settings(config: Config, read_by_plugins: Callable[[], Collection[str]] = frozenset) -> Iterator[str]:
    """Yield a warning for each upper-case name in the configuration that resembles a setting's name, but has no meaning.

    Plugins, and backends written for errbot, read settings of their own, so other unknown names are accepted. A name that
    config.py itself reads is a helper of that file.

    :param read_by_plugins: Returns the names that plugins read. It is called if a name resembles a setting's.
    """
    found = [("", *misspelling) for misspelling in _misspellings(config)]
    for network, view in config.networks.items() if config.names_networks else ():
        found += [(network, *misspelling) for misspelling in _misspellings(view)]
    source = ConfigSource.of(config.path if found else None)
    accepted = source.names_read.union(read_by_plugins()) if found else source.names_read
    for network, name, meant in found:
        if name not in accepted:
            location = source.location(name, network)
            where = f" in NETWORKS[{network!r}]" if network else ""
            yield f"{location}{location and ': '}unknown setting {name}{where}; did you mean {meant}?"


def _misspellings(config: Config) -> Iterator[tuple[str, str]]:
    """Yield pairs of an unknown name and the known name that it resembles most."""
    for name in config.own:
        if name.isupper() and name not in _KNOWN:
            close = difflib.get_close_matches(name, _KNOWN, 3, _SIMILARITY)
            if meant := next((one for one in close if _is_misspelling(name, one)), ""):
                yield name, meant


def _is_misspelling(name: str, meant: str) -> bool:
    """Return whether the names differ in letters, not in a whole word, as CHATROOM_NAME and CHATROOM_FN do."""
    words, others = name.split("_"), meant.split("_")
    if len(words) != len(others):
        return "".join(words) == "".join(others) or _ratio(name, meant) >= _SIMILARITY_WITHOUT_WORD
    return all(
        _ratio(word, other) >= _SIMILARITY or sorted(word) == sorted(other)
        for word, other in zip(words, others, strict=True)
    )


def _ratio(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first, second).ratio()
