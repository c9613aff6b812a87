"""For pytest: tests written for errbot's plugins find errklein under the name errbot, if errbot isn't installed.

With `--errklein`, or `errklein = true` in pytest's configuration, they find it in any case. Apart from errklein itself,
so that pytest has nothing to import where it isn't used.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

NAMES = ("errbot", "flask")
"""The packages that errklein stands for: the others where they aren't installed, once somebody has imported errbot."""


class Substitute(MetaPathFinder, Loader):
    """Finds errklein under the name errbot, if that isn't installed; `always`: under all NAMES in any case.

    Libraries look for Flask to learn whether it is in use, and aren't to find it because of errklein.
    """

    def __init__(self) -> None:
        self.always = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Called by the import system for each module that isn't imported yet."""
        if fullname not in NAMES or not (self.always or (fullname == "errbot" and not _is_installed(fullname))):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """An empty module, which is replaced at once."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put errklein's modules of the name in their places."""
        from errklein.compat import install, stand_in_for

        stand_in_for(module.__name__)
        install()


substitute = Substitute()
# In front: a directory that is named errbot, as a project's may be, is a package for the ordinary finder.
sys.meta_path.insert(0, substitute)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option and the setting."""
    group = parser.getgroup("errklein")
    group.addoption(
        "--errklein", action="store_true", help="test errbot's plugins on errklein even though errbot is installed"
    )
    parser.addini("errklein", "as the option --errklein", type="bool", default=False)


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Take the names over before any conftest or test module is imported, if that is wanted."""
    if early_config.known_args_namespace.errklein or early_config.getini("errklein"):
        substitute.always = True
        # Other plugins of pytest may have imported it. Whoever has the real Flask by now, goes on with that.
        for module in [known for known in sys.modules if known.partition(".")[0] == "errbot"]:
            del sys.modules[module]


def _is_installed(name: str) -> bool:
    spec = PathFinder.find_spec(name)
    return spec is not None and spec.loader is not None and spec.origin is not None
