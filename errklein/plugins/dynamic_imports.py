"""`importlib` as plugins see it: what they import by a name that is computed is what an import statement would find.

`import_module("helper")` and `__import__("helper")` find the file beside the plugin whose code calls them. All else is
importlib's own.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from errklein.plugins.imports import meant_by


def import_module(name: str, package: str | None = None) -> ModuleType:
    """As importlib's, for the plugin that calls it."""
    return importlib.import_module(meant_by(sys._getframe(1).f_globals.get("__name__", ""), name), package)


def import_by_name(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """As `__import__`, for the plugin that calls it."""
    meant = name if level else meant_by(sys._getframe(1).f_globals.get("__name__", ""), name)
    module = __import__(meant, globals, locals, fromlist or (), level)
    if meant == name or fromlist:
        return module
    # What is returned for "helper.part" is `helper`.
    return sys.modules[meant.removesuffix(name) + name.partition(".")[0]]


def __getattr__(name: str) -> Any:
    return getattr(importlib, name)
