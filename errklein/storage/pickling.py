"""Pickling of values so that they can be read after restarts and after reloads of plugins, and restricted unpickling.

A reload executes a plugin's modules again. Instances of the old classes still exist, but the class's name leads to the new
class, and the standard pickler refuses such an instance. This pickler stores a plugin's classes and functions by name
alone, so reading finds the current ones.

Values from outside are those from a backup or an errbot shelf. Unpickling calls the functions that a pickle names. For a
restored value, `ValueReader` calls only the names in STANDARD_NAMES, those for which `find_restored_class` returns an object,
and those that the operator trusts. docs/design.md, "The restricted unpickler", has the rules and their reasons.
`check_value` checks a value before it is stored, and `rewritten` replaces names for the export to errbot; neither calls
anything."""

from __future__ import annotations

import copyreg
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
from typing import Any, ClassVar, NoReturn

from errklein.database import StorageError
from errklein.text.errors import one_line

PLUGIN_PACKAGE = "errklein_plugins"

PROTOCOL = 5

Row = tuple[str, str, bytes]  # a stored value: namespace, key, pickle

PLUGIN_GLOBAL = ("errklein.storage.pickling", "plugin_global")
"""The module and name of `plugin_global` in stored pickles. The function must therefore not be moved or renamed."""

FindClass = Callable[[str, str], object]
"""Looks up a class or function by the module and name in a pickle; None means that the standard lookup applies."""

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

FindStoredClass = Callable[[str, str, str], object]
"""Looks up a class or function by the namespace of a value and the module and name in it; returns None if it is unknown."""


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
    return reduce(getattr, qualname.split("."), import_module(module))


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


def is_standard(module: str, name: str) -> bool:
    """Return whether every restored value may use the name."""
    return name in STANDARD_NAMES.get(module, ())


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
    """Unpickles values. `find_class` looks up each class that a value of the bot's own uses; if it returns None, the
    class is imported as the value names it. `find_restored_class` looks up the classes of restored values that aren't
    in STANDARD_NAMES; if it returns None, the value is refused."""

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
