"""A replacement of `importlib` for plugins, whose `import_module("helper")` imports as the statement `import helper` does."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from errklein.plugins.imports import meant_by


def import_module(name: str, package: str | None = None) -> ModuleType:
    """Import a module like `importlib.import_module`, for the plugin whose code calls it."""
    return importlib.import_module(meant_by(sys._getframe(1).f_globals.get("__name__", ""), name), package)


def __getattr__(name: str) -> Any:
    # With `fromlist`, a submodule is imported.
    return getattr(__import__("importlib", fromlist=[name]), name)
