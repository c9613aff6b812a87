"""Decides from a function, before it is called, where a handler runs: on the reactor or in a thread. Blocking code must
not run on the reactor, and code that uses Twisted must not run anywhere else. The rules are in docs/where-code-runs.md,
and their reasons in docs/design.md, "Where a handler runs"."""

from __future__ import annotations

import builtins
import dis
import inspect
import re
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_REACTOR_LIBRARIES = frozenset({"twisted", "treq", "klein"})
_SAFE_IN_THREADS = ("twisted.logger", "twisted.python")
_MADE_FOR_THREADS = frozenset({"callFromThread", "blockingCallFromThread", "isInIOThread"})

_LIBRARY = "_errklein_library"
"""An attribute of descriptors, such as that of `BotPlugin.http`: the dotted path of the class of their values."""

_AWAITABLE = re.compile(r"\b(Deferred|Awaitable|Coroutine|Future|Task)\b")


class Placement(Enum):
    """Where a handler runs."""

    REACTOR = "reactor"
    THREAD = "thread"


@dataclass(frozen=True)
class ExplainedPlacement:
    """Where a handler runs, and the reason. `reason` is a phrase such as "async def" or "names treq in _notify"."""

    placement: Placement
    reason: str


def on_reactor(function: F) -> F:
    """Mark a plain function as a handler that runs on the reactor instead of in a thread.

    For example::

        from errklein import BotPlugin, botcmd, on_reactor


        class Counter(BotPlugin):
            @on_reactor
            def callback_message(self, message):
                self.counted = getattr(self, "counted", 0) + 1

    The function must not block: it must not wait for the network, a disk or a lock. It may return a Deferred. It works
    for every method that errklein calls, including `activate` and the methods of pollers. In `@botcmd` and `@webhook`,
    `threaded=False` has the same effect. `async def` functions don't need the mark."""
    function._errklein_threaded = False  # type: ignore[attr-defined]
    return function


# Weak references, so that functions and classes of reloaded plugins are freed.
_decided: weakref.WeakKeyDictionary[Any, weakref.WeakKeyDictionary[type, ExplainedPlacement]] = (
    weakref.WeakKeyDictionary()
)


def placement_of(handler: Callable[..., Any]) -> Placement:
    return explain_placement(handler).placement


def explain_placement(handler: Callable[..., Any]) -> ExplainedPlacement:
    """Return where a handler, which may be any callable, runs and why. Decisions about functions are cached."""
    while isinstance(handler, partial):
        handler = handler.func
    function: Any = handler
    owner: type = type(None)
    if inspect.ismethod(handler):
        function = handler.__func__
        owner = handler.__self__ if isinstance(handler.__self__, type) else type(handler.__self__)
    elif not isinstance(handler, types.FunctionType):
        function = getattr(type(handler), "__call__", handler)  # noqa: B004 - the method itself is examined
        owner = type(handler)
    try:
        by_owner = _decided.get(function) or _decided.setdefault(function, weakref.WeakKeyDictionary())
    except TypeError:
        # Builtins have no weak references, and no code to examine.
        return ExplainedPlacement(Placement.THREAD, "builtin")
    decided = by_owner.get(owner)
    if decided is None:
        decided = by_owner[owner] = _decide(function, owner)
    return decided


def _decide(function: Any, owner: type) -> ExplainedPlacement:
    layers = list(function_layers(function))
    for layer in layers:
        marked = getattr(layer, "_errklein_threaded", None)
        if marked is not None:
            if marked:
                return ExplainedPlacement(Placement.THREAD, "marked with threaded=True")
            return ExplainedPlacement(Placement.REACTOR, "marked with on_reactor or threaded=False")
    for layer in layers:
        if inspect.iscoroutinefunction(layer) or inspect.isasyncgenfunction(layer):
            return ExplainedPlacement(Placement.REACTOR, "async def")
        if getattr(layer, "__module__", "") != layer.__globals__["__name__"] == "twisted.internet.defer":
            return ExplainedPlacement(Placement.REACTOR, "inlineCallbacks")
        returned = _AWAITABLE.search(_return_annotation(layer))
        if returned:
            return ExplainedPlacement(Placement.REACTOR, f"returns {returned[0]}")
    for reached, names in _reached(layers, owner):
        for name, value in names:
            if _is_of_reactor(name, value):
                return ExplainedPlacement(Placement.REACTOR, f"names {name}{_where(reached, layers[-1])}")
    return ExplainedPlacement(Placement.THREAD, "plain function" if layers else "callable")


def _return_annotation(function: types.FunctionType) -> str:
    if sys.version_info >= (3, 14):
        import annotationlib

        # Evaluating annotations raises NameError if one names something that only type checkers import.
        annotations = annotationlib.get_annotations(function, format=annotationlib.Format.STRING)
    else:
        annotations = function.__annotations__
    return str(annotations.get("return", ""))


def _where(function: types.FunctionType, handler: types.FunctionType) -> str:
    """Return the function, and the file if it isn't the handler's; "" for the handler itself."""
    if function is handler:
        return ""
    file = function.__code__.co_filename
    of_file = "" if file == handler.__code__.co_filename else f" of {PurePath(file).name}"
    return f" in {function.__name__}{of_file}"


def function_layers(function: Any) -> Iterator[types.FunctionType]:
    """Yield the function and the functions that its decorators wrap, from the outside in; nothing for another object."""
    seen = set()
    # functools.wraps may be used with a callable object, and an attribute may lead back to the same function.
    while isinstance(function, types.FunctionType) and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = getattr(function, "__wrapped__", None)


def _reached(
    layers: list[types.FunctionType], owner: type
) -> Iterator[tuple[types.FunctionType, list[tuple[str, Any]]]]:
    """Yield the functions, and the functions of the same plugin that they use directly or indirectly, with the names in
    each. A function with one of the names that are made for threads is left out, with functions that only it uses."""
    home = layers[-1].__module__ if layers else ""
    waiting = list(layers)
    seen = set()
    for function in waiting:
        if function in seen or not _same_plugin(function.__module__ or "", home):
            continue
        seen.add(function)
        names = _names_in(function, owner)
        if _MADE_FOR_THREADS.isdisjoint(name for name, _ in names):
            yield function, names
            for _, value in names:
                waiting += function_layers(value.__func__ if isinstance(value, types.MethodType) else value)


def _names_in(function: types.FunctionType, owner: type) -> list[tuple[str, Any]]:
    """Return the names in a function and in those inside it, with their objects; None for an unknown one. Attributes
    are looked up on modules and on `owner`. The code isn't run, and nothing is imported. An attribute of `self` whose
    descriptor has `_LIBRARY` is named "self.http", for instance; its object is the descriptor."""
    names: list[tuple[str, Any]] = []
    cells = dict(_cells(function))
    for code in _codes(function.__code__):
        value = module = None
        variable = ""
        for instruction in dis.get_instructions(code):
            opname, name = instruction.opname, instruction.argval
            if opname == "EXTENDED_ARG":
                continue
            before, variable = variable, ""
            if opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                value = function.__globals__.get(name, getattr(builtins, name, None))
            elif opname in ("LOAD_ATTR", "LOAD_METHOD"):
                if before == "self" and _is_of_library(owner, name):
                    name, value = f"self.{name}", inspect.getattr_static(owner, name)
                else:
                    value = _attribute(value, name, owner)
            elif opname == "IMPORT_NAME":
                module = sys.modules.get(name) or types.ModuleType(name)
                # `import a.b` binds a.
                value = sys.modules.get(name.partition(".")[0], module)
            elif opname == "IMPORT_FROM":
                value = getattr(module, name, module)
            elif opname == "LOAD_DEREF":
                variable, value = name, cells.get(name)
            elif "LOAD_FAST" in opname:
                # In Python 3.13 and later, one instruction may load or store two variables.
                variable, value = name[-1] if isinstance(name, tuple) else name, None
                continue
            else:
                value = None
                continue
            names.append((name, value))
    return names


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _cells(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue


def _attribute(value: Any, name: str, owner: type) -> Any:
    if isinstance(value, types.ModuleType):
        return getattr(value, name, None)
    # Most likely an attribute of self. For other objects the value can't be known.
    value = inspect.getattr_static(owner, name, None)
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    return value if isinstance(value, types.FunctionType) else None


def _is_of_library(owner: type, name: str) -> bool:
    """Return whether the attribute's descriptor has `_LIBRARY`, and no class of the plugin replaces it or assigns another."""
    descriptor = inspect.getattr_static(owner, name, None)
    if not inspect.getattr_static(descriptor, _LIBRARY, ""):
        return False
    return not any(
        vars(cls).get(name, descriptor) is not descriptor
        or any(name in _assigned_in(value) for value in vars(cls).values())
        for cls in owner.__mro__
    )


def _assigned_in(function: Any) -> set[str]:
    codes = [code for layer in function_layers(function) for code in _codes(layer.__code__)]
    return {one.argval for code in codes for one in dis.get_instructions(code) if one.opname == "STORE_ATTR"}


def _is_of_reactor(name: str, value: Any) -> bool:
    if isinstance(value, types.ModuleType):
        origin = value.__name__
    elif value is None:
        # For an attribute of an unknown object, such as self.treq, only the name is known.
        origin = name
    else:
        origin = (
            inspect.getattr_static(value, _LIBRARY, "") or getattr(value, "__module__", "") or type(value).__module__
        )
    if not isinstance(origin, str) or origin.startswith(_SAFE_IN_THREADS):
        return False
    return origin.partition(".")[0] in _REACTOR_LIBRARIES


def _same_plugin(module: str, home: str) -> bool:
    """Return whether two modules belong to one plugin: the same module, or the same package of a loaded plugin."""
    in_one_package = module.split(".")[:2] == home.split(".")[:2]
    return module == home or (in_one_package and home.startswith("errklein_plugins."))
