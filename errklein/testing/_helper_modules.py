"""Lets tests import what lies beside a plugin, and have what the plugin has."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from errklein.plugins.imports import PACKAGE
from errklein.plugins.names import slug
from errklein.plugins.plug_file import PlugFile


class HelperModuleFinder(MetaPathFinder, Loader):
    """While it is in `sys.meta_path`, `import helper` in a test means the helper module that a plugin of `plugs()` has imported.

    The plugin's own module isn't meant: as on errbot, a test that imports it by its bare name gets another one.
    """

    def __init__(self, plugs: Callable[[], Iterable[PlugFile]]) -> None:
        self._plugs = plugs

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Called by the import system for each module that isn't imported yet."""
        if path is not None or fullname in sys.stdlib_module_names or self._module(fullname) is None:
            return None
        return ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        """Put the plugin's module in the place of the empty one."""
        sys.modules[module.__name__] = self._module(module.__name__) or module

    def _module(self, name: str) -> ModuleType | None:
        for plug in self._plugs():
            module = sys.modules.get(f"{PACKAGE}.{slug(plug.name)}.{name}")
            if module is not None and name != plug.module:
                return module
        return None
