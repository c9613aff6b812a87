"""Finds `.plug` and `.flow` files in directories and in installed distributions, and what settings name in vain."""

from __future__ import annotations

import inspect
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from errklein.commands import CommandDeclaration, RegisteredCommand, unmatched
from errklein.config import Config
from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.imports import CORE_PLUGINS
from errklein.plugins.methods import handlers_once_active
from errklein.plugins.plug_file import PlugError, PlugFile
from errklein.text.suggestions import did_you_mean
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.options import unknown_hooks

ENTRY_POINT_GROUPS = ("errbot.plugins", "errklein.plugins")
DEEPEST = 100  # the number of nested directories that are searched
SUFFIXES = (".plug", ".flow")  # the suffixes of the files of plugins and of collections of flows
Found = Iterable[tuple[str, BotPlugin | None]]  # the names of all plugins, active or not, with their instances
_SETTING = re.compile(r"config(?:\.|\[[\"']|,\s*[\"'])([A-Z][A-Z0-9_]*)\b")


def find_plug_files(roots: Iterable[str | Path], suffix: str = ".plug") -> Discovery:
    """Return all files with the suffix in and under `roots`, which may be files, in their order, each once, with absolute paths.
    Files come before subdirectories, both sorted. Links are followed; hidden directories and `__pycache__` are ignored."""
    found = Discovery(suffix)
    for root in roots:
        found.search(Path(root).absolute())
    return found


def load_plug_files(roots: Iterable[str | Path], problems: list[str] | None = None) -> Iterator[PlugFile]:
    """Yield the valid `.plug` files in and under `roots`. For each invalid file, append a line to `problems`."""
    for path in find_plug_files(roots):
        try:
            yield PlugFile.load(path)
        except PlugError as error:
            if problems is not None:
                problems.append(str(error))


def directory_warnings(config: Config, known: Iterable[Path] = ()) -> list[str]:
    """Return a warning for each directory of plugins in the settings without such files; `known` are files that were found."""
    found = list(known)
    directories = config.directories("BOT_EXTRA_PLUGIN_DIR")
    unknown = [one for one in directories if not any(path.is_relative_to(one) for path in found)]
    empty = [one for one in unknown if not any(find_plug_files([one], suffix).files for suffix in SUFFIXES)]
    return [f"{config.source_of(one)} {one}: no .plug file in it or its folders" for one in empty]


@dataclass
class Discovery:
    """The result of a search: the files in order, and the unreadable files and directories with the reasons."""

    suffix: str
    files: list[Path] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def __iter__(self) -> Iterator[Path]:
        return iter(self.files)

    def search(self, root: Path) -> None:
        """Search a directory, or add a file."""
        try:
            if stat.S_ISDIR(root.stat().st_mode):
                self._directory(root, DEEPEST)
            elif root.suffix == self.suffix:
                self._file(root)
            elif root.suffix not in SUFFIXES:
                self._refuse(root, "it is not a directory")
        except OSError as error:
            self._refuse(root, "it doesn't exist" if isinstance(error, FileNotFoundError) else str(error.strerror))

    def _refuse(self, path: Path, reason: str) -> None:
        self.unreadable[path] = f"{path}: {reason}; expected a directory with plugins"

    def _directory(self, directory: Path, deepest: int) -> None:
        try:
            if not self._is_new(directory):
                return
            if not deepest:
                self._refuse(directory, f"directories are nested more than {DEEPEST} deep")
                return
            entries = sorted((entry.is_dir(), entry) for entry in directory.iterdir())
        except OSError as error:
            self._refuse(directory, str(error.strerror))
            return
        for is_directory, entry in entries:
            if is_directory:
                if not entry.name.startswith(".") and entry.name != "__pycache__":
                    self._directory(entry, deepest - 1)
            elif entry.suffix == self.suffix:
                self._file(entry)

    def _file(self, path: Path) -> None:
        # Reading a broken symbolic link reports the error; reading a pipe or device may never end.
        if not path.exists() or (path.is_file() and self._is_new(path)):
            self.files.append(path)

    def _is_new(self, path: Path) -> bool:
        """Return whether the file or directory wasn't found before, under any path."""
        status = path.stat()
        before = len(self._seen)
        self._seen.add((status.st_dev, status.st_ino))
        return len(self._seen) > before


def entry_point_roots(groups: Iterable[str] = ENTRY_POINT_GROUPS) -> list[Path]:
    """Return the directories and files of plugins in installed distributions, sorted: roots for `find_plug_files`."""
    found = _installed(tuple(groups), _state_of_path())
    return sorted({root for entry_point in found for root in _roots_of(entry_point)})


@lru_cache(maxsize=16)
def _installed(groups: tuple[str, ...], state: object) -> list[EntryPoint]:
    """Return the entry points of the groups. The result is cached, since every installed distribution is read."""
    return [entry_point for group in groups for entry_point in entry_points(group=group)]


def _state_of_path() -> object:
    """Return a value that changes when a distribution is installed or removed."""
    state = []
    for entry in sys.path:
        with suppress(OSError):
            state.append((entry, Path(entry).stat().st_mtime_ns))
    return tuple(state)


def _roots_of(entry_point: EntryPoint) -> list[Path]:
    """Return the directories of the package that the entry point names. For a missing one, or a single module, which is beside
    all installed packages, return the files that the distribution lists; if none (PEP 660), those that name the module."""
    try:
        spec = find_spec(entry_point.module)
    except Exception:
        # Finding a submodule runs its package, which may raise any exception. The distribution's list is used then.
        spec = None
    if spec is not None:
        # In an editable install, setuptools adds a placeholder that isn't a directory to a namespace package's path.
        packages = [Path(location) for location in spec.submodule_search_locations or () if Path(location).is_dir()]
        if packages:
            return packages
    files = (entry_point.dist and entry_point.dist.files) or []
    listed = [Path(str(file.locate())) for file in files if file.suffix in SUFFIXES]
    if listed or spec is None or not spec.has_location or spec.origin is None:
        return listed
    origin = Path(spec.origin)
    return [path for path in sorted(origin.parent.iterdir()) if path.suffix in SUFFIXES and _names(path, origin.stem)]


def _names(path: Path, module: str) -> bool:
    """Return whether the file names the module; for an unreadable file, whether it has the module's name itself."""
    try:
        return PlugFile.load(path).module == module
    except PlugError:
        return path.stem == module


def unknown_names(config: Config, plugins: Found, registered: Iterable[RegisteredCommand] = ()) -> list[str]:
    """Return a warning for each unknown name in settings. `registered` are the active commands."""
    found = list(plugins)
    commands = {(command.owner, command.name) for command in registered}
    for name, instance in found:
        # A plugin may only have them once it is activated.
        handlers = handlers_once_active(instance) if instance is not None else ()
        declared = [CommandDeclaration.of(handler) for _, handler in handlers]
        commands.update((name, command.name) for command in declared if command is not None)
    names = {name for name, _ in found}
    sentences = list(_in_settings(config.own, "", names, commands))
    for network, view in config.networks.items() if config.names_networks else ():
        sentences += _in_settings(view.own, f"NETWORKS[{network!r}]: ", names, commands)
    return sentences


def _in_settings(
    settings: dict[str, Any], where: str, plugins: set[str], commands: set[tuple[str, str]]
) -> Iterator[str]:
    names = {name for _, name in commands}
    for pattern in unmatched(settings.get("ACCESS_CONTROLS", ()), sorted(commands)):
        meant = did_you_mean(pattern, (*names, *map(":".join, commands)))
        yield f"{where}ACCESS_CONTROLS: the pattern {pattern!r} matches no command{meant}"
    for setting in ("DIVERT_TO_PRIVATE", "DIVERT_TO_THREAD"):
        for name in settings.get(setting, ()):
            if name != "ALL_COMMANDS" and name not in names:
                yield f"{where}{setting}: unknown command {name!r}{did_you_mean(name.strip().replace(' ', '_'), names)}"
    for name in settings.get("PLUGINS_CALLBACK_ORDER", ()):
        if name is not None and name not in plugins:
            yield f"{where}PLUGINS_CALLBACK_ORDER: unknown plugin {name!r}{did_you_mean(str(name), plugins)}"
    for name in settings.get("CORE_PLUGINS") or ():
        if name not in plugins and name not in (known := core_plugins()):
            meant = did_you_mean(str(name), known) or ";"
            yield f"{where}CORE_PLUGINS: unknown plugin {name!r}{meant} valid names: {', '.join(known)}"
    if "Webserver" in (chosen := settings.get("CORE_PLUGINS") or ()) and "Deliveries" not in chosen:
        # errbot has no plugin of that name, so a config.py that both bots read may lack it unnoticed.
        yield f"{where}CORE_PLUGINS: add 'Deliveries' for !why, !delivery, and !webhook show, pause and resume"


def unknown_webhooks(config: Config, plugins: Found, others: Iterable[Hook] = ()) -> list[tuple[str, str]]:
    """Return the plugin and an error for each name in WEBHOOKS that isn't a webhook. `others` may belong to other objects."""
    # The methods of other plugins aren't looked at, since this is called after each change of plugins.
    options = [route for route in config.setting("WEBHOOKS") if ":" in route]
    named = {route.rpartition(":")[0] for route in options}
    methods: dict[str, set[str] | None] = {}
    for plugin, instance in plugins:
        handlers = handlers_once_active(instance) if instance is not None and plugin in named else ()
        its = {name for name, handler in handlers if HookDeclaration.of(handler) is not None}
        methods[plugin] = None if instance is None else its
    for hook in others:
        if (known := methods.setdefault(hook.owner, set())) is not None:
            known.add(hook.name)
    return list(unknown_hooks(options, methods))


def settings_read(plugins: Found) -> set[str]:
    """Return the names of settings that the plugins' source reads, as `self.bot_config.NAME` for example."""
    classes = {cls for _, instance in plugins for cls in type(instance).__mro__ if cls not in BotPlugin.__mro__}
    names: set[str] = set()
    for cls in classes:
        with suppress(OSError, TypeError, SyntaxError):
            names.update(_SETTING.findall("".join(inspect.findsource(cls)[0])))
    return names


@cache
def core_plugins() -> list[str]:
    """Return the names of all core plugins, sorted."""
    return sorted(PlugFile.load(path).name for path in CORE_PLUGINS.glob("*.plug"))
