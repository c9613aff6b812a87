"""Where the classes are that stored values name, when errbot stored them.

There a plugin's module was called `errbot.plugins.<module>` and a helper beside it was a module for everybody; here both
are in the plugin's own package.
"""

from __future__ import annotations

import sys
from functools import reduce
from importlib import import_module

from errklein.plugins.imports import PACKAGE
from errklein.plugins.slugs import slug

_ERRBOT_PLUGINS = "errbot.plugins."


def find_class(namespace: str, module: str, qualname: str) -> object | None:
    """The class or function that a value in the storage of the plugin `namespace` names; None: where it says."""
    if module == "errbot" or module.startswith("errbot."):
        return _of_errbot(namespace, module, qualname)
    if module.partition(".")[0] in sys.stdlib_module_names or module.partition(".")[0] in {"errklein", PACKAGE}:
        return None
    return _found(f"{PACKAGE}.{slug(namespace)}.{module}", qualname)


def _of_errbot(namespace: str, module: str, qualname: str) -> object | None:
    if not module.startswith(_ERRBOT_PLUGINS):
        return _found(f"errklein.compat.{module}", qualname)
    name = module.removeprefix(_ERRBOT_PLUGINS)
    found = _found(f"{PACKAGE}.{slug(namespace)}.{name}", qualname)
    if found is not None:
        return found
    # A plugin may store what it got from another one.
    others = [other for other in list(sys.modules) if other.startswith(f"{PACKAGE}.") and other.endswith(f".{name}")]
    return next((found for other in others if (found := _found(other, qualname)) is not None), None)


def _found(module: str, qualname: str) -> object | None:
    try:
        found: object = reduce(getattr, qualname.split("."), import_module(module))
    except (ImportError, AttributeError):
        return None
    return found
