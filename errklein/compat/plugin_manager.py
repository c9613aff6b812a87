"""The plugin manager with errbot's names, `self._bot.plugin_manager`, and `PluginInfo`, the content of a `.plug` file.
Changes wait in a thread until they are made, and raise their errors. On the reactor thread they return a Deferred."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from dataclasses import dataclass, replace
from functools import partial
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any, TextIO, TypeVar

from errklein.plugins import BotFlow, BotPlugin, imports
from errklein.plugins.lifecycle import activation_order
from errklein.plugins.manager import BL_PLUGINS, PluginManager
from errklein.plugins.plug_file import ERRBOT_VERSION, PlugFile, parse_errbot_version, parse_python_version, plugin_name
from errklein.plugins.plugin import IncompatiblePluginException, PluginProblem

V = TypeVar("V")
CORE_PLUGINS = str(imports.CORE_PLUGINS)  # the directory of errklein's core plugins


@dataclass
class PluginInfo:
    """The content of a `.plug` or `.flow` file. Versions are tuples; a fourth number stands for alpha, beta and rc."""

    name: str
    module: str
    doc: str | None
    core: bool
    python_version: tuple[int, int, int] | None
    errbot_minversion: tuple[int, ...] | None
    errbot_maxversion: tuple[int, ...] | None
    dependencies: list[str]
    location: Path | None = None

    @classmethod
    def of(cls, plug: PlugFile) -> PluginInfo:
        versions = _versions(plug.python_version, plug.errbot_min, plug.errbot_max)
        doc = plug.description or None
        return cls(plug.name, plug.module, doc, plug.core, *versions, list(plug.depends_on), plug.path)

    @staticmethod
    def load(plugfile_path: Path) -> PluginInfo:
        """Read the file. Raises OSError if it can't be read, and the errors of `parse`."""
        with Path(plugfile_path).open(encoding="utf-8-sig") as plugfile:
            return PluginInfo.load_file(plugfile, Path(plugfile_path))

    @staticmethod
    def load_file(plugfile: TextIO, location: Path) -> PluginInfo:
        """Read an open file; `location` is its path. Raises the errors of `parse`."""
        config = ConfigParser(interpolation=None)
        config.read_file(plugfile)
        return replace(PluginInfo.parse(config), location=location)

    @staticmethod
    def parse(config: ConfigParser) -> PluginInfo:
        """Return the information. Raises configparser.Error without a Name or Module, and ValueError for an invalid version."""
        optional = partial(config.get, fallback=None)
        name, module = config.get("Core", "Name"), config.get("Core", "Module")
        doc = optional("Documentation", "Description")
        core = config.getboolean("Core", "Core", fallback=False)
        versions = _versions(optional("Python", "Version"), optional("Errbot", "Min"), optional("Errbot", "Max"))
        needed = (optional("Core", "DependsOn") or "").split(",")
        return PluginInfo(name, module, doc, core, *versions, [one.strip() for one in needed if one.strip()])

    def load_plugin_classes(self, base_module_name: str, baseclass: type) -> list[tuple[str, type]]:
        """Execute the module beside the file as `base_module_name.<Module>`. Return pairs of name and class for its
        subclasses of `baseclass`, sorted by name. Raises ValueError without a `location`, and exceptions of the module."""
        if self.location is None:
            raise ValueError(f"the location of the .plug file of {self.name} is unknown; use PluginInfo.load()")
        name = f"{base_module_name}.{self.module}"
        loader = SourceFileLoader(name, str(self.location.parent / f"{self.module}.py"))
        # Dataclasses and pickle look up the module in sys.modules while it is executed.
        sys.modules[name] = module = module_from_spec(ModuleSpec(name, loader, origin=loader.path))
        try:
            loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return list(imports.subclasses_in(module, baseclass).items())


_ErrbotVersion = tuple[int, ...] | None


def _versions(
    python: str | None, oldest: str | None, newest: str | None
) -> tuple[tuple[int, int, int] | None, _ErrbotVersion, _ErrbotVersion]:
    errbot = [None if text is None else parse_errbot_version(text) for text in (oldest, newest)]
    return None if python is None else parse_python_version(python), errbot[0], errbot[1]


def check_errbot_version(plugin_info: PluginInfo) -> None:
    """Raise IncompatiblePluginException if the plugin requires another version of errbot than errklein implements."""
    here = parse_errbot_version(ERRBOT_VERSION)
    oldest, newest = plugin_info.errbot_minversion, plugin_info.errbot_maxversion
    too_old = oldest is not None and tuple(oldest) > here
    if too_old or (newest is not None and tuple(newest) < here):
        required = f"{'a newer' if too_old else 'an older'} errbot than {ERRBOT_VERSION}"
        ours = "the version that errklein implements"
        raise IncompatiblePluginException(f"{plugin_info.name} requires {required}, {ours}")


def check_python_plug_section(plugin_info: PluginInfo) -> bool:
    """Return whether the plugin supports the running version of Python."""
    version = plugin_info.python_version
    return version is None or (version[0] >= 3 and version < sys.version_info[:3])


class BotPluginManager(PluginManager):
    """The manager of plugins, with errbot's names for its methods."""

    get_all_active_plugins = PluginManager.active
    get_plugin_configuration = PluginManager.configuration
    set_plugin_configuration = PluginManager.store_configuration
    is_plugin_blacklisted = PluginManager.is_blacklisted

    @property
    def plugins(self) -> dict[str, BotPlugin]:
        return {name: plugin.instance for name, plugin in self._plugins.items() if plugin.instance is not None}

    @property
    def plugin_infos(self) -> dict[str, PluginInfo]:
        return {name: PluginInfo.of(plugin.plug) for name, plugin in self._plugins.items()}

    def get_plugin_obj_by_name(self, name: str) -> BotPlugin | None:
        return self.plugins.get(name)

    def get_all_active_plugin_names(self) -> list[str]:
        return [name for name, plugin in self._plugins.items() if plugin.active]

    def get_all_plugin_names(self) -> list[str]:
        return list(self.plugins)

    def get_plugins_activation_order(self) -> list[str]:
        return activation_order(self._plugins, self._plugins)

    def get_plugins_by_path(self, path: str | Path) -> Iterator[BotPlugin]:
        root = Path(path).absolute()
        plugins = [plugin for plugin in self._plugins.values() if plugin.plug.directory.is_relative_to(root)]
        return iter([plugin.instance for plugin in plugins if plugin.instance is not None])

    def get_blacklisted_plugin(self) -> list[str]:
        return list(self.get(BL_PLUGINS, []))

    @property
    def flows(self) -> dict[str, BotFlow]:
        return dict(self._flow_files.flows)

    def blacklist_plugin(self, name: str) -> str:
        """Keep the plugin inactive at the next start. Return a sentence about it."""
        return f"Plugin {name} is {'now' if self.set_blacklisted(name, True) else 'already'} blacklisted."

    def unblacklist_plugin(self, name: str) -> str:
        """Allow the plugin to be activated at the next start. Return a sentence about it."""
        was = self.set_blacklisted(name, False)
        return f"Plugin {name} removed from blacklist." if was else f"Plugin {name} is not blacklisted."

    def activate_flow(self, name: str) -> Any:
        return self._waited(self.make_change, partial(self._flow_files.change, name, True))

    def deactivate_flow(self, name: str) -> Any:
        return self._waited(self.make_change, partial(self._flow_files.change, name, False))

    def activate_plugin(self, name: str) -> Any:
        return self._waited(self.activate, name)

    def deactivate_plugin(self, name: str) -> Any:
        """Deactivate the plugin, unless it is inactive. UnknownPlugin is a KeyError."""
        return self._waited(self.deactivate, name) if self.plugin(name).active else None

    def reload_plugin_by_name(self, name: str) -> Any:
        return self._waited(self.reload, name)

    def activate_non_started_plugins(self) -> Any:
        """Activate all plugins that are neither active nor blacklisted. The result is a text with a line for each problem."""
        return self._waited(lambda: self.activate_rest().addCallback(lambda found: "".join(f"{x}\n" for x in found)))

    def deactivate_all_plugins(self) -> Any:
        return self._waited(self.stop)

    shutdown = deactivate_all_plugins

    def update_plugin_places(self, path_list: Iterable[str | Path]) -> Any:
        """Load the new plugins in and below the directories. The result is a mapping of paths to errors."""
        roots = [Path(path) for path in ([path_list] if isinstance(path_list, (str, Path)) else path_list)]
        return self._waited(lambda: self.add(roots).addCallback(_by_path))

    def remove_plugin(self, plugin: BotPlugin) -> Any:
        return self._waited(self.remove, [plugin_name(plugin)])

    def remove_plugins_from_path(self, root: str | Path) -> Any:
        return self._waited(self.remove_below, Path(root).absolute())

    def _waited(self, change: Any, *args: Any) -> Any:
        return self._execution.waits.result_of(change, *args)


def _by_path(problems: Iterable[PluginProblem]) -> dict[Path | None, str]:
    texts: dict[Path | None, list[str]] = {}
    for problem in problems:
        texts.setdefault(problem.path, []).append(problem.text)
    return {path: "; ".join(its) for path, its in texts.items()}
