"""What a pickle names, found without running it."""

from __future__ import annotations

import pickle
import pickletools
from io import BytesIO
from typing import Any, NoReturn


class DamagedPickle(Exception):
    """The bytes are no whole pickle; the text says why."""


def names_in(data: bytes) -> set[tuple[str, str]]:
    """The classes and functions that the pickle names, by module and name, as Python 3 calls them.

    Nothing is imported or called. Raises DamagedPickle.
    """
    names: set[tuple[str, str]] = set()
    memo: dict[int, str | None] = {}
    pushed: list[str | None] = []
    end = 0
    try:
        for opcode, argument, position in pickletools.genops(data):
            end = position + 1 if position is not None else end
            if opcode.name in {"GLOBAL", "INST"}:
                module, _, name = str(argument).partition(" ")
                names.add(_as_in_python_3(module, name))
                pushed.append(None)
            elif opcode.name == "STACK_GLOBAL":
                module_or_none, name_or_none = ([None, None, *pushed])[-2:]
                if module_or_none is not None and name_or_none is not None:
                    names.add((module_or_none, name_or_none))
                pushed.append(None)
            elif opcode.name == "MEMOIZE":
                memo[len(memo)] = pushed[-1] if pushed else None
            elif opcode.name in {"PUT", "BINPUT", "LONG_BINPUT"}:
                memo[_number(argument)] = pushed[-1] if pushed else None
            elif opcode.name in {"GET", "BINGET", "LONG_BINGET"}:
                pushed.append(memo.get(_number(argument)))
            else:
                pushed.append(argument if isinstance(argument, str) else None)
    except Exception as error:
        raise DamagedPickle(" ".join(str(error).split()) or type(error).__name__) from error
    if end != len(data):
        raise DamagedPickle(f"{len(data) - end} bytes too many")
    return names


def plain_value(data: bytes) -> Any:
    """The value of a pickle that names nothing: of numbers, strings, lists and the like; raises ValueError for others."""
    try:
        return _Plain(BytesIO(data)).load()
    except Exception as error:
        raise ValueError("the pickle names a class, or is damaged") from error


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module}.{name}")


def _number(argument: Any) -> int:
    return int(argument)


def _as_in_python_3(module: str, name: str) -> tuple[str, str]:
    """Pickles of protocol 2 and lower, as errbot's, have the names of Python 2's modules."""
    compat: Any = _compat_pickle()
    if (module, name) in compat.NAME_MAPPING:
        return compat.NAME_MAPPING[(module, name)]  # type: ignore[no-any-return]
    return compat.IMPORT_MAPPING.get(module, module), name


def _compat_pickle() -> Any:
    import _compat_pickle

    return _compat_pickle
