"""Databases that several processes of a bot share: how that of ERRKLEIN_DATABASE is found. A package adds a kind of database
by the entry point `errklein.databases`, whose name is the scheme of its addresses; errklein's own may be deleted."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from errklein.config._settings import ConfigError
from errklein.text.errors import one_line

if TYPE_CHECKING:
    from errklein.ports.nodes import Databases

_GROUP = "errklein.databases"


def find_databases(address: str, setting: str = "ERRKLEIN_DATABASE") -> Databases:
    """Return what opens databases with such an address, and is imported only now. Raises ConfigError."""
    known, scheme = entry_points(group=_GROUP), address.partition("://")[0]
    if scheme not in known.names:
        names = ", ".join(sorted(known.names)) or "none"
        raise ConfigError(f"{setting}: unknown database {scheme!r}. Available: {names}")
    entry = known[scheme]
    try:
        return cast("Databases", entry.load())
    except ImportError as error:
        # The extra has the name of the module.
        package, _, extra = entry.module.rpartition(".")
        problem = f"{scheme} can't be used ({one_line(error)})"
        raise ConfigError(f"{setting}: {problem}; install the extra {package}[{extra}]") from error
