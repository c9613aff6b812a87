"""An import finder that gives tests the helper modules of the plugin under test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from errklein.plugins.names import PACKAGE, slug
from errklein.plugins.plug_file import PlugFile


class HelperModuleFinder(MetaPathFinder, Loader):
    """Makes `import helper` in a test return the module that the plugin has imported, while it is in `sys.meta_path`.

    It doesn't find the plugin's own module: as on errbot, a test that imports it by its bare name gets another one.

    :param plugs: Returns the `.plug` files of the plugins under test.
    """

    def __init__(self, plugs: Callable[[], Iterable[PlugFile]]) -> None:
        self._plugs = plugs

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for a helper module that a plugin has imported; None for other modules."""
        if path is not None or fullname in sys.stdlib_module_names or self._module(fullname) is None:
            return None
        return ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        """Replace the empty module by the plugin's."""
        sys.modules[module.__name__] = self._module(module.__name__) or module

    def _module(self, name: str) -> ModuleType | None:
        for plug in self._plugs():
            module = sys.modules.get(f"{PACKAGE}.{slug(plug.name)}.{name}")
            if module is not None and name != plug.module:
                return module
        return None
