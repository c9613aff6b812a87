"""Values to bytes and back, across restarts and reloads of the plugins whose classes they are made of.

A reload runs a plugin's modules again, so a class that an older instance was made of is no longer the one that its
name leads to, and pickle refuses such an instance. Here a plugin's classes and functions are stored by name alone;
reading always leads to the current ones.
"""

from __future__ import annotations

import copyreg
import importlib
import pickle
from collections.abc import Callable
from functools import reduce
from io import BytesIO
from types import FunctionType
from typing import Any, NoReturn

PLUGIN_PACKAGE = "errklein_plugins"

PROTOCOL = 5

PLUGIN_GLOBAL = ("errklein.storage.pickling", "plugin_global")
"""The module and name under which stored bytes call `plugin_global`, which therefore must not be moved or renamed."""

FindClass = Callable[[str, str], object]
"""Asked first for each class or function that stored bytes name, by module and name. None: it is where it says."""


class NameIsGone(Exception):
    """Stored bytes name a class or function that doesn't exist, or whose module can't be imported."""


def dumps(value: object) -> bytes:
    """The bytes to store; raises whatever pickle, or the `__reduce__` of a class, raises."""
    buffer = BytesIO()
    _Pickler(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


def loads(data: bytes, find_class: FindClass | None = None) -> Any:
    """The value of stored `data`, an errbot shelf's included; raises NameIsGone, or what the classes themselves raise.

    It runs code that the bytes name, so they must come from the bot's own data directory.
    """
    return _Unpickler(BytesIO(data), find_class).load()


def plain_value(data: bytes) -> Any:
    """The value of a pickle that names nothing. Raises ValueError for any other, without calling what it names."""
    # An extension code that is cached yields its class without a call of find_class.
    copyreg.clear_extension_cache()
    try:
        return _Plain(BytesIO(data)).load()
    except Exception as error:
        raise ValueError("the pickle names a class, or is damaged") from error


def plugin_global(module: str, qualname: str) -> object:
    """The class or function of that name as it is now; see PLUGIN_GLOBAL."""
    return reduce(getattr, qualname.split("."), importlib.import_module(module))


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        if not isinstance(value, (type, FunctionType)):
            return NotImplemented
        module, qualname = value.__module__, value.__qualname__
        if not isinstance(module, str) or module.partition(".")[0] != PLUGIN_PACKAGE:
            return NotImplemented
        try:
            plugin_global(module, qualname)
        except ImportError:
            # The plugin is being unloaded or reloaded; what a handler that is still running stores must not be lost.
            if "<" in qualname:
                return NotImplemented
        except AttributeError:
            # A local class, or one that the plugin no longer has: pickle says so better.
            return NotImplemented
        return plugin_global, (module, qualname)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BytesIO, find_class: FindClass | None) -> None:
        super().__init__(file)
        self._ask_first = find_class

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == PLUGIN_GLOBAL:
            return self.find_class
        found = None if self._ask_first is None else self._ask_first(module, name)
        if found is not None:
            return found
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError) as error:
            raise NameIsGone(f"there is no {module}.{name} any more") from error


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module}.{name}")
