"""The plugin manager with errbot's names: `self._bot.plugin_manager`. A method that changes something waits in a thread
until the change is made, and raises its error. On the reactor thread, which must not wait, it returns a Deferred."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from errklein.compat.plugin_info import PluginInfo
from errklein.plugins import BotFlow, BotPlugin
from errklein.plugins.imports import CORE_PLUGINS as _CORE_PLUGINS
from errklein.plugins.manager import BL_PLUGINS, PluginManager
from errklein.plugins.packages import PackageDirectory
from errklein.plugins.plug_file import ERRBOT_VERSION, parse_errbot_version, plugin_name
from errklein.plugins.plugin import IncompatiblePluginException, PluginProblem
from errklein.plugins.running_activations import activation_order

CORE_PLUGINS = str(_CORE_PLUGINS)  # the directory of errklein's core plugins


def check_errbot_version(plugin_info: PluginInfo) -> None:
    """Raise IncompatiblePluginException if the plugin requires another version of errbot than errklein implements."""
    here = parse_errbot_version(ERRBOT_VERSION)
    if plugin_info.errbot_minversion is not None and tuple(plugin_info.errbot_minversion) > here:
        raise IncompatiblePluginException(
            f"{plugin_info.name} requires a newer errbot than {ERRBOT_VERSION}, the version that errklein implements"
        )
    if plugin_info.errbot_maxversion is not None and tuple(plugin_info.errbot_maxversion) < here:
        raise IncompatiblePluginException(
            f"{plugin_info.name} requires an older errbot than {ERRBOT_VERSION}, the version that errklein implements"
        )


def check_python_plug_section(plugin_info: PluginInfo) -> bool:
    """Return whether the plugin supports the running version of Python."""
    version = plugin_info.python_version
    return version is None or (version[0] >= 3 and version < sys.version_info[:3])


class BotPluginManager(PluginManager):
    """The manager of plugins, with errbot's names for its methods."""

    # Queries

    get_all_active_plugins = PluginManager.active
    get_plugin_configuration = PluginManager.configuration
    set_plugin_configuration = PluginManager.store_configuration
    is_plugin_blacklisted = PluginManager.is_blacklisted

    @property
    def packages(self) -> PackageDirectory:
        """The directory of the distributions that plugins require."""
        return self._loader.packages

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
        """Return the names of all plugins, each after the plugins in its DependsOn."""
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

    # Changes

    def blacklist_plugin(self, name: str) -> str:
        """Keep the plugin inactive at the next start. Return a sentence about it."""
        return f"Plugin {name} is {'now' if self.set_blacklisted(name, True) else 'already'} blacklisted."

    def unblacklist_plugin(self, name: str) -> str:
        """Allow the plugin to be activated at the next start. Return a sentence about it."""
        was = self.set_blacklisted(name, False)
        return f"Plugin {name} removed from blacklist." if was else f"Plugin {name} is not blacklisted."

    def activate_flow(self, name: str) -> Any:
        return self._waited(self._changes.make, partial(self._flow_files.activate, name))

    def deactivate_flow(self, name: str) -> Any:
        return self._waited(self._changes.make, partial(self._flow_files.deactivate, name))

    def activate_plugin(self, name: str) -> Any:
        return self._waited(self.activate, name)

    def deactivate_plugin(self, name: str) -> Any:
        """Deactivate the plugin; an inactive one is ignored. Raises PluginActivationException, which is a KeyError, if
        there is no such plugin."""
        if not self.plugin(name).active:
            return None
        return self._waited(self.deactivate, name)

    def reload_plugin_by_name(self, name: str) -> Any:
        return self._waited(self.reload, name)

    def activate_non_started_plugins(self) -> Any:
        """Activate all plugins that are neither active nor blacklisted. The result is a text with a line for each problem."""
        return self._waited(lambda: self.activate_rest().addCallback(lambda found: "".join(f"{x}\n" for x in found)))

    def deactivate_all_plugins(self) -> Any:
        return self._waited(self.stop)

    shutdown = deactivate_all_plugins

    def update_plugin_places(self, path_list: Iterable[str | Path]) -> Any:
        """Load the new plugins in and below the directories.

        :returns: The errors, by path.
        """
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
