"""Chat networks: what describes each, with tables of the keys of BOT_IDENTITY, and how it is found. A network of errklein is
a folder or module below `errklein.networks` with the name of BACKEND in lower case, and may be deleted. Other packages
add networks by the entry point `errklein.networks`, whose name is that for BACKEND. In BACKEND, case doesn't matter."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.abstract import isIPAddress

from errklein.config._settings import ConfigError
from errklein.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from errklein.config._loading import Config
    from errklein.ports.chat import Backend

_GROUP = "errklein.networks"


class IdentityKey(NamedTuple):
    """A key of BOT_IDENTITY; the default and the meaning are Markdown."""

    check: Callable[[str, Any], Any]
    """Called with the key and its value. Returns the value as it is used, or raises ConfigError."""
    default: str
    meaning: str
    required: bool = False  # whether it must be a string that isn't empty


@dataclass(frozen=True)
class NetworkSettings:
    """What the package of a network knows about its settings."""

    keys: Mapping[str, IdentityKey]  #: those of BOT_IDENTITY
    #: Yields sentences about valid settings of a network that are probably mistakes.
    warnings: Callable[[Config], Iterator[str]] = lambda view: iter(())
    accepts_others: bool = (
        False  #: whether BOT_IDENTITY may have the keys of another network, which `--network` replaces
    )
    check: Callable[[Config], object] = lambda view: (
        None
    )  #: raises ConfigError for settings invalid together, or for files

    def read_identity(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that BOT_IDENTITY has for known keys, as they are used; raise ConfigError if one is invalid."""
        return {
            name: key.check(name, identity[name]) for name, key in self.keys.items() if identity.get(name) is not None
        }

    def all_warnings(self, view: Config) -> Iterator[str]:
        """Yield the network's warnings, and one for each unknown key of BOT_IDENTITY."""
        where = network_prefix(view)
        for name in view.BOT_IDENTITY:
            if name in self.keys:
                continue
            suggestion = did_you_mean(str(name), self.keys)
            if suggestion or not self.accepts_others:
                yield f"{where}BOT_IDENTITY: unknown key {name!r}{suggestion or '; expected ' + ', '.join(self.keys)}"
        for warning in self.warnings(view):
            yield where + warning


class NetworkFinding(NamedTuple):
    """A sentence about the connection to a network, such as one about a permission that the bot lacks."""

    text: str
    is_problem: bool = False


class CommandText(NamedTuple):
    """A command, as networks list it: its name without prefix and with underscores, such as "plugin_list", the first sentence of its
    help, without markup, and its arguments, such as "[--force] NAME"; "" for none that are known."""

    name: str
    description: str
    syntax: str


@dataclass(frozen=True)
class Network:
    """Describes a chat network: the attribute `NETWORK` of its module."""

    name: str  #: that for BACKEND
    description: str  #: what it is, in a few words, for `errklein network list`
    settings: NetworkSettings  #: the keys of BOT_IDENTITY
    make: Callable[[Any], Backend]  #: returns the connection, given a `NetworkContext`
    values: Sequence[str] = ()  #: the classes and functions that stored values may contain, as "package.module:Name"
    is_local: bool = False  #: whether its people are those at this computer, so that BOT_ADMINS needn't be set
    has_people: bool = True  #: whether there is anybody to find and to notify
    needs_terminal: bool = False  #: whether it uses the terminal on which the bot runs
    sends_only: bool = False  #: whether it can't receive messages, so that BOT_ADMINS isn't needed
    defaults: Mapping[str, Any] = field(default_factory=dict)  #: those of settings on this network
    libraries: Sequence[str] = ()  #: the modules of libraries that only this network needs
    extra: str = ""  #: the extra that installs them, such as "errklein[apprise]"
    admin: str = "@alice"  #: an administrator as BOT_ADMINS names one, for errors
    mentions_all: bool = True  #: whether a text such as "@channel" may notify a whole room
    #: Tries the connection for `errklein network check`, given a `NetworkContext`. Returns what it has found, or raises ConfigError,
    #: ConnectionError or an exception of `errklein.networks.errors` with what is wrong.
    check: Callable[[Any], Awaitable[Sequence[NetworkFinding]]] | None = None
    #: Makes the commands known to the network, or with `dry` only finds out what would change, given a `NetworkContext`. Commands of
    #: others stay. Returns a line for each change, and raises as `check` does.
    push_commands: Callable[[Any, Sequence[CommandText], bool], Awaitable[Sequence[str]]] | None = None


def network_prefix(view: Config) -> str:
    """Return the prefix of a message about a network's setting: "NETWORKS['libera']: ", or "" without NETWORKS."""
    return f"NETWORKS[{view.network!r}]: " if view.names_networks else ""


def lazily(module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports one of a module when it is called, and calls that."""

    def call(*given: Any) -> Any:
        return getattr(import_module(module), name)(*given)

    return call


IN_ERRBOT = ("IRC", "Null", "Test", "Text")  # the networks that errbot has, too


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
    for name in network.libraries:
        if find_spec(name) is None:
            install = f"; install the extra {network.extra}" if network.extra else ""
            raise ConfigError(f"BACKEND: {network.name} needs the library {name}, which isn't installed{install}")


@cache
def _entries() -> Mapping[str, EntryPoint]:
    return {found.name.lower(): found for found in entry_points(group=_GROUP)}


def check_text(key: str, value: Any) -> str:
    # The error doesn't show the value, which may be a password.
    if not isinstance(value, str) or any(character in value for character in "\r\n\0"):
        raise ConfigError(f"BOT_IDENTITY: {key!r} must be a string of one line")
    return value


def text_like(pattern: str, example: str) -> Callable[[str, Any], str]:
    """Return a check of a text of one line, whose error has an example, and not the value, which may be a secret."""

    def check(key: str, value: Any) -> str:
        if not re.fullmatch(pattern, check_text(key, value), re.ASCII):
            raise ConfigError(f"BOT_IDENTITY: {key!r} must look like {example!r}")
        return str(value)

    return check


def admin_warnings(view: Config, is_person: Callable[[str], object], example: str) -> Iterator[str]:
    """Yield sentences about entries of BOT_ADMINS that are patterns or nobody, on a network whose people have ids."""
    for admin in map(str, view.BOT_ADMINS):
        if any(one in admin for one in "*?["):
            yield f"BOT_ADMINS: everybody whose id matches {admin!r} is an administrator, who can run code; name each one"
        elif not is_person(admin):
            yield f"BOT_ADMINS: {admin!r} matches nobody on {view.BACKEND}; expected {example}"


def check_flag(key: str, value: Any) -> bool:
    """Check True or False. Another value, such as "no", would be true."""
    if not isinstance(value, int):
        raise ConfigError(f"BOT_IDENTITY: {key!r} must be True or False, not {value!r}")
    return bool(value)


def is_local(host: str) -> bool:
    host = host.removeprefix("::ffff:")  # of an IPv4 address on a socket of IPv6
    return host in {"localhost", "::1"} or (isIPAddress(host) and host.startswith("127."))


def configured_rooms(config: Any, is_room: Callable[[str], object], expected: str) -> dict[str, str]:
    """Return the rooms of CHATROOM_PRESENCE with their passwords or empty strings. Raises ConfigError if one is invalid."""
    rooms = {}
    for entry in getattr(config, "CHATROOM_PRESENCE", ()):
        name, password = (*entry, "")[:2] if isinstance(entry, (tuple, list)) and entry else (entry, "")
        if not isinstance(name, str) or not is_room(name):
            raise ConfigError(f"CHATROOM_PRESENCE: {name!r} is not a room; expected {expected}")
        if not isinstance(password, str) or any(character in password for character in " ,\r\n\0"):
            text = f"CHATROOM_PRESENCE: the password of {name!r} must be a string without spaces, commas or line breaks"
            raise ConfigError(text)
        rooms[name] = password
    return rooms
