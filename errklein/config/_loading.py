"""Loading of a config.py: its execution, the lines of its settings, defaults, validation, and a view for each network.
In the view of one of several networks in NETWORKS, the network's own settings replace the common ones."""

from __future__ import annotations

import ast
import copy
import difflib
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from errklein.chat import read_only
from errklein.config._settings import DEPENDENT, SETTINGS, ConfigError, checked, is_of_plugin
from errklein.config.networks import Network, known_networks, network_of, network_prefix
from errklein.config.secrets import read_variables
from errklein.text.errors import error_text, explained_source
from errklein.text.masking import masker, secrets_in
from errklein.text.suggestions import did_you_mean_path

LOCAL_ADMIN = "@admin"  # the administrator of a bot on the backends Text, Test and Null if BOT_ADMINS isn't set
_NETWORK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_DIRECTORIES = ("BOT_EXTRA_PLUGIN_DIR", "BOT_EXTRA_BACKEND_DIR")

_BY_NETWORK = ("BOT_ADMINS", "BOT_ADMINS_NOTIFICATIONS", "CHATROOM_PRESENCE")
"""Settings that name people and rooms. In the common settings, an entry "libera:alice" applies to the network libera only."""

_OF_FIRST = ("BACKEND", "BOT_IDENTITY", "COMPACT_OUTPUT")
"""Settings of the whole configuration that are by default those of the first network."""

OF_NETWORKS = (*_OF_FIRST, "BOT_ADMINS", "CHATROOM_PRESENCE")
"""Settings of the whole configuration that are by default made from those of the networks."""


class Config:
    """The settings as attributes, which plugins read as `self.bot_config`.

    For example, a plugin reads a setting of errklein, and one of its own, for which it has a default::

        class Site(BotPlugin):
            @botcmd
            def site(self, message, args):
                url = getattr(self.bot_config, "SITE_URL", "https://example.org/")
                return f"See {url}, or send {self.bot_config.BOT_PREFIX}help."

    An unknown name raises AttributeError. Attributes may be assigned; networks without a value of their own use the new one.
    Lists, sets and dicts are the objects of the file, as on errbot: changes in place take effect. For settings of people
    and rooms, a string is read as a tuple of one. If NETWORKS sets such a setting for several networks, the whole
    configuration has a new tuple of all entries.

    A *view* has the settings of one network: those of its entry in NETWORKS, and otherwise the common ones. Without NETWORKS, the
    whole configuration is the view of its only network."""

    BOT_ADMINS: Sequence[str]
    networks: Mapping[str, Config] = read_only(
        "_networks", "The networks' views by name, in the order of the file; empty in a view of NETWORKS."
    )
    network: str = read_only("_network", "The name of the view's network; an empty string for the whole of NETWORKS.")
    path: Path | None = read_only("_path", "The path of the config.py, or None.")

    def __init__(
        self, settings: Mapping[str, Any], *, network: str = "", path: Path | None = None, above: Config | None = None
    ) -> None:
        self._networks: Mapping[str, Config] = {}
        self._network, self._path, self._above = network, path, above
        self._directories: Mapping[str, list[str]] = {}
        self._sources: Mapping[str, str] = {}
        self._left_to_plugins: Mapping[str, ConfigError] = {}
        """Settings whose values are plugins', with the errors. Plugins read them as attributes; `setting` returns errklein's defaults."""
        self._overridden: Collection[str] = ()
        # The names that the config.py or the environment sets, without those that options override; and of the latter, the variables.
        self._given: frozenset[str] = frozenset()
        self._origins: Mapping[str, str] = {}
        self._loaded: Mapping[str, Any] = {}  # the values of all settings when they were loaded
        self._reread: frozenset[str] = frozenset()  # the secrets of reloads, which stay masked
        self._is_replaced = (
            False  # whether BACKEND is a network written for errbot instead of errklein's own of that name
        )
        self._module: ModuleType | None = None  # the config.py
        self._own: frozenset[str] = frozenset()
        """The names of a view's own settings. It has a copy of the others, but for those in `_BY_NETWORK`, which are computed."""
        if above is not None:
            vars(self).update({name: value for name, value in above.own.items() if name not in _BY_NETWORK})
        for name, value in settings.items():
            setattr(self, name, value)

    @property
    def own(self) -> dict[str, Any]:
        """The settings of this view that differ from the common ones, or those of the whole configuration."""
        names = (name for name in vars(self) if not name.startswith("_")) if self._above is None else self._own
        return {name: getattr(self, name) for name in names}

    def setting(self, name: str) -> Any:
        """Return the value of a setting of errklein: its default if the value in the file is a plugin's."""
        return SETTINGS[name].default if name in self._left_to_plugins else getattr(self, name)

    @property
    def names_networks(self) -> bool:
        whole = self._above or self
        return "NETWORKS" not in whole._left_to_plugins and bool(whole.NETWORKS)

    def directories(self, setting: str) -> list[str]:
        """Return the directories of BOT_EXTRA_PLUGIN_DIR or BOT_EXTRA_BACKEND_DIR as absolute paths, with those of
        --plugin-dir. The settings themselves keep the type given, a string or a list, since plugins read them."""
        if setting in self._directories or self._above is None:
            return self._directories.get(setting, [])
        return self._above.directories(setting)

    def source_of(self, directory: str) -> str:
        """Return what adds the directory to `directories("BOT_EXTRA_PLUGIN_DIR")`: "--plugin-dir", or the setting's name."""
        return self._sources.get(directory, "BOT_EXTRA_PLUGIN_DIR")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _BY_NETWORK and isinstance(value, str):
            value = (value,)
        super().__setattr__(name, value)
        if name.startswith("_"):
            return
        if self._above is not None:
            self._own |= {name}
        elif name not in _BY_NETWORK:
            for view in self._networks.values():
                if name not in view._own:
                    vars(view)[name] = value

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if self._above is not None:
            self._own -= {name}
            if name not in _BY_NETWORK and name in vars(self._above):
                vars(self)[name] = vars(self._above)[name]
            return
        for view in self._networks.values():
            if name not in view._own:
                vars(view).pop(name, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        above = self._above
        if name == "BOT_ADMINS_NOTIFICATIONS" and not (above is not None and name in vars(above)):
            return self.BOT_ADMINS
        if above is None or name not in _BY_NETWORK:
            raise AttributeError(f"the configuration has no setting {name}")
        value, networks = getattr(above, name), above.NETWORKS
        return tuple(_meant_for(self.network, value, networks)) if len(networks) > 1 else value

    def __repr__(self) -> str:
        return f"<Config {self.path or 'built in'}: {self.network or ', '.join(self.networks)}>"


def load_config(
    path: Path | None,
    overrides: Mapping[str, object] = MappingProxyType({}),
    *,
    plugin_dirs: Sequence[str] = (),
    plugin_dirs_source: str = "--plugin-dir",
    variables: Mapping[str, str] = MappingProxyType({}),
    is_again: bool = False,
    is_replaced: Callable[[Config], bool] = lambda view: False,
) -> Config:
    """Return the configuration of a config.py, or the built-in defaults without one. The file runs as it does on errbot: as a
    module of the same name, with its directory on sys.path. Afterwards log lines and replies mask the secrets in it.

    :param overrides: settings that take precedence over the file. A BACKEND among them becomes the only network; it may
        also be the name of a network in NETWORKS.
    :param plugin_dirs: directories to add to BOT_EXTRA_PLUGIN_DIR. Messages name them by `plugin_dirs_source`.
    :param variables: variables ERRKLEIN_SET__NAME and ERRKLEIN_FILE__NAME, whose settings take precedence over the
        file, and overrides over them. Their files are read at each call.
    :param is_again: whether a bot may run with what was loaded earlier, which plugins that import the file still get then.
    :param is_replaced: returns whether a network written for errbot takes the place of errklein's with the name in BACKEND.
    :raises ConfigError: if the file can't be read, raises an exception, or has an invalid setting, or a variable is
        invalid. In a file with BACKEND and without NETWORKS, which errbot may read, too, NETWORKS, WEB, STATUS and WEBHOOKS
        of another type are plugins'."""
    values, origins = read_variables(variables)
    origins = {name: origin for name, origin in origins.items() if name not in overrides}
    settings: dict[str, object] = {}
    module = None
    if path is not None:
        path = path.resolve()
        module = run_config(path, is_again=is_again)
        settings = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    settings |= values
    names = frozenset(settings)
    of_errbot = "BACKEND" in settings and is_of_plugin("NETWORKS", settings.get("NETWORKS"))
    networks = {} if of_errbot else settings.get("NETWORKS")
    only = str(overrides.get("BACKEND"))
    if isinstance(networks, Mapping) and only in networks:
        overrides = {name: value for name, value in overrides.items() if name != "BACKEND"}
    settings |= overrides
    if "BACKEND" in overrides and not of_errbot:
        settings["NETWORKS"] = {}
    try:
        config = _completed(settings, path, plugin_dirs, plugin_dirs_source, only, is_replaced, of_errbot=of_errbot)
    except ConfigError as error:
        raise _with_origin(error, path, overrides, origins) from None
    config._overridden, config._origins = frozenset(overrides), origins
    config._given, config._module = names - config._overridden, module
    for view in (config, *config.networks.values()):
        view._loaded = {name: value for name, value in vars(view).items() if not name.startswith("_")}
    return config


@contextmanager
def located_errors(config: Config, view: Config | None = None) -> Iterator[None]:
    """Add the setting's line in config.py, or its variable, to a ConfigError of the context, such as " (config.py line
    12)". With a network's view, the error also begins with the network, if NETWORKS has several."""
    try:
        yield
    except ConfigError as error:
        prefix, network = "", error.network
        if view is not None:
            prefix = network_prefix(view)
            network = view.network if view.names_networks and error.setting in view.own else ""
        located = ConfigError(f"{prefix}{error}", error.setting, network)
        raise _with_origin(located, config.path, config._overridden, config._origins) from None


def _with_origin(
    error: ConfigError, path: Path | None, overridden: Collection[str], origins: Mapping[str, str]
) -> ConfigError:
    if origin := origins.get("NETWORKS" if error.network else error.setting):
        return ConfigError(f"{error} ({origin})", error.setting, error.network)
    if path is None or error.setting in overridden:
        return error
    source = ConfigSource.of(path)
    if (error.network, error.setting) not in source.lines:
        return error
    return ConfigError(f"{error} ({source.location(error.setting, error.network)})", error.setting, error.network)


def _completed(
    settings: Mapping[str, Any],
    path: Path | None,
    plugin_dirs: Sequence[str],
    plugin_dirs_source: str,
    only: str,
    is_replaced: Callable[[Config], bool],
    *,
    of_errbot: bool,
) -> Config:
    given, left = dict[str, Any](), dict[str, ConfigError]()
    for name, value in settings.items():
        try:
            given[name] = checked(name, value)
        except ConfigError as error:
            if not (of_errbot and is_of_plugin(name, value)):
                raise
            given[name], left[name] = value, error
    written = {name: settings[name] for name in _DIRECTORIES if name in settings}
    defaults = {name: copy.copy(setting.default) for name, setting in SETTINGS.items()}
    config = Config(defaults | given | written, path=path)
    config._left_to_plugins = left
    more = checked("BOT_EXTRA_PLUGIN_DIR", list(plugin_dirs), plugin_dirs_source)
    plugin_directories = [*given.get("BOT_EXTRA_PLUGIN_DIR", ()), *more]
    config._directories = _directories(given | {"BOT_EXTRA_PLUGIN_DIR": plugin_directories})
    config._sources = dict.fromkeys(map(_absolute, more), plugin_dirs_source)
    config.BOT_DATA_DIR = _absolute(config.BOT_DATA_DIR)
    config._networks = views = _views(config, "BACKEND" in given)
    for view in views.values():
        view._is_replaced = is_replaced(view)
    masker.learn(config, "configuration", secrets_of(config))
    if only in views:
        config._networks = {only: views[only]}
    _fill_in(config, given)
    if only in views and config.names_networks:
        for name in OF_NETWORKS:
            setattr(config, name, getattr(views[only], name))
    return config


def secrets_of(config: Config) -> frozenset[str]:
    """Return the passwords, tokens and keys in the configuration: those of networks, rooms, storages and plugins' settings."""
    found: set[str] = set()
    for view in (config, *config.networks.values()):
        for name, value in view.own.items():
            known = name in SETTINGS and name not in config._left_to_plugins
            # WEBHOOKS has only references to secrets.
            if not name.startswith("_") and not (known and name == "WEBHOOKS"):
                # Known settings have no secret values, although the name DIVERT_TO_PRIVATE looks like a secret's.
                found |= secrets_in(value if known else {name: value})
        rooms = [room for room in view.CHATROOM_PRESENCE if isinstance(room, (tuple, list))]
        found |= secrets_in([room[1:] for room in rooms], secret=True)
    return frozenset(found)


def _views(config: Config, has_backend: bool) -> dict[str, Config]:
    if not config.names_networks:
        config._network = config.BACKEND.lower()
        return {config.network: config}
    views: dict[str, Config] = {}
    for network, settings in config.NETWORKS.items():
        where = f"NETWORKS[{network!r}]"
        if not isinstance(network, str) or not _NETWORK_NAME.fullmatch(network):
            raise ConfigError(f"{where}: the name must consist of letters, digits, '-', '_' and '.'", "NETWORKS")
        if "BACKEND" not in settings and not has_backend:
            known = ", ".join(one.name for one in known_networks())
            raise ConfigError(f"{where}: BACKEND is missing; expected one of {known}", "NETWORKS")
        try:
            own = {name: checked(name, value) for name, value in settings.items()}
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}", error.setting, network) from None
        views[network] = Config(own, network=network, path=config.path, above=config)
        views[network]._directories = _directories(own)
    return views


def _directories(own: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: [_absolute(path) for path in own[name]] for name in _DIRECTORIES if name in own}


def _absolute(path: str) -> str:
    """Return the absolute path of a directory, without ".." if that is the same directory despite symbolic links."""
    absolute = Path(path).absolute()
    if ".." not in absolute.parts:
        return str(absolute)
    normal = Path(os.path.normpath(absolute))
    try:
        return str(normal if normal.samefile(absolute) else absolute)
    except OSError:
        return str(absolute)


def _fill_in(config: Config, given: Mapping[str, Any]) -> None:
    """Check and complete the settings that depend on the backend, and set the whole configuration's from the networks."""
    for view in config.networks.values():
        # Other backends are looked up later.
        if (network := network_of(view)) is not None:
            _check_identity(view, network)
            if not view.BOT_ADMINS and network.is_local:
                view.BOT_ADMINS = (LOCAL_ADMIN,)
            if not (view.BOT_ADMINS or network.sends_only):
                raise ConfigError(
                    f"{network_prefix(view)}BOT_ADMINS is missing{_misspelt_admins(config, view)}; {network.name} requires a tuple of the administrators' names, "
                    f"such as ({network.admin!r},)"
                )
        for name, value in {"COMPACT_OUTPUT": False, **(network.defaults if network is not None else {})}.items():
            if name not in given and (view is config or name not in view.own):
                setattr(view, name, value)
    if config.names_networks:
        first = next(iter(config.networks.values()))
        inherited = {name: getattr(first, name) for name in _OF_FIRST}
        inherited |= {name: _union(name, config.networks) for name in ("BOT_ADMINS", "CHATROOM_PRESENCE")}
        for name in inherited.keys() - given.keys():
            setattr(config, name, inherited[name])


def _misspelt_admins(config: Config, view: Config) -> str:
    """Return the unknown setting that resembles BOT_ADMINS, in parentheses for an error; "" if there is none."""
    unknown = {*config.own, *view.own} - {*SETTINGS, *DEPENDENT}
    similar = difflib.get_close_matches("BOT_ADMINS", unknown, 1, 0.81)
    return f" (unknown setting {similar[0]}; did you mean BOT_ADMINS?)" if similar else ""


def _check_identity(view: Config, network: Network) -> None:
    for key in (name for name, one in network.settings.keys.items() if one.required):
        if not isinstance(view.BOT_IDENTITY.get(key), str) or not view.BOT_IDENTITY[key]:
            where = view.network if view.names_networks and "BOT_IDENTITY" in view.own else ""
            problem = f"{key!r} is missing; {view.BACKEND} requires a non-empty string"
            raise ConfigError(f"{network_prefix(view)}BOT_IDENTITY: {problem}", "BOT_IDENTITY", where)


def _union(name: str, networks: Mapping[str, Config]) -> Collection[Any]:
    own: dict[str, Collection[Any]] = {network: view.own.get(name, ()) for network, view in networks.items()}
    if len(own) == 1:
        return next(iter(own.values()))
    return tuple(_renamed(entry, f"{where}:{_name_of(entry)}") for where, entries in own.items() for entry in entries)


def _meant_for(network: str, entries: Iterable[Any], networks: Collection[str]) -> Iterator[Any]:
    for entry in entries:
        head, colon, rest = str(_name_of(entry)).partition(":")
        if not colon or head not in networks:
            yield entry
        elif head == network:
            yield _renamed(entry, rest)


def _name_of(entry: Any) -> Any:
    return entry[0] if isinstance(entry, (tuple, list)) and entry else entry


def _renamed(entry: Any, name: str) -> Any:
    return (name, *entry[1:]) if isinstance(entry, (tuple, list)) else name


def run_config(path: Path, *, is_again: bool = False) -> ModuleType:
    """Run the file as a module, and return it; see `load_config`. ConfigError has the line that failed, if one did."""
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"no configuration file at {path}{did_you_mean_path(path) or ';'} create one with `errklein init {path.parent}`, or name another "
            "with --config"
        ) from None
    except OSError as error:
        remedy = "; run errklein as the bot's user, who must be able to read it" * isinstance(error, PermissionError)
        raise ConfigError(f"{path} can't be read: {error.strerror}{remedy}") from None
    name = path.stem
    module = ModuleType(name)
    module.__file__ = str(path)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    # Plugins may import the file by its name. Another module of that name is not replaced.
    if not is_again and getattr(sys.modules.get(name, module), "__file__", None) == str(path):
        sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), vars(module))  # noqa: S102  a config.py is Python
    except SyntaxError as error:
        raise _invalid(path, error) from None
    except (Exception, SystemExit) as error:
        raise _raised(path, error) from None
    return module


def _invalid(path: Path, error: SyntaxError) -> ConfigError:
    file = Path(error.filename or path)
    # For a NUL byte, for example, the line isn't known.
    line = f" at line {error.lineno}" if error.lineno else ""
    return ConfigError(
        f"{file} isn't valid Python{line}: {error.msg}", source=explained_source(file, error.lineno, error)
    )


def _raised(path: Path, error: BaseException) -> ConfigError:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = lines[-1] if lines else None
    raised = f"{path} raised {type(error).__name__}" + (f" at line {line}" if line else "")
    text = error_text(error)
    source = explained_source(path, line, error, quote=True)
    return ConfigError(raised if text == type(error).__name__ else f"{raised}: {text}", source=source)


# Nodes whose variables aren't those of the module.
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, *_COMPREHENSIONS)


@dataclass(frozen=True)
class ConfigSource:
    """The names in a config.py with their lines, from its syntax tree; nothing of the file is run."""

    path: Path | None = None
    lines: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """The line of each setting, by network and name. The network is "" for an assignment outside of NETWORKS. A setting that is
    assigned several times has no line, since which of them counts may depend on a condition."""
    of_environment: frozenset[str] = frozenset()
    """The names whose values the file reads from the environment, in the assignment itself."""
    names_read: frozenset[str] = frozenset()  # the names whose values the file itself uses

    @classmethod
    def of(cls, path: Path | None) -> ConfigSource:
        """Return the names in the file. There are none without a file, or if it isn't valid Python."""
        if path is None:
            return cls()
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return cls(path)
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        assigned = [*_assignments(tree), *_keys_of_networks(tree)]
        times = Counter(setting for setting, _ in assigned)
        lines = {setting: line for setting, line in assigned if times[setting] == 1}
        read = frozenset(name.id for name in names if isinstance(name.ctx, ast.Load))
        return cls(path, lines, frozenset(_from_environment(tree)), read)

    def location(self, setting: str, network: str = "") -> str:
        """Return the file and line of a setting, such as "config.py line 12"; the file alone if the line isn't known."""
        line, name = self.lines.get((network, setting)), "" if self.path is None else self.path.name
        return f"{name} line {line}" if line else name


def _assignments(tree: ast.AST) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield the names that are assigned or imported outside of functions and classes, with their lines."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield ("", node.id), node.lineno
        elif isinstance(node, ast.alias):
            yield ("", node.asname or node.name), node.lineno
        elif not isinstance(node, _SCOPES):
            waiting += ast.iter_child_nodes(node)


def _from_environment(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(name in ast.unparse(node.value) for name in ("environ", "getenv")):
            yield from map(ast.unparse, node.targets)


def _keys_of_networks(tree: ast.AST) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield the lines of the keys of dicts in dicts, as those in NETWORKS are."""
    for outer in ast.walk(tree):
        if not isinstance(outer, ast.Dict):
            continue
        for network, inner in zip(outer.keys, outer.values, strict=True):
            if isinstance(network, ast.Constant) and isinstance(inner, ast.Dict):
                for key in inner.keys:
                    if isinstance(key, ast.Constant):
                        yield (str(network.value), str(key.value)), key.lineno
