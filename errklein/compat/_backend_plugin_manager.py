"""The content of `errbot.backend_plugin_manager`: lookup of backends and storages by their `.plug` files."""

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
    """No `.plug` file has that name."""


def enumerate_backend_plugins(all_plugins_paths: Iterable[str | Path]) -> Iterator[PluginInfo]:
    """Return an iterator over the information in all `.plug` files in and below the directories.

    Unreadable files are skipped.
    """
    return map(PluginInfo.of, load_plug_files(all_plugins_paths))


class BackendPluginManager:
    """Finds the backend or storage `plugin_name` and creates it.

    It searches `base_search_dir`, `extra_search_dirs`, and the directories of installed distributions that have an
    entry point in the group `errbot.backend_plugins`.

    :param bot_config: The configuration, which `load_plugin` passes to the class.
    :param base_module: Ignored; errbot has this parameter.
    :param plugin_name: The Name in the `.plug` file.
    :param base_class: `load_plugin` creates the module's subclass of this class.
    :param base_search_dir: The first directory to search.
    :param extra_search_dirs: Further directories, as a path or a nested list of paths.
    :raises PluginNotFoundException: if there is no such `.plug` file.

    `plugin_info` has the information in the `.plug` file.
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
        raise PluginNotFoundException(f"no plugin {plugin_name!r} in {', '.join(places) or 'any directory'}")

    def load_plugin(self) -> Any:
        """Import the module and return a new instance of its class; raises PluginLoadError."""
        directory = str(self._plug.directory)
        if directory not in sys.path:
            sys.path.append(directory)
        cls, _ = plugin_class(load_module(self._plug), self._base_class)
        return cls(self._config)
