"""Chat networks: what describes each, and how it is found. A network of errklein is a folder or module below
`errklein.networks` with the name of BACKEND in lower case, and may be deleted. Other packages add networks by the entry
point `errklein.networks`, whose name is that for BACKEND. In BACKEND, case doesn't matter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, NamedTuple

from errklein.config._settings import ConfigError

if TYPE_CHECKING:
    from errklein.config._loading import Config
    from errklein.config.identity import NetworkSettings
    from errklein.ports.chat import Backend

_GROUP = "errklein.networks"


class NetworkFinding(NamedTuple):
    """A sentence about the connection to a network, such as one about a permission that the bot lacks."""

    text: str
    is_problem: bool = False


class CommandText(NamedTuple):
    """A command, as networks list it.

    :param name: The name without prefix and with underscores, such as "plugin_list".
    :param description: The first sentence of its help, without markup.
    :param syntax: Its arguments, such as "[--force] NAME"; "" for none that are known."""

    name: str
    description: str
    syntax: str


@dataclass(frozen=True)
class Network:
    """Describes a chat network: the attribute `NETWORK` of its module.

    :param name: The name for BACKEND.
    :param description: What it is, in a few words, for `errklein network list`.
    :param settings: The keys of BOT_IDENTITY.
    :param make: Returns the connection, given a `NetworkContext`.
    :param values: The classes and functions that stored values may contain, each as "package.module:Name".
    :param is_local: Whether its people are those at this computer, so that BOT_ADMINS needn't be set.
    :param has_people: Whether there is anybody to find and to notify.
    :param needs_terminal: Whether it uses the terminal on which the bot runs.
    :param sends_only: Whether it can't receive messages, so that BOT_ADMINS isn't needed.
    :param defaults: Defaults of settings on this network.
    :param libraries: The modules of libraries that only this network needs.
    :param extra: The extra that installs them, such as "errklein[apprise]".
    :param admin: An administrator as BOT_ADMINS names one, for errors.
    :param mentions_all: Whether a text such as "@channel" may notify a whole room.
    :param check: Tries the connection for `errklein network check`, given a `NetworkContext`. Returns what it has found, or raises
        ConfigError, ConnectionError or an exception of `errklein.networks.errors` with what is wrong.
    :param push_commands: Makes the commands known to the network, or with `dry` only finds out what would change, given a
        `NetworkContext`. Commands of others stay. Returns a line for each change, and raises as `check` does."""

    name: str
    description: str
    settings: NetworkSettings
    make: Callable[[Any], Backend]
    values: Sequence[str] = ()
    is_local: bool = False
    has_people: bool = True
    needs_terminal: bool = False
    sends_only: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    libraries: Sequence[str] = ()
    extra: str = ""
    admin: str = "@alice"
    mentions_all: bool = True
    check: Callable[[Any], Awaitable[Sequence[NetworkFinding]]] | None = None
    push_commands: Callable[[Any, Sequence[CommandText], bool], Awaitable[Sequence[str]]] | None = None


def lazily(module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports one of a module when it is called, and calls that."""

    def call(*given: Any) -> Any:
        return getattr(import_module(module), name)(*given)

    return call


IN_ERRBOT = ("IRC", "Null", "Test", "Text")
"""The networks that errbot has, too."""


@cache
def find_network(name: str) -> Network | None:
    """Return the network of that name, in any case, whose module is imported only now, or None. Raises ConfigError."""
    found: object = None
    if name.isidentifier() and find_spec(f"{_GROUP}.{name.lower()}") is not None:
        found = getattr(import_module(f"{_GROUP}.{name.lower()}"), "NETWORK", None)
    if found is None and (entry := _entries().get(name.lower())) is not None:
        try:
            found = entry.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ConfigError(f"BACKEND: the network {name!r} of {entry.value} can't be imported: {reason}") from error
        if not isinstance(found, Network):
            raise ConfigError(f"BACKEND: {entry.value} is no errklein.config.networks.Network but {found!r}")
    return found if isinstance(found, Network) else None


def network_of(view: Config) -> Network | None:
    """Return the network that a view of the configuration names; None for one that is written for errbot."""
    return None if view._is_replaced else find_network(view.BACKEND)


def has_people(view: Config) -> bool:
    """Return whether there may be anybody on the network."""
    return (network := network_of(view)) is None or network.has_people


def known_networks() -> list[Network]:
    """Return all networks, sorted by name. All of them are imported, and those that can't be are left out."""
    package = import_module(_GROUP)
    names = {*_entries(), *(module.name for module in iter_modules(package.__path__) if module.name[0] != "_")}
    known = []
    for name in names:
        with suppress(ConfigError):
            known.append(find_network(name))
    return sorted(filter(None, known), key=lambda network: network.name.lower())


def is_value(module: str, name: str) -> bool:
    """Return whether a network lists this class or function among its values. Only networks of the module's package are imported."""
    own, package = module.removeprefix(f"{_GROUP}."), module.partition(".")[0]
    names = [own.partition(".")[0]]
    if own == module:
        names = [found for found, entry in _entries().items() if entry.module.partition(".")[0] == package]
    with suppress(ConfigError):
        return any(f"{module}:{name}" in network.values for network in map(find_network, names) if network is not None)
    return False


def check_libraries(network: Network) -> None:
    """Raise ConfigError if a library of the network is missing."""
    for name in network.libraries:
        if find_spec(name) is None:
            install = f"; install the extra {network.extra}" if network.extra else ""
            raise ConfigError(f"BACKEND: {network.name} needs the library {name}, which isn't installed{install}")


@cache
def _entries() -> Mapping[str, EntryPoint]:
    return {found.name.lower(): found for found in entry_points(group=_GROUP)}
