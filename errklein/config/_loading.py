"""The configuration: an errbot config.py as it is, with defaults filled in and mistakes found.

One file may describe several networks. Each then has a view of the configuration, in which its own settings hide those
that are meant for all.
"""

from __future__ import annotations

import copy
import re
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

from errklein.config._settings import BACKENDS, SETTINGS, ConfigError, checked
from errklein.config._source import ConfigSource
from errklein.text.masking import masker, secrets_in

LOCAL_ADMIN = "@admin"
"""Who administers a bot that only its own terminal talks to, unless BOT_ADMINS says otherwise."""

_NETWORK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

_DIRECTORIES = ("BOT_EXTRA_PLUGIN_DIR", "BOT_EXTRA_BACKEND_DIR")

_BY_NETWORK = ("BOT_ADMINS", "BOT_ADMINS_NOTIFICATIONS", "CHATROOM_PRESENCE")
"""Settings that name people and rooms; given for all networks, an entry "libera:alice" is meant for one of them."""


class Config:
    """Every setting as an attribute, as plugins see it in `self.bot_config`.

    Reading what isn't set raises AttributeError; attributes may be assigned, and networks that don't say otherwise
    follow. Lists, sets and dicts are those of the file, as on errbot: changes in place take effect. A string for a
    setting of people or rooms is read as a tuple of one. Settings that `BACKENDS` has for several networks are read as a new
    tuple of all entries.
    """

    BOT_ADMINS: Sequence[str]

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        network: str = "",
        path: Path | None = None,
        above: Config | None = None,
    ) -> None:
        self._networks: Mapping[str, Config] = {}
        self._network, self._path, self._above = network, path, above
        self._directories: Mapping[str, list[str]] = {}
        self._changes = 0
        self._now: tuple[int, SimpleNamespace] | None = None
        for name, value in settings.items():
            setattr(self, name, value)

    @property
    def networks(self) -> Mapping[str, Config]:
        """The views of the networks by name, in the order of the file; empty in a view."""
        return self._networks

    @property
    def network(self) -> str:
        """The name of the network that this is the view of; "" for the whole configuration."""
        return self._network

    @property
    def path(self) -> Path | None:
        """The file that was read."""
        return self._path

    def directories(self, setting: str) -> list[str]:
        """The directories that BOT_EXTRA_PLUGIN_DIR, with the command line's, or BOT_EXTRA_BACKEND_DIR names, absolute.

        The settings themselves are as they were written, a text or a list, since plugins may have written them.
        """
        if setting in self._directories or self._above is None:
            return self._directories.get(setting, [])
        return self._above.directories(setting)

    @property
    def now(self) -> SimpleNamespace:
        """A namespace of all settings, for fast access. It is the same object until a setting is assigned.

        Settings of people and rooms are not included: for a network they are computed from a list that may change.
        """
        whole = self._above or self
        if self._now is None or self._now[0] != whole._changes:
            names = {name for name in vars(whole) | vars(self) if not name.startswith("_")}.difference(_BY_NETWORK)
            self._now = whole._changes, SimpleNamespace(**{name: getattr(self, name) for name in names})
        return self._now[1]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _BY_NETWORK and isinstance(value, str):
            value = (value,)
        vars(self)[name] = value
        self._count_change(name)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._count_change(name)

    def _count_change(self, name: str) -> None:
        if not name.startswith("_"):
            (self._above or self)._changes += 1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        above = self._above
        if name == "BOT_ADMINS_NOTIFICATIONS" and not (above is not None and name in vars(above)):
            return self.BOT_ADMINS
        if above is None:
            raise AttributeError(f"the configuration has no setting {name}")
        value = getattr(above, name)
        if name in _BY_NETWORK and len(above.networks) > 1:
            return tuple(_meant_for(self.network, value, above.networks))
        return value

    def __repr__(self) -> str:
        return f"<Config {self.path or 'built in'}: {self.network or ', '.join(self.networks)}>"


def load_config(
    path: Path | None,
    overrides: Mapping[str, object] = MappingProxyType({}),
    *,
    plugin_dirs: Sequence[str] = (),
) -> Config:
    """The configuration in the file, or without one the built-in defaults; `overrides` win over both.

    A BACKEND among the overrides makes that the only network. `plugin_dirs` are added to BOT_EXTRA_PLUGIN_DIR. The file
    is run as errbot does it: its directory on sys.path, as a module with the name of the file. Log lines and replies mask its
    secrets from then on. Raises ConfigError.
    """
    settings: dict[str, object] = {}
    if path is not None:
        path = path.resolve()
        settings = {name: value for name, value in vars(_run(path)).items() if not name.startswith("_")}
    settings |= overrides
    if "BACKEND" in overrides:
        settings["BACKENDS"] = {}
    try:
        return _completed(settings, path, plugin_dirs)
    except ConfigError as error:
        if path is None or error.setting in overrides:
            raise
        raise ConfigError(f"{error}{_line_of(error, path)}") from None


def _line_of(error: ConfigError, path: Path) -> str:
    source = ConfigSource.of(path)
    known = (error.network, error.setting) in source.lines
    return f" ({source.place(error.setting, error.network)})" if known else ""


def _completed(settings: Mapping[str, Any], path: Path | None, plugin_dirs: Sequence[str]) -> Config:
    given = {name: checked(name, value) for name, value in settings.items()}
    written = {name: settings[name] for name in _DIRECTORIES if name in settings}
    defaults = {name: copy.copy(setting.default) for name, setting in SETTINGS.items()}
    config = Config(defaults | given | written, path=path)
    more = checked("BOT_EXTRA_PLUGIN_DIR", list(plugin_dirs))
    config._directories = _directories(
        given | {"BOT_EXTRA_PLUGIN_DIR": [*given.get("BOT_EXTRA_PLUGIN_DIR", ()), *more]}
    )
    config.BOT_DATA_DIR = str(Path(config.BOT_DATA_DIR).absolute())
    config._networks = _views(config, "BACKEND" in given)
    _fill_in(config, given)
    masker.learn(config, "configuration", secrets_of(config))
    return config


def network_prefix(view: Config) -> str:
    """The beginning of a message about a setting of a network; "" unless the network is one of BACKENDS."""
    return f"BACKENDS[{view.network!r}]: " if view.BACKENDS else ""


def secrets_of(config: Config) -> frozenset[str]:
    """The passwords, tokens and the like in the configuration: of networks, rooms, storages, and plugins' settings."""
    found: set[str] = set()
    for view in (config, *config.networks.values()):
        for name, value in vars(view).items():
            if not name.startswith("_"):
                # errklein's own settings have no secret values, but DIVERT_TO_PRIVATE has the name of one.
                found |= secrets_in(value if name in SETTINGS else {name: value})
        rooms = [room for room in view.CHATROOM_PRESENCE if isinstance(room, (tuple, list))]
        found |= secrets_in([room[1:] for room in rooms], secret=True)
    return frozenset(found)


def _views(config: Config, has_backend: bool) -> dict[str, Config]:
    if not config.BACKENDS:
        name = config.BACKEND.lower()
        return {name: Config({}, network=name, path=config.path, above=config)}
    views: dict[str, Config] = {}
    for network, settings in config.BACKENDS.items():
        where = f"BACKENDS[{network!r}]"
        if not isinstance(network, str) or not _NETWORK_NAME.fullmatch(network):
            raise ConfigError(f"{where}: expected a network's name of letters, digits, '-', '_' and '.'", "BACKENDS")
        if not isinstance(settings, Mapping):
            raise ConfigError(f"{where}: expected a dict of settings, not a {type(settings).__name__}", "BACKENDS")
        if "BACKEND" not in settings and not has_backend:
            raise ConfigError(f"{where}: BACKEND is missing; expected one of {', '.join(BACKENDS)}", "BACKENDS")
        try:
            own = {name: checked(name, value) for name, value in settings.items()}
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}", error.setting, network) from None
        views[network] = Config(own, network=network, path=config.path, above=config)
        views[network]._directories = _directories(own)
    return views


def _directories(own: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: [str(Path(path).absolute()) for path in own[name]] for name in _DIRECTORIES if name in own}


def _fill_in(config: Config, given: Mapping[str, Any]) -> None:
    """Check and complete what depends on the backend, and give the whole what only its networks say."""
    for view in config.networks.values():
        # A single network without a name of its own has no settings of its own either.
        home = view if config.BACKENDS else config
        _check_identity(view)
        # Of other backends it is known later whether there are any.
        if not view.BOT_ADMINS and view.BACKEND in BACKENDS:
            if view.BACKEND == "IRC":
                raise ConfigError(
                    f"{network_prefix(view)}BOT_ADMINS is missing; IRC requires a tuple of the administrators' names, "
                    "such as ('alice!*@alice.example.org',)"
                )
            home.BOT_ADMINS = (LOCAL_ADMIN,)
        if not hasattr(view, "COMPACT_OUTPUT"):
            home.COMPACT_OUTPUT = view.BACKEND == "IRC"
    if config.BACKENDS:
        first = next(iter(config.networks.values()))
        inherited = {name: getattr(first, name) for name in ("BACKEND", "BOT_IDENTITY", "COMPACT_OUTPUT")}
        inherited |= {name: _union(name, config.networks) for name in ("BOT_ADMINS", "CHATROOM_PRESENCE")}
        for name in inherited.keys() - given.keys():
            setattr(config, name, inherited[name])


def _check_identity(view: Config) -> None:
    identity = view.BOT_IDENTITY
    for key in BACKENDS.get(view.BACKEND, ()):
        if not isinstance(identity.get(key), str) or not identity[key]:
            raise _identity_error(view, f"{key!r} is missing; {view.BACKEND} requires a non-empty string")
    port = identity.get("port")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
        raise _identity_error(view, f"'port' is {port!r}; expected a number from 1 to 65535")


def _identity_error(view: Config, problem: str) -> ConfigError:
    network = view.network if view.BACKENDS and "BOT_IDENTITY" in vars(view) else ""
    return ConfigError(f"{network_prefix(view)}BOT_IDENTITY: {problem}", "BOT_IDENTITY", network)


def _union(name: str, networks: Mapping[str, Config]) -> Collection[Any]:
    """The entries of all networks, each prefixed with its network's name; without a prefix if there is only one network."""
    own: dict[str, Collection[Any]] = {network: vars(view).get(name, ()) for network, view in networks.items()}
    if len(own) == 1:
        return next(iter(own.values()))
    return tuple(_renamed(entry, f"{where}:{_name_of(entry)}") for where, entries in own.items() for entry in entries)


def _meant_for(network: str, entries: Iterable[Any], networks: Mapping[str, Config]) -> Iterator[Any]:
    for entry in entries:
        head, colon, rest = str(_name_of(entry)).partition(":")
        if not colon or head not in networks:
            yield entry
        elif head == network:
            yield _renamed(entry, rest)


def _name_of(entry: Any) -> Any:
    """The name in an entry, which is one, or a room's name with its password."""
    return entry[0] if isinstance(entry, (tuple, list)) and entry else entry


def _renamed(entry: Any, name: str) -> Any:
    return (name, *entry[1:]) if isinstance(entry, (tuple, list)) else name


def _run(path: Path) -> ModuleType:
    """Run the file as a module; raises ConfigError with the line where it went wrong."""
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{path.name} not found at {path}; name the file with --config, or create one with `errklein init DIR`"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    name = path.stem
    module = ModuleType(name)
    module.__file__ = str(path)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    # Plugins may say `import config`; a module that was there for another reason is not taken away from anybody.
    if getattr(sys.modules.get(name, module), "__file__", None) == str(path):
        sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), vars(module))  # noqa: S102  a config.py is Python
    except SyntaxError as error:
        # For a NUL byte, for example, the line isn't known.
        line = f" at line {error.lineno}" if error.lineno else ""
        raise ConfigError(f"{error.filename or path} isn't valid Python{line}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        raise _config_error(path, error) from None
    return module


def _config_error(path: Path, error: BaseException) -> ConfigError:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    raised = f"{path} raised {type(error).__name__}" + (f" at line {lines[-1]}" if lines else "")
    try:
        text = str(error)
    except Exception:
        text = ""
    return ConfigError(f"{raised}: {text}" if text else raised)
