"""Warnings about misspelt settings."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from errklein.config._loading import Config
from errklein.config._settings import DEPENDENT, SETTINGS
from errklein.config._source import ConfigSource

_KNOWN = {*SETTINGS, *DEPENDENT}

_SIMILARITY = 0.81
"""The difflib ratio from which a name counts as misspelt. LOG_LEVEL reaches it for BOT_LOG_LEVEL, BOT_ADMINS_FILE doesn't for
BOT_ADMINS."""


def misspelt_settings(config: Config) -> Iterator[str]:
    """Yield a warning for each upper-case name in the configuration that resembles a setting's name, but has no meaning.

    Plugins, and backends written for errbot, read settings of their own, so other unknown names are accepted. A name that
    config.py itself reads is a helper of that file.
    """
    found = [("", *misspelling) for misspelling in _misspellings(config)]
    found += [
        (network, *misspelling) for network, view in config.networks.items() for misspelling in _misspellings(view)
    ]
    source = ConfigSource.of(config.path if found else None)
    for network, name, meant in found:
        if name not in source.names_read:
            place = source.place(name, network)
            where = f" in BACKENDS[{network!r}]" if network else ""
            yield f"{place}{place and ': '}unknown setting {name}{where}; did you mean {meant}?"


def _misspellings(config: Config) -> Iterator[tuple[str, str]]:
    """Yield pairs of an unknown name and the known name that it resembles most."""
    for name in vars(config):
        if name.isupper() and not name.startswith("_") and name not in _KNOWN:
            for meant in difflib.get_close_matches(name, _KNOWN, 1, _SIMILARITY):
                yield name, meant
