"""The names of the standard library that a restored value may use.

Reading a pickle calls what it names, with arguments that the pickle chooses. So a name is listed here only if no
arguments make it run code, open a file or give access to another object's attributes. In particular, these are left out:

- `builtins.eval`, `exec`, `compile`, `__import__`, `open`, `type` (makes classes), and everything in `os`, `subprocess`,
  `importlib` and the like;
- `builtins.getattr`, all of `operator`, and `functools.partial` and `reduce`: they lead from a harmless object to its
  `__globals__`, or put calls together. Pickles of protocols 0 to 3 write a nested class as `getattr(Outer, "Inner")`; the
  unpickler takes that as the name `Outer.Inner`, which has to be allowed as any other;
- `codecs.encode` and `decode`, which call any registered codec. Pickles of protocols 0 to 2 write `bytes` as
  `_codecs.encode(text, "latin1")`; the unpickler makes that one call itself;
- `copyreg.__newobj_ex__` and `types.FunctionType`, `CodeType` and `MethodType`.

`copyreg._reconstructor` and `__newobj__` only call `__new__` and `__init__` of a class that the pickle has to name as
well. `re._compile` parses a pattern. The paths open nothing until a plugin asks them to.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from importlib import import_module

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
    "ipaddress": (
        *("IPv4Address", "IPv4Interface", "IPv4Network"),
        *("IPv6Address", "IPv6Interface", "IPv6Network"),
    ),
    "pathlib": _PATHS,
    # The module of these classes from Python 3.13 on.
    "pathlib._local": _PATHS,
    "re": ("_compile",),
    "time": ("struct_time",),
    "types": ("SimpleNamespace",),
    "uuid": ("SafeUUID", "UUID"),
    "zoneinfo": ("ZoneInfo", "ZoneInfo._unpickle"),
}
"""Names by module. Only these exact names are allowed, so that none leads to another module, as `datetime.sys` does."""


def _zone(key: str, from_cache: bool) -> zoneinfo.ZoneInfo:
    # ZoneInfo refuses keys that lead out of the directories of time zones.
    return zoneinfo.ZoneInfo(key) if from_cache else zoneinfo.ZoneInfo.no_cache(key)


def is_standard(module: str, name: str) -> bool:
    """Whether a restored value may use the name."""
    return name in STANDARD_NAMES.get(module, ())


def standard_object(module: str, name: str) -> object:
    """The object of that name; raises ImportError or AttributeError if this Python version doesn't have it."""
    if (module, name) == ("zoneinfo", "ZoneInfo._unpickle"):
        return _zone
    found: object = getattr(import_module("pathlib" if module == "pathlib._local" else module), name)
    return found
