"""Where a handler may run, decided from the function before it is called.

Blocking code must not stop the reactor; code that uses Twisted must not run anywhere else. The rules, first match wins:

1. marked with `@on_reactor`, or `threaded=` in its decorator: as marked;
2. `async def`, async generators, and functions decorated with `@inlineCallbacks`: the reactor;
3. annotated to return a Deferred or another awaitable: the reactor;
4. names something of twisted, treq or klein, itself or through functions and methods of its own plugin that it names:
   the reactor, since a Deferred in the wrong thread now and then loses its result. A function that names what was made
   for threads, such as `callFromThread`, knows that it is in one, and loggers are safe everywhere: these don't count;
5. everything else: a thread.
"""

from __future__ import annotations

import dis
import inspect
import re
import types
import weakref
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_REACTOR_LIBRARIES = frozenset({"twisted", "treq", "klein"})
_SAFE_IN_THREADS = ("twisted.logger", "twisted.python")
_MADE_FOR_THREADS = frozenset({"callFromThread", "blockingCallFromThread", "isInIOThread"})
_AWAITABLE = re.compile(r"\b(Deferred|Awaitable|Coroutine|Future|Task)\b")


class Placement(Enum):
    """Where a handler runs."""

    REACTOR = "reactor"
    THREAD = "thread"


def on_reactor(function: F) -> F:
    """Mark a handler that runs on the reactor: it never blocks, and may return a Deferred."""
    function._errklein_threaded = False  # type: ignore[attr-defined]
    return function


# Weak, so that the functions of a plugin that was reloaded can go; a class would keep its functions.
_decided: weakref.WeakKeyDictionary[Any, weakref.WeakKeyDictionary[type, Placement]] = weakref.WeakKeyDictionary()


def place(handler: Callable[..., Any]) -> Placement:
    """Where `handler`, any callable, runs. The answer for a function is worked out once."""
    while isinstance(handler, partial):
        handler = handler.func
    function: Any = handler
    owner: type = type(None)
    if inspect.ismethod(handler):
        function = handler.__func__
        owner = handler.__self__ if isinstance(handler.__self__, type) else type(handler.__self__)
    elif not isinstance(handler, types.FunctionType):
        function = getattr(type(handler), "__call__", handler)  # noqa: B004 - it is wanted itself
        owner = type(handler)
    try:
        by_owner = _decided.get(function) or _decided.setdefault(function, weakref.WeakKeyDictionary())
    except TypeError:
        # A builtin can't be referred to weakly, and has nothing to look into.
        return Placement.THREAD
    placement = by_owner.get(owner)
    if placement is None:
        placement = by_owner[owner] = _decide(function, owner)
    return placement


def _decide(function: Any, owner: type) -> Placement:
    layers = list(_layers(function))
    for layer in layers:
        marked = getattr(layer, "_errklein_threaded", None)
        if marked is not None:
            return Placement.THREAD if marked else Placement.REACTOR
    for layer in layers:
        if inspect.iscoroutinefunction(layer) or inspect.isasyncgenfunction(layer):
            return Placement.REACTOR
        if getattr(layer, "__module__", "") != layer.__globals__["__name__"] == "twisted.internet.defer":
            return Placement.REACTOR
        if _AWAITABLE.search(str(layer.__annotations__.get("return", ""))):
            return Placement.REACTOR
    home = layers[-1].__module__ if layers else ""
    seen: set[Any] = set()
    if any(_uses_reactor(layer, owner, home, seen) for layer in layers):
        return Placement.REACTOR
    return Placement.THREAD


def _layers(function: Any) -> Iterator[types.FunctionType]:
    """The function and what its decorators wrap, from the outside in."""
    seen = set()
    while isinstance(function, types.FunctionType) and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = getattr(function, "__wrapped__", None)


def _uses_reactor(function: types.FunctionType, owner: type, home: str, seen: set[Any]) -> bool:
    if function in seen or not _same_plugin(function.__module__ or "", home):
        return False
    seen.add(function)
    names: list[tuple[str, Any]] = []
    for code in _codes(function.__code__):
        names.extend(_named(code, function, owner))
    if any(name in _MADE_FOR_THREADS for name, _ in names):
        return False
    for name, value in names:
        if _is_of_reactor(name, value):
            return True
        if isinstance(value, types.MethodType):
            value = value.__func__
        if any(_uses_reactor(layer, owner, home, seen) for layer in _layers(value)):
            return True
    return False


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _named(code: types.CodeType, function: types.FunctionType, owner: type) -> Iterator[tuple[str, Any]]:
    """The names in `code`, each with the object that it stands for as far as that can be known, else None."""
    closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    value: Any = None
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            value = function.__globals__.get(name)
        elif instruction.opname == "LOAD_DEREF" and name in closure:
            try:
                value = closure[name].cell_contents
            except ValueError:
                value = None
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            if isinstance(value, types.ModuleType):
                value = getattr(value, name, None)
            else:
                # Most likely an attribute of self. What it is of anything else can't be known.
                value = inspect.getattr_static(owner, name, None)
                if isinstance(value, (staticmethod, classmethod)):
                    value = value.__func__
                if not isinstance(value, types.FunctionType):
                    value = None
        elif instruction.opname in ("IMPORT_NAME", "IMPORT_FROM"):
            value = None
        else:
            continue
        yield str(name), value


def _is_of_reactor(name: str, value: Any) -> bool:
    if isinstance(value, types.ModuleType):
        origin = value.__name__
    elif value is None:
        # An import inside the function is the only case in which the name alone tells.
        origin = name if name.partition(".")[0] in _REACTOR_LIBRARIES else ""
    else:
        origin = getattr(value, "__module__", None) or type(value).__module__
    if not isinstance(origin, str) or origin.startswith(_SAFE_IN_THREADS):
        return False
    return origin.partition(".")[0] in _REACTOR_LIBRARIES


def _same_plugin(module: str, home: str) -> bool:
    """Whether two modules belong to one plugin: the same module, or the same package of a loaded plugin."""
    if module == home:
        return True
    return module.split(".")[:2] == home.split(".")[:2] and home.startswith("errklein_plugins.")
