"""Restricted unpickling, for values from outside: those from a backup or an errbot shelf. Unpickling calls the
functions that a pickle names. For a restored value, `ValueReader` calls only the names in STANDARD_NAMES, those for
which `find_restored_class` returns an object, and those that the operator trusts. docs/design.md, "The restricted
unpickler", has the rules and their reasons. `check_value` checks a value before it is stored, and `rewritten` replaces
names for the export to errbot; neither calls anything."""

from __future__ import annotations

import enum
import pickle
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from importlib import import_module
from io import BytesIO
from struct import unpack
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, ClassVar

from errklein.storage.pickling import PLUGIN_GLOBAL, FindClass, Row, loads, plain_value
from errklein.text.errors import one_line

_PATHS = ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath")

STANDARD_NAMES: Mapping[str, tuple[str, ...]] = {
    "builtins": (
        *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range"),
        *("set", "slice", "str", "tuple", "Ellipsis", "NotImplemented"),
    ),
    "collections": ("Counter", "OrderedDict", "defaultdict", "deque"),
    "copyreg": ("__newobj__", "_reconstructor"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "ipaddress": (*("IPv4Address", "IPv4Interface", "IPv4Network"), *("IPv6Address", "IPv6Interface", "IPv6Network")),
    "pathlib": _PATHS,
    # The module of these classes since Python 3.13.
    "pathlib._local": _PATHS,
    "re": ("_compile",),
    "time": ("struct_time",),
    "types": ("SimpleNamespace",),
    "uuid": ("SafeUUID", "UUID"),
    "zoneinfo": ("ZoneInfo", "ZoneInfo._unpickle"),
}
"""The allowed names by module. Names such as `datetime.sys`, which lead to another module, are therefore refused.

`copyreg._reconstructor` and `__newobj__` only call `__new__` and `__init__` of a class that the pickle must name as well,
and `re._compile` parses a pattern. ZoneInfo refuses keys that lead out of the directories of time zones. Paths open no
file until a plugin uses them.
"""


def is_standard(module: str, name: str) -> bool:
    """Return whether every restored value may use the name."""
    return name in STANDARD_NAMES.get(module, ())


FindStoredClass = Callable[[str, str, str], object]
"""Looks up a class or function by the namespace of a value and the module and name in it; returns None if it is unknown."""


def _called(function: PickledName | PickledObject, *args: object) -> PickledObject:
    return PickledObject(function, args)


@dataclass(frozen=True)
class PickledName:
    """A class or function in a pickle. It is never imported or called: calls are recorded."""

    module: str
    name: str
    __call__ = _called


@dataclass(eq=False)
class PickledObject:
    """An object in a pickle, as the recorded call that creates it, its state, and its items as a list or mapping."""

    function: PickledName | PickledObject
    args: tuple[object, ...]
    state: object = None
    items: list[object] = field(default_factory=list)
    pairs: list[tuple[object, object]] = field(default_factory=list)
    __call__ = _called

    def __setstate__(self, state: object) -> None:
        self.state = state

    def append(self, item: object) -> None:
        self.items.append(item)

    def __setitem__(self, key: object, value: object) -> None:
        self.pairs.append((key, value))


_SHARED = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, enum.Enum, PickledName)
"""The types of objects that the whole process shares. BUILD must not change them."""

_BUILD: Callable[..., None] = pickle._Unpickler.dispatch[pickle.BUILD[0]]


def _unknown(*name: str) -> None:
    """Return None for every name."""


class ForbiddenName(Exception):
    """The pickle uses a forbidden name; `str()` has the name and the option that allows it."""

    def __init__(self, module: str, name: str) -> None:
        self.name = f"{module}.{name}"
        super().__init__(
            f"values from outside may not use {self.name}; to allow it, restore or import the value again with "
            f"`--trust {self.name}`"
        )


class RefusedPickle(Exception):
    """The pickle uses an opcode that is always refused; `str()` is the reason."""


class RestrictedUnpickler(pickle._Unpickler):
    """An unpickler that gets the object of each name, in its Python 3 form, from `look_up`."""

    stack: list[Any]
    read: Callable[[int], bytes]

    def __init__(self, file: BytesIO, look_up: FindClass) -> None:
        super().__init__(file)
        self._look_up: Callable[[str, str], Any] = look_up
        # A reference to the object is kept, so that no other object gets its id while the pickle is read.
        self._named: dict[int, tuple[object, str, str]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return the object of the name. pickle calls this, and so do errklein's pickles for plugins' classes."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedPickle("a name is not a string")
        # Pickles of protocol 2 and lower have the names of Python 2.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if (module, name) == PLUGIN_GLOBAL:
            return self.find_class
        if (module, name) == ("builtins", "getattr"):
            return self._attribute
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        found = self._look_up(module, name)
        self._named[id(found)] = found, module, name
        return found

    def _attribute(self, *args: Any) -> Any:
        """Replace `getattr`, which pickles call for nested classes, by the lookup of the nested name."""
        if len(args) == 2 and id(args[0]) in self._named and isinstance(args[1], str):
            _, module, name = self._named[id(args[0])]
            return self.find_class(module, f"{name}.{args[1]}")
        return self._look_up("builtins", "getattr")(*args)

    def _encode(self, *args: Any) -> Any:
        """Replace `_codecs.encode`, which pickles call for bytes."""
        if len(args) == 2 and isinstance(args[0], str) and args[1] in ("latin1", "latin-1"):
            return args[0].encode("latin1")
        return self._look_up("_codecs", "encode")(*args)

    def _build(self) -> None:
        if isinstance(self.stack[-2], _SHARED):
            raise RefusedPickle("it sets attributes of a class or function")
        _BUILD(self)

    def _bytearray(self) -> None:
        # pickle would create a bytearray of the announced size before it reads the bytes.
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


@dataclass(frozen=True)
class ValueReader:
    """Unpickles values, with a lookup for the bot's own values and a restricted one for restored values. `find_class`
    looks up each class that a value of the bot's own uses; if it returns None, the class is imported from the module
    that the value names. For a restored value, `find_restored_class` looks up the classes that aren't in
    STANDARD_NAMES; if it returns None, the value is refused."""

    find_class: FindStoredClass = _unknown
    find_restored_class: FindStoredClass = _unknown

    def load(self, namespace: str, data: bytes, trusted: Collection[str] | None) -> Any:
        """Return the value of a pickle in the namespace; raises any error of unpickling. `trusted` has the additional names
        that a restored value may use, each as "module.qualname"; None means that the value is the bot's own. A restored one
        raises ForbiddenName if it uses another name, and RefusedPickle for an opcode that is always refused."""
        if trusted is None:
            return loads(data, partial(self.find_class, namespace))
        try:
            return plain_value(data)
        except ValueError:
            return RestrictedUnpickler(BytesIO(data), partial(self._allowed, namespace, trusted)).load()

    def _allowed(self, namespace: str, trusted: Collection[str], module: str, name: str) -> object:
        if is_standard(module, name):
            module = "pathlib" if module == "pathlib._local" else module
            return reduce(getattr, name.split("."), import_module(module))
        if f"{module}.{name}" in trusted:
            found = self.find_class(namespace, module, name)
            return reduce(getattr, name.split("."), import_module(module)) if found is None else found
        found = self.find_restored_class(namespace, module, name)
        if found is None:
            raise ForbiddenName(module, name)
        return found


DEFAULT_READER = ValueReader()
"""Imports each class from the module that the value names; restored values may use only STANDARD_NAMES."""


class DamagedPickle(Exception):
    """The bytes are not a complete pickle, or use an opcode that is always refused; `str()` is the reason."""


class RecordingUnpickler(RestrictedUnpickler):
    """An unpickler that calls nothing if `look_up` returns a PickledName for each name."""

    def _new(self) -> None:
        args, cls = self.stack.pop(), self.stack.pop()
        new = cls.__new__ if isinstance(cls, type) else PickledName("copyreg", "__newobj__")
        self.stack.append(new(cls, *args))

    def _new_with_options(self) -> None:
        options, args, cls = (self.stack.pop() for _ in range(3))
        self.stack.append(PickledName("copyreg", "__newobj_ex__")(cls, args, options))

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **RestrictedUnpickler.dispatch,
        pickle.NEWOBJ[0]: _new,
        pickle.NEWOBJ_EX[0]: _new_with_options,
    }


def names_in(data: bytes) -> set[tuple[str, str]]:
    """Return the classes and functions that the pickle uses, as pairs of module and name in their Python 3 form.
    `getattr` and `_codecs.encode` are left out if they are called as the pickle module does. Raises DamagedPickle."""
    names: set[tuple[str, str]] = set()

    def look_up(module: str, name: str) -> object:
        names.add((module, name))
        return PickledName(module, name)

    file = BytesIO(data)
    try:
        RecordingUnpickler(file, look_up).load()
    except Exception as error:
        raise DamagedPickle(one_line(error)) from error
    if file.tell() != len(data):
        raise DamagedPickle(f"{len(data) - file.tell()} bytes after its end")
    return names


class NotExportable(Exception):
    """errbot couldn't read the value; `str()` is the reason."""


def rewritten(data: bytes, find: FindClass, reduce: Callable[[object], tuple[Any, ...] | None]) -> bytes:
    """Return the pickle with other names; raises NotExportable. No code of a plugin is imported or executed. `find`
    returns the PickledName to write for a module and a name, or a class. `reduce` returns how to write instances of
    such a class, as `object.__reduce__` does, and None for any other object."""
    buffer = BytesIO()
    try:
        # Protocol 4 writes names of nested classes as they are.
        pickler = _RenamingPickler(buffer, 4)
        pickler.reduce = reduce
        pickler.dump(RecordingUnpickler(BytesIO(data), find).load())
    except NotExportable:
        raise
    except Exception as error:
        raise NotExportable(one_line(error)) from error
    return buffer.getvalue()


class _RenamingPickler(pickle._Pickler):
    """Python's implementation, since `save_global` can't be overridden in C."""

    reduce: Callable[[object], tuple[Any, ...] | None]
    save: Callable[[object], None]
    write: Callable[[bytes], None]
    memoize: Callable[[object], None]

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, PickledName):
            return value.name
        if isinstance(value, PickledObject):
            return value.function, value.args, value.state, iter(value.items), iter(value.pairs)
        return self.reduce(value) or NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if not isinstance(obj, PickledName):
            raise NotExportable(f"it contains {obj!r}")
        self.save(obj.module)
        self.save(obj.name)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)


class NameStatus(enum.Enum):
    """The status of a class or function name that a restored value uses."""

    ALLOWED = enum.auto()
    MISSING = enum.auto()
    """The name of a plugin that isn't installed or doesn't define it. It becomes allowed when the plugin does."""
    REFUSED = enum.auto()


Judge = Callable[[str, str, str], NameStatus]
"""Returns the status of a name. Arguments: the namespace of the value, the module, and the name in the module."""


def check_value(
    namespace: str, key: str, data: bytes, judge: Judge, trusted: Collection[str]
) -> tuple[str | None, str | None]:
    """Check each name in the pickle `data` that isn't `trusted`; raises DamagedPickle. Returns a line with the refused
    names and the options that allow them, and a line with the missing ones; None if there are none."""
    refused, missing = [], []
    for module, name in sorted(names_in(data)):
        path = f"{module}.{name}"
        status = NameStatus.ALLOWED if path in trusted else judge(namespace, module, name)
        if status is NameStatus.REFUSED:
            refused.append(path)
        elif status is NameStatus.MISSING:
            missing.append(path)
    refusal = (
        f"{namespace}: {key!r} uses {' and '.join(refused)}, which values from outside may not use; "
        f"to allow that, add {' '.join(f'--trust {path}' for path in refused)}"
    )
    warning = f"{namespace}: {key!r} is kept as it is, and can be read when the plugin defines {' and '.join(missing)}"
    return refusal if refused else None, warning if missing else None


def check_rows(rows: Iterable[Row], judge: Judge, trusted: Collection[str]) -> tuple[list[str], list[str]]:
    """Check the rows and return two lists of lines. The first has a line for each value with a refused name, the second
    one for each value that can't be read for other reasons."""
    refusals: list[str] = []
    warnings: list[str] = []
    for namespace, key, data in rows:
        try:
            refusal, warning = check_value(namespace, key, data, judge, trusted)
        except DamagedPickle as error:
            # Such a value is harmless, since reading it raises an error, and the operator may be able to repair it.
            warnings.append(f"{namespace}: {key!r} is kept as it is, and can't be read: {error}")
            continue
        if refusal:
            refusals.append(refusal)
        if warning:
            warnings.append(warning)
    return refusals, warnings
