"""The name that errbot gives to the module of a plugin: `errbot.plugins.<its name>`, whichever plugin had it last."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from errklein.compat._names import FACADES

_PACKAGE = "errbot.plugins"
_PACKAGE_HERE = f"{FACADES['errbot']}.plugins"


def publish(name: str, module: ModuleType) -> None:
    """Let errbot's name for a plugin's module lead to the module, until another of that name is loaded."""
    for package in (_PACKAGE, _PACKAGE_HERE):
        sys.modules[f"{package}.{name}"] = module
    setattr(import_module(_PACKAGE_HERE), name, module)


def withdraw(name: str, module: ModuleType) -> None:
    """Forget the name, if it leads to the module."""
    if sys.modules.get(f"{_PACKAGE_HERE}.{name}") is module:
        for package in (_PACKAGE, _PACKAGE_HERE):
            sys.modules.pop(f"{package}.{name}", None)
        vars(import_module(_PACKAGE_HERE)).pop(name, None)
