"""A pytest plugin that lets tests of errbot's plugins import errklein under the name errbot.

It does so if errbot isn't installed, and always with the option `--errklein` or with `errklein = true` in pytest's
configuration. It is separate from the package errklein, so that pytest doesn't import that where it isn't used.
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
"""The packages that errklein replaces. flask is replaced if it isn't installed, when errbot is imported."""


class Substitute(MetaPathFinder, Loader):
    """Finds errklein under the name errbot if that isn't installed; with `always`, under all NAMES.

    By default it doesn't replace flask, since libraries check by importing it whether Flask is in use.
    """

    def __init__(self) -> None:
        self.always = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for a name that errklein replaces; None for other modules."""
        if fullname not in NAMES or not (self.always or (fullname == "errbot" and not _is_installed(fullname))):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return None, so that the import system creates an empty module, which `exec_module` replaces."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Install errklein's modules under the names of errbot and flask."""
        from errklein.compat import install, stand_in_for

        stand_in_for(module.__name__)
        install()


substitute = Substitute()
# First, since the ordinary finder takes a project directory that is named errbot for a package.
sys.meta_path.insert(0, substitute)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--errklein` and the setting `errklein`."""
    group = parser.getgroup("errklein")
    group.addoption(
        "--errklein", action="store_true", help="run tests of errbot's plugins on errklein even if errbot is installed"
    )
    parser.addini("errklein", "as the option --errklein", type="bool", default=False)


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Replace all NAMES before any conftest or test module is imported, if the option or setting is present."""
    if early_config.known_args_namespace.errklein or early_config.getini("errklein"):
        substitute.always = True
        # Other plugins of pytest may have imported errbot. Modules that have imported the real Flask keep it.
        for module in [known for known in sys.modules if known.partition(".")[0] == "errbot"]:
            del sys.modules[module]


def _is_installed(name: str) -> bool:
    spec = PathFinder.find_spec(name)
    return spec is not None and spec.loader is not None and spec.origin is not None
