"""The plugin manager as plugins written for errbot know it: `self._bot.plugin_manager`.

Its names are errbot's. Those that change something wait for the change in a thread and raise what keeps it from being
made; on the reactor, which must not wait, they return a Deferred.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from errklein.compat.plugin_info import PluginInfo
from errklein.plugins import BotFlow, BotPlugin
from errklein.plugins.loading import CORE_PLUGINS as _CORE_PLUGINS
from errklein.plugins.manager import BL_PLUGINS, PluginManager
from errklein.plugins.names import plugin_name
from errklein.plugins.packages import PackageDirectory
from errklein.plugins.plug_file import ERRBOT_VERSION, parse_errbot_version
from errklein.plugins.plugin import IncompatiblePluginException
from errklein.plugins.running_activations import activation_order

CORE_PLUGINS = str(_CORE_PLUGINS)
"""The directory of the plugins that errklein brings."""


def check_errbot_version(plugin_info: PluginInfo) -> None:
    """Raise IncompatiblePluginException if the plugin is for an older or newer errbot than errklein stands for."""
    here = parse_errbot_version(ERRBOT_VERSION)
    if plugin_info.errbot_minversion is not None and tuple(plugin_info.errbot_minversion) > here:
        raise IncompatiblePluginException(f"{plugin_info.name} needs a newer errbot than {ERRBOT_VERSION}")
    if plugin_info.errbot_maxversion is not None and tuple(plugin_info.errbot_maxversion) < here:
        raise IncompatiblePluginException(f"{plugin_info.name} needs an older errbot than {ERRBOT_VERSION}")


def check_python_plug_section(plugin_info: PluginInfo) -> bool:
    """Whether the plugin is for a Python such as this one."""
    version = plugin_info.python_version
    return version is None or (version[0] >= 3 and version < sys.version_info[:3])


class BotPluginManager(PluginManager):
    """The manager of plugins, with errbot's names for what it does."""

    # What can be asked

    get_all_active_plugins = PluginManager.active
    get_plugin_configuration = PluginManager.configuration
    set_plugin_configuration = PluginManager.store_configuration
    is_plugin_blacklisted = PluginManager.is_blacklisted
    blacklist_plugin = PluginManager.blacklist
    unblacklist_plugin = PluginManager.unblacklist

    @property
    def packages(self) -> PackageDirectory:
        """The directory of the distributions that plugins require."""
        return self._loader.requirements.packages

    @property
    def plugins(self) -> dict[str, BotPlugin]:
        """The instances of all plugins that could be loaded, by name."""
        return {name: plugin.instance for name, plugin in self._plugins.items() if plugin.instance is not None}

    @property
    def plugin_infos(self) -> dict[str, PluginInfo]:
        """What the .plug file of each plugin says, by name, those included that can't be loaded."""
        return {name: PluginInfo.of(plugin.plug) for name, plugin in self._plugins.items()}

    def get_plugin_obj_by_name(self, name: str) -> BotPlugin | None:
        """The plugin's instance; None if there is none."""
        return self.plugins.get(name)

    def get_all_active_plugin_names(self) -> list[str]:
        """The names of active plugins."""
        return [name for name, plugin in self._plugins.items() if plugin.active]

    def get_all_plugin_names(self) -> list[str]:
        """The names of all plugins that could be loaded."""
        return list(self.plugins)

    def get_plugins_activation_order(self) -> list[str]:
        """The names of plugins, each after those that it depends on."""
        return activation_order(self._plugins, self._plugins)

    def get_plugins_by_path(self, path: str | Path) -> Iterator[BotPlugin]:
        """The instances of the plugins in that directory and below it."""
        root = Path(path).absolute()
        plugins = [plugin for plugin in self._plugins.values() if plugin.plug.directory.is_relative_to(root)]
        return iter([plugin.instance for plugin in plugins if plugin.instance is not None])

    def get_blacklisted_plugin(self) -> list[str]:
        """The names of blacklisted plugins."""
        return list(self.get(BL_PLUGINS, []))

    @property
    def flows(self) -> dict[str, BotFlow]:
        """The collections of flows that could be loaded, by the names in their .flow files."""
        return dict(self._flow_files.flows)

    # What can be done

    def activate_flow(self, name: str) -> Any:
        """Let the flows of a .flow file be begun; raises PluginError."""
        return self._waited(self._changes.make, partial(self._flow_files.activate, name))

    def deactivate_flow(self, name: str) -> Any:
        """Let the flows of a .flow file not be begun any more, and end them for everybody; raises PluginError."""
        return self._waited(self._changes.make, partial(self._flow_files.deactivate, name))

    def activate_plugin(self, name: str) -> Any:
        """Activate the plugin, and those it depends on; raises PluginActivationException."""
        return self._waited(self.activate, name)

    def deactivate_plugin(self, name: str) -> Any:
        """Deactivate the plugin, if it is active; raises PluginActivationException, which is a KeyError, for an unknown name."""
        if not self.plugin(name).active:
            return None
        return self._waited(self.deactivate, name)

    def reload_plugin_by_name(self, name: str) -> Any:
        """Have the plugin's code as it is now; raises PluginActivationException."""
        return self._waited(self.reload, name)

    def activate_non_started_plugins(self) -> Any:
        """Activate all that aren't active and aren't blacklisted; the result tells, a line each, what there is to tell."""
        return self._waited(lambda: self.activate_rest().addCallback(lambda lines: "".join(f"{x}\n" for x in lines)))

    def deactivate_all_plugins(self) -> Any:
        """Deactivate all plugins."""
        return self._waited(self.stop)

    shutdown = deactivate_all_plugins

    def update_plugin_places(self, path_list: Iterable[str | Path]) -> Any:
        """Load the plugins in these directories that aren't there yet; the result is what went wrong, by path."""
        roots = [Path(path) for path in ([path_list] if isinstance(path_list, (str, Path)) else path_list)]
        return self._waited(self.add, roots)

    def remove_plugin(self, plugin: BotPlugin) -> Any:
        """Deactivate and forget the plugin; what it has stored stays."""
        return self._waited(self.remove, [plugin_name(plugin)])

    def remove_plugins_from_path(self, root: str | Path) -> Any:
        """Deactivate and forget the plugins and flows in that directory and below it."""
        return self._waited(self.remove_below, Path(root).absolute())

    def _waited(self, change: Any, *args: Any) -> Any:
        return self._execution.waits.result_of(change, *args)
