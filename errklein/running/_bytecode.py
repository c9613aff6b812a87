"""The names in a function's bytecode, with their objects as far as they are known without running it."""

from __future__ import annotations

import builtins
import dis
import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# In Python 3.13 and later, one instruction may load or store two variables.
_MOVES = re.compile(r"(LOAD|STORE)_(?:FAST|DEREF)")


LIBRARY = "_errklein_library"
"""An attribute of descriptors, such as that of `BotPlugin.http`: the dotted path of the class of their values."""


@dataclass(frozen=True)
class Imported:
    """The dotted path of an object that isn't available, such as "time.sleep" of an import inside a function.

    The analysis doesn't import it.
    """

    path: str


@dataclass(frozen=True)
class Name:
    """A name at a line of the source. `value` is the name's object or an Imported; None if it is unknown.

    The text of an attribute is its name; "self.http" for an attribute whose descriptor has LIBRARY.

    `is_import` is True if the line only imports the name, inside a function.
    """

    text: str
    value: Any
    line: int
    is_import: bool = False


def names_in(function: types.FunctionType, owner: type) -> list[Name]:
    """Return the names in the function and its nested functions. Attributes are looked up on modules and on `owner`."""
    cells = dict[str, Any]()
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            cells[name] = cell.cell_contents
        except ValueError:
            cells[name] = None
    return [name for code in _codes(function.__code__) for name in _BytecodeReader(function, owner, cells).read(code)]


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


class _BytecodeReader:
    """Reads the instructions of one code object. `_value` is the object on top of the stack; None if it is unknown."""

    def __init__(self, function: types.FunctionType, owner: type, cells: dict[str, Any]) -> None:
        self._globals = function.__globals__
        self._builtins = vars(builtins)
        self._owner = owner
        self._cells = cells
        self._variables: dict[str, Any] = {}
        self._value: Any = None
        self._module = ""
        self._variable = ""

    def read(self, code: types.CodeType) -> Iterator[Name]:
        line = code.co_firstlineno
        for instruction in dis.get_instructions(code):
            if instruction.positions is not None and instruction.positions.lineno is not None:
                line = instruction.positions.lineno
            opname, name = instruction.opname, instruction.argval
            if opname == "EXTENDED_ARG":
                continue
            loaded, self._variable = self._variable, ""
            if opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                self._value = self._globals.get(name, self._builtins.get(name))
            elif opname in ("LOAD_ATTR", "LOAD_METHOD"):
                self._value = self._attribute(name)
                if loaded == "self" and (library := _library(self._owner, name)):
                    self._value, name = Imported(library), f"self.{name}"
            elif opname == "IMPORT_NAME":
                self._module = name
                self._value = Imported(name)
            elif opname == "IMPORT_FROM":
                self._value = Imported(f"{self._module}.{name}")
            elif moves := _MOVES.findall(opname):
                for move, variable in zip(moves, name if isinstance(name, tuple) else (name,), strict=False):
                    self._move(move, str(variable), self._cells if "DEREF" in opname else self._variables)
                if opname != "LOAD_DEREF" and not isinstance(self._value, Imported):
                    continue
            else:
                if opname.startswith("CALL"):
                    self._value = None
                continue
            yield Name(str(name), self._value, line, opname.startswith("IMPORT_"))

    def _attribute(self, name: str) -> Any:
        if isinstance(self._value, Imported):
            return Imported(f"{self._value.path}.{name}")
        if isinstance(self._value, types.ModuleType):
            return getattr(self._value, name, None)
        # Most likely an attribute of self. For other objects the value can't be known.
        value = inspect.getattr_static(self._owner, name, None)
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        return value if isinstance(value, types.FunctionType) else None

    def _move(self, move: str, variable: str, variables: dict[str, Any]) -> None:
        if move == "LOAD":
            self._value, self._variable = variables.get(variable), variable
            return
        value, self._value = self._value, None
        if isinstance(value, Imported):
            # `import a.b` binds a.
            is_whole = value.path == self._module and variable == self._module.partition(".")[0]
            variables[variable] = Imported(variable) if is_whole else value
        else:
            variables.pop(variable, None)


def _library(owner: type, name: str) -> str:
    """Return LIBRARY of the attribute's descriptor; "" if it has none, or if the plugin has an attribute of that name."""
    descriptor = inspect.getattr_static(owner, name, None)
    library = inspect.getattr_static(descriptor, LIBRARY, "")
    if not library or any(_replaces(cls, name, descriptor) for cls in owner.__mro__):
        return ""
    return str(library)


def _replaces(cls: type, name: str, descriptor: object) -> bool:
    """Return whether the class has another attribute of that name, or a method that assigns one."""
    return vars(cls).get(name, descriptor) is not descriptor or any(
        instruction.opname == "STORE_ATTR" and instruction.argval == name
        for value in vars(cls).values()
        if isinstance(function := inspect.unwrap(value) if callable(value) else None, types.FunctionType)
        for code in _codes(function.__code__)
        for instruction in dis.get_instructions(code)
    )
