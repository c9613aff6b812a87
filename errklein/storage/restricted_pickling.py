"""Restricted unpickling of values from outside: from a backup or one of errbot's shelves.

Reading a pickle calls the classes and functions that it names. Here each name must be allowed before it is looked up:

- the names in `standard_names`;
- names for which `find` returns something: classes and functions of the plugin, and errklein's value classes;
- the names that the operator trusts, which `find_any` looks up.

Two opcodes bypass the lookup and are refused: EXT, which names a class by a number that is registered in the process, and
BUILD on anything but an instance, which sets attributes of a class or function for the whole process. pickle itself
refuses persistent ids. All other opcodes work on objects that were looked up.

The unpickler is the standard library's in Python, since BUILD can't be overridden in the one in C. It is slower, and is used
only for values that name something.
"""

from __future__ import annotations

import enum
import pickle
import sys
from collections.abc import Callable, Collection
from functools import reduce
from importlib import import_module
from io import BytesIO
from struct import unpack
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, ClassVar

from errklein.storage.pickling import FindClass, plugin_global
from errklein.storage.plain_pickling import plain_value
from errklein.storage.standard_names import is_standard, standard_object

_SHARED = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, enum.Enum)
"""Types of objects that the whole process shares, so BUILD must not change them."""

_BUILD: Callable[..., None] = pickle._Unpickler.dispatch[pickle.BUILD[0]]


def _unknown(module: str, name: str) -> None:
    """Knows no class."""


class ForbiddenName(Exception):
    """The pickle uses a forbidden name; `str()` contains the name and the option that allows it."""

    def __init__(self, module: str, name: str) -> None:
        self.name = f"{module}.{name}"
        super().__init__(
            f"values from outside may not use {self.name}; to allow it, restore or import the value again with "
            f"`--trust {self.name}`"
        )


class RefusedPickle(Exception):
    """The pickle uses an opcode that is always refused; str() is the reason."""


class RestrictedUnpickler(pickle._Unpickler):
    """An unpickler that gets the object for each name from `look_up`."""

    stack: list[Any]
    read: Callable[[int], bytes]

    def __init__(self, file: BytesIO) -> None:
        super().__init__(file)
        # The object is kept, so that no other object gets its id while this pickle is read.
        self._named: dict[int, tuple[object, str, str]] = {}

    def look_up(self, module: str, name: str) -> object:
        """The object for a name, which is given as in Python 3; raises ForbiddenName."""
        raise ForbiddenName(module, name)

    def find_class(self, module: str, name: str) -> Any:
        """Called by pickle for each name, and by errklein's own pickles for names of plugins' classes."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedPickle("a name is not a string")
        module, name = as_in_python_3(module, name)
        if (module, name) == (plugin_global.__module__, plugin_global.__name__):
            return self.find_class
        if (module, name) == ("builtins", "getattr"):
            return self._attribute
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        found = self.look_up(module, name)
        self._named[id(found)] = found, module, name
        return found

    def _attribute(self, *args: Any) -> Any:
        """`getattr`, as pickle calls it for what is nested in a class: another name to look up."""
        if len(args) == 2 and id(args[0]) in self._named and isinstance(args[1], str):
            _, module, name = self._named[id(args[0])]
            return self.find_class(module, f"{name}.{args[1]}")
        function: Any = self.look_up("builtins", "getattr")
        return function(*args)

    def _encode(self, *args: Any) -> Any:
        """`_codecs.encode`, as pickle calls it for bytes."""
        if len(args) == 2 and isinstance(args[0], str) and args[1] in ("latin1", "latin-1"):
            return args[0].encode("latin1")
        function: Any = self.look_up("_codecs", "encode")
        return function(*args)

    def _build(self) -> None:
        if isinstance(self.stack[-2], _SHARED):
            raise RefusedPickle("it sets attributes of a class or function")
        _BUILD(self)

    def _bytearray(self) -> None:
        # pickle itself would make a bytearray of the announced size before it reads.
        (size,) = unpack("<Q", self.read(8))
        data = self.read(min(size, sys.maxsize))
        if len(data) != size:
            raise RefusedPickle("a bytearray is cut off")
        self.stack.append(bytearray(data))

    def _extension(self) -> None:
        raise RefusedPickle("it uses pickle's extension registry")

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: _build,
        pickle.BYTEARRAY8[0]: _bytearray,
        pickle.EXT1[0]: _extension,
        pickle.EXT2[0]: _extension,
        pickle.EXT4[0]: _extension,
    }


class _Reader(RestrictedUnpickler):
    def __init__(self, data: bytes, find: FindClass, find_any: FindClass, trusted: Collection[str]) -> None:
        super().__init__(BytesIO(data))
        self._find = find
        self._find_any = find_any
        self._trusted = trusted

    def look_up(self, module: str, name: str) -> object:
        if is_standard(module, name):
            return standard_object(module, name)
        if f"{module}.{name}" in self._trusted:
            found = self._find_any(module, name)
            return reduce(getattr, name.split("."), import_module(module)) if found is None else found
        found = self._find(module, name)
        if found is None:
            raise ForbiddenName(module, name)
        return found


def restricted_loads(
    data: bytes,
    find: FindClass = _unknown,
    find_any: FindClass = _unknown,
    trusted: Collection[str] = (),
) -> Any:
    """The value of a pickle from outside.

    `find` gets a module and a name, and returns the object if the pickle may use it, else None. `trusted` are further names,
    as "module.qualname", which `find_any` looks up. Raises ForbiddenName, RefusedPickle, and any error of pickle and the
    classes.
    """
    try:
        return plain_value(data)
    except ValueError:
        return _Reader(data, find, find_any, trusted).load()


def as_in_python_3(module: str, name: str) -> tuple[str, str]:
    """Module and name as in Python 3. Pickles of protocol 2 and lower, such as errbot's, have those of Python 2."""
    compat: Any = import_module("_compat_pickle")
    if (module, name) in compat.NAME_MAPPING:
        module, name = compat.NAME_MAPPING[(module, name)]
        return module, name
    return compat.IMPORT_MAPPING.get(module, module), name
