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

import inspect
import re
import types
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar

from errklein.running._blocking import first_blocking
from errklein.running._bytecode import Imported, Name, names_in

F = TypeVar("F", bound=Callable[..., Any])

_REACTOR_LIBRARIES = frozenset({"twisted", "treq", "klein"})
_SAFE_IN_THREADS = ("twisted.logger", "twisted.python")
_MADE_FOR_THREADS = frozenset({"callFromThread", "blockingCallFromThread", "isInIOThread"})
_HAND_OVER = frozenset({"deferToThread", "deferToThreadPool", "callInThread", "run_in_executor", "to_thread"})
"""Names of functions that run others in threads. A function that names one of these is not warned about."""

_AWAITABLE = re.compile(r"\b(Deferred|Awaitable|Coroutine|Future|Task)\b")


class Placement(Enum):
    """Where a handler runs."""

    REACTOR = "reactor"
    THREAD = "thread"


@dataclass(frozen=True)
class ExplainedPlacement:
    """Where a handler runs, and why.

    `reason` is a phrase such as "async def" or "names treq at line 12 in _notify". `blocks` is a phrase such as
    "time.sleep at line 10" if the handler is on the reactor only because of a name and also uses something that blocks, else "".
    """

    placement: Placement
    reason: str
    blocks: str = ""


def on_reactor(function: F) -> F:
    """Mark a handler that runs on the reactor: it never blocks, and may return a Deferred."""
    function._errklein_threaded = False  # type: ignore[attr-defined]
    return function


# Weak, so that the functions of a plugin that was reloaded can go; a class would keep its functions.
_decided: weakref.WeakKeyDictionary[Any, weakref.WeakKeyDictionary[type, ExplainedPlacement]] = (
    weakref.WeakKeyDictionary()
)


def place(handler: Callable[..., Any]) -> Placement:
    """Where `handler`, any callable, runs."""
    return explain_placement(handler).placement


def explain_placement(handler: Callable[..., Any]) -> ExplainedPlacement:
    """Where `handler`, any callable, runs, and why. Decisions about functions are cached."""
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
        return ExplainedPlacement(Placement.THREAD, "builtin")
    decided = by_owner.get(owner)
    if decided is None:
        decided = by_owner[owner] = _decide(function, owner)
    return decided


def _decide(function: Any, owner: type) -> ExplainedPlacement:
    layers = list(_layers(function))
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
        returned = _AWAITABLE.search(str(layer.__annotations__.get("return", "")))
        if returned:
            return ExplainedPlacement(Placement.REACTOR, f"returns {returned[0]}")
    for reached, names in _reached(layers, owner, _MADE_FOR_THREADS):
        for name in names:
            if _is_of_reactor(name):
                reason = f"names {name.text} {_where(name.line, reached, layers[-1])}"
                return ExplainedPlacement(Placement.REACTOR, reason, _blocks(layers, owner))
    return ExplainedPlacement(Placement.THREAD, "plain function" if layers else "callable")


def _blocks(layers: list[types.FunctionType], owner: type) -> str:
    """The nearest name that blocks, in the function or one that it calls, with its place; "" if there is none."""
    for reached, names in _reached(layers, owner, _MADE_FOR_THREADS | _HAND_OVER):
        found = first_blocking(names)
        if found is not None:
            path, line = found
            return f"{path} {_where(line, reached, layers[-1])}"
    return ""


def _where(line: int, function: types.FunctionType, handler: types.FunctionType) -> str:
    """The line number, followed by the function and the file if they aren't the handler's own."""
    where = f"at line {line}"
    if function is not handler:
        where += f" in {function.__name__}"
    file = function.__code__.co_filename
    return where if file == handler.__code__.co_filename else f"{where} of {PurePath(file).name}"


def _layers(function: Any) -> Iterator[types.FunctionType]:
    """The function and what its decorators wrap, from the outside in."""
    seen = set()
    while isinstance(function, types.FunctionType) and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = getattr(function, "__wrapped__", None)


def _reached(
    layers: list[types.FunctionType], owner: type, without: frozenset[str]
) -> Iterator[tuple[types.FunctionType, list[Name]]]:
    """These functions and the plugin's functions that they call, directly or indirectly, each with the names in it.

    Functions that name one of `without` are left out, and so are those that only they call.
    """
    home = layers[-1].__module__ if layers else ""
    waiting = list(layers)
    seen = set()
    for function in waiting:
        if function in seen or not _same_plugin(function.__module__ or "", home):
            continue
        seen.add(function)
        names = names_in(function, owner)
        if any(name.text in without for name in names):
            continue
        yield function, names
        for name in names:
            waiting += _layers(name.value.__func__ if isinstance(name.value, types.MethodType) else name.value)


def _is_of_reactor(name: Name) -> bool:
    value = name.value
    if isinstance(value, types.ModuleType):
        origin = value.__name__
    elif isinstance(value, Imported):
        origin = value.path
    elif value is None:
        # For an attribute of an unknown object, such as self.treq, only the name is known.
        origin = name.text
    else:
        origin = getattr(value, "__module__", None) or type(value).__module__
    if not isinstance(origin, str) or origin.startswith(_SAFE_IN_THREADS):
        return False
    return origin.partition(".")[0] in _REACTOR_LIBRARIES


def _same_plugin(module: str, home: str) -> bool:
    """Whether two modules belong to one plugin: the same module, or the same package of a loaded plugin."""
    in_one_package = module.split(".")[:2] == home.split(".")[:2]
    return module == home or (in_one_package and home.startswith("errklein_plugins."))
