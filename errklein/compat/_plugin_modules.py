"""Registration of plugins' modules under errbot's names: `errbot.plugins.<module>`.

If two plugins have modules of the same name, it refers to the one that was loaded last.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from errklein.compat._names import FACADES

_PACKAGE = "errbot.plugins"
_PACKAGE_HERE = f"{FACADES['errbot']}.plugins"


def publish(name: str, module: ModuleType) -> None:
    """Make errbot's name for a plugin's module refer to `module`, until another module of that name is loaded."""
    for package in (_PACKAGE, _PACKAGE_HERE):
        sys.modules[f"{package}.{name}"] = module
    setattr(import_module(_PACKAGE_HERE), name, module)


def withdraw(name: str, module: ModuleType) -> None:
    """Remove the name, if it refers to `module`."""
    if sys.modules.get(f"{_PACKAGE_HERE}.{name}") is module:
        for package in (_PACKAGE, _PACKAGE_HERE):
            sys.modules.pop(f"{package}.{name}", None)
        vars(import_module(_PACKAGE_HERE)).pop(name, None)
