"""Chat networks: what describes each, and how it is found.

A network of errklein is a folder or module below `errklein.networks` with the name of BACKEND in lower case, and may be deleted. Other
packages add networks by the entry point `errklein.networks`, whose name is that for BACKEND.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from errklein.config._settings import ConfigError
from errklein.config.identity import NetworkSettings

if TYPE_CHECKING:
    from errklein.ports.chat import Backend

_GROUP = "errklein.networks"


@dataclass(frozen=True)
class Network:
    """Describes a chat network: the attribute `NETWORK` of its module.

    :param name: The name for BACKEND.
    :param description: What it is, in a few words, for `errklein network list`.
    :param settings: The keys of BOT_IDENTITY.
    :param make: Returns the connection, given a `NetworkContext`.
    :param values: The classes and functions that stored values may contain, each as "package.module:Name".
    :param is_local: Whether its people are those at this computer, so that BOT_ADMINS needn't be set.
    :param needs_terminal: Whether it uses the terminal on which the bot runs.
    :param sends_only: Whether it can't receive messages, so that BOT_ADMINS isn't needed.
    :param defaults: Defaults of settings on this network.
    :param extra: What to install with pip if a library of the network is missing, such as "errklein[apprise]".
    :param check: Tries the connection for `errklein network check`, given a `NetworkContext`. Returns a sentence about it, or raises
        ConfigError or ConnectionError with what is wrong.
    """

    name: str
    description: str
    settings: NetworkSettings
    make: Callable[[Any], Backend]
    values: Sequence[str] = ()
    is_local: bool = False
    needs_terminal: bool = False
    sends_only: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    extra: str = ""
    check: Callable[[Any], Awaitable[str]] | None = None


@cache
def find_network(name: str) -> Network | None:
    """Return the network of that name, whose module is imported only now; None if there is none.

    :raises ConfigError: It can't be imported.
    """
    found: object = None
    if name.isidentifier() and find_spec(f"{_GROUP}.{name.lower()}") is not None:
        found = getattr(import_module(f"{_GROUP}.{name.lower()}"), "NETWORK", None)
    if (found is None or getattr(found, "name", "") != name) and (entry := _entries().get(name)) is not None:
        try:
            found = entry.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ConfigError(f"BACKEND: the network {name!r} of {entry.value} can't be imported: {reason}") from error
        if not isinstance(found, Network):
            raise ConfigError(f"BACKEND: {entry.value} is no errklein.config.networks.Network but {found!r}")
    return found if isinstance(found, Network) and found.name == name else None


def known_networks() -> list[Network]:
    """Return all networks, sorted by name. All of them are imported."""
    package = import_module(_GROUP)
    own = [
        import_module(f"{_GROUP}.{module.name}") for module in iter_modules(package.__path__) if module.name[0] != "_"
    ]
    names = {*_entries(), *(module.NETWORK.name for module in own if hasattr(module, "NETWORK"))}
    return [found for name in sorted(names) if (found := find_network(name)) is not None]


@cache
def _entries() -> Mapping[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=_GROUP)}
