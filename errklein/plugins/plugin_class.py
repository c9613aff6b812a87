"""Which class of a module is the plugin."""

from __future__ import annotations

from types import ModuleType
from typing import TypeVar

from errklein.plugins.load_errors import PluginLoadError

B = TypeVar("B")


def plugin_class(module: ModuleType, base: type[B], named: str = "") -> tuple[type[B], str | None]:
    """The subclass of `base` that the module is there for, and a warning if there was more than one to choose from.

    It is that of the name, if there is one, since several `.plug` files may share a module; else the first in
    alphabetical order among those that the module defines, else among those that it imports. Raises PluginLoadError if
    there is none.
    """
    found = {
        name: value
        for name, value in sorted(vars(module).items())
        if isinstance(value, type) and issubclass(value, base) and value is not base
    }
    own = {name: value for name, value in found.items() if value.__module__ == module.__name__}
    # A class may have two names.
    candidates = list(dict.fromkeys((own or found).values()))
    if not candidates:
        raise PluginLoadError(f"{module.__file__}: there is no subclass of {base.__name__} in it")
    chosen = candidates[0]
    if len(candidates) == 1:
        return chosen, None
    for candidate in candidates:
        if candidate.__name__ == named:
            return candidate, None
    names = ", ".join(candidate.__name__ for candidate in candidates)
    return chosen, f"{module.__file__}: Contains more than one plugin ({names}); {chosen.__name__} is used"
