"""`importlib` as plugins see it: what they import by a name that is computed is what an import statement would find.

`import_module("helper")` finds the file beside the plugin whose code calls it, as `imports.import_by_name` does.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from errklein.plugins.imports import meant_by


def import_module(name: str, package: str | None = None) -> ModuleType:
    """As importlib's, for the plugin that calls it."""
    return importlib.import_module(meant_by(sys._getframe(1).f_globals.get("__name__", ""), name), package)


def __getattr__(name: str) -> Any:
    return getattr(importlib, name)
