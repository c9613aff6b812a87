"""Pickling of values so that they can be read after restarts and after reloads of plugins. A reload executes a plugin's modules
again. Instances of the old classes still exist, but the class's name leads to the new class, and the standard pickler refuses such
an instance. This pickler stores a plugin's classes and functions by name alone, so reading finds the current ones."""

from __future__ import annotations

import copyreg
import importlib
import pickle
from collections.abc import Callable
from functools import reduce
from io import BytesIO
from types import FunctionType
from typing import Any, NoReturn

from errklein.database import StorageError
from errklein.text.errors import one_line

PLUGIN_PACKAGE = "errklein_plugins"

PROTOCOL = 5

Row = tuple[str, str, bytes]  # a stored value: namespace, key, pickle

PLUGIN_GLOBAL = ("errklein.storage.pickling", "plugin_global")
"""The module and name of `plugin_global` in stored pickles. The function must therefore not be moved or renamed."""

FindClass = Callable[[str, str], object]
"""Looks up a class or function by the module and name in a pickle; None means that the standard lookup applies."""


class NameIsGone(Exception):
    """A stored value uses a class or function that doesn't exist, or whose module can't be imported."""


class UnstorableValue(StorageError, TypeError):
    """The value can't be pickled. The stored value of the key, if there is one, is unchanged."""

    def __init__(self, namespace: str, key: str, value: object, reason: BaseException) -> None:
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        refused = f"a value of type {kind} can't be stored under {key!r} ({one_line(reason)})"
        super().__init__(f"{namespace}: {refused}; nothing was changed")


class UnreadableValue(StorageError):
    """The stored value can't be unpickled. Its bytes stay in the storage. This is deliberately not a KeyError:
    `get(key, default)` would return the default, and the plugin might then overwrite the value."""

    def __init__(self, namespace: str, key: str, reason: BaseException) -> None:
        super().__init__(f"{namespace}: the value of {key!r} can't be read ({one_line(reason)}); it is left as it is")


def dumps(value: object) -> bytes:
    """Return the pickle of the value; raises whatever pickle or the `__reduce__` of a class raises."""
    buffer = BytesIO()
    _Pickler(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


def pickled(namespace: str, key: str, value: object) -> bytes:
    """Return the pickle of a value to store; raises UnstorableValue."""
    try:
        return dumps(value)
    except Exception as error:
        raise UnstorableValue(namespace, key, value, error) from error


def loads(data: bytes, find_class: FindClass | None = None) -> Any:
    """Return the value of the pickle `data`, which may be from an errbot shelf. Unpickling executes code that the bytes
    choose, so they must come from the bot's own data directory. Raises NameIsGone, and whatever the classes raise."""
    return _Unpickler(BytesIO(data), find_class).load()


def plain_value(data: bytes) -> Any:
    """Return the value of a pickle that uses no class or function. Raises ValueError for others, and calls nothing."""
    # pickle returns the class of a cached extension code without calling find_class.
    copyreg.clear_extension_cache()
    try:
        return _Plain(BytesIO(data)).load()
    except Exception as error:
        raise ValueError("the pickle names a class, or is damaged") from error


def plugin_global(module: str, qualname: str) -> object:
    """Return the current class or function of that name; see PLUGIN_GLOBAL."""
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
            # The plugin is being unloaded or reloaded. A handler that is still running may store a value nevertheless.
            if "<" in qualname:
                return NotImplemented
        except AttributeError:
            # A local class, or one that the plugin no longer has. pickle raises a clear error for it.
            return NotImplemented
        return plugin_global, (module, qualname)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BytesIO, find_class: FindClass | None) -> None:
        super().__init__(file)
        self._find_class = find_class

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == PLUGIN_GLOBAL:
            return self.find_class
        found = None if self._find_class is None else self._find_class(module, name)
        if found is not None:
            return found
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError) as error:
            raise NameIsGone(f"{module}.{name} not found") from error


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module}.{name}")
