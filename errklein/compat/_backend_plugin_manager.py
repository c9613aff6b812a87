"""What `errbot.backend_plugin_manager` offers: one plugin of any kind, looked for by its name."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from errklein.compat._utils import collect_roots, entry_point_plugins
from errklein.compat.plugin_info import PluginInfo
from errklein.plugins.discovery import load_plug_files
from errklein.plugins.imports import load_module, plugin_class

GROUP = "errbot.backend_plugins"


class PluginNotFoundException(Exception):
    """There is no plugin of that name."""


def enumerate_backend_plugins(all_plugins_paths: Iterable[str | Path]) -> Iterator[PluginInfo]:
    """What the `.plug` files in and under the directories say; those that can't be read are left out."""
    return map(PluginInfo.of, load_plug_files(all_plugins_paths))


class BackendPluginManager:
    """The plugin called `plugin_name`: its `plugin_info`, and an instance of its subclass of `base_class`.

    It is looked for in both kinds of directories and in installed distributions. Raises PluginNotFoundException.
    """

    def __init__(
        self,
        bot_config: Any,
        base_module: str,
        plugin_name: str,
        base_class: type[Any],
        base_search_dir: str | Path,
        extra_search_dirs: Any = (),
    ) -> None:
        self._config = bot_config
        self._base_class = base_class
        places = collect_roots([str(base_search_dir), extra_search_dirs or []]) + entry_point_plugins(GROUP)
        for plug in load_plug_files(places):
            if plug.name == plugin_name:
                self._plug = plug
                self.plugin_info = PluginInfo.of(plug)
                return
        raise PluginNotFoundException(f"there is no plugin named {plugin_name} in {', '.join(places) or 'no place'}")

    def load_plugin(self) -> Any:
        """A new instance, made with the configuration. Raises PluginLoadError."""
        directory = str(self._plug.directory)
        if directory not in sys.path:
            sys.path.append(directory)
        cls, _ = plugin_class(load_module(self._plug), self._base_class)
        return cls(self._config)
