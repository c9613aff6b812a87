"""Decides where a handler runs: on the reactor or in a thread.

Blocking code must not run on the reactor, and code that uses Twisted must not run anywhere else. The function is
examined before it is called. The first rule that matches decides:

1. The handler is marked with `@on_reactor` or `threaded=`: as marked.
2. It is `async def`, an async generator, or decorated with `@inlineCallbacks`: reactor.
3. Its return annotation is a Deferred or another awaitable: reactor.
4. Its code, or a function or method of the same plugin that it uses, contains a name from twisted, treq or klein, or
   `self.http`, which is a treq client: reactor, since a Deferred used in the wrong thread may lose its result. Functions
   that contain a name made for threads, such as `callFromThread`, don't count, and neither do loggers, which are safe in
   any thread. A plugin's own attribute `http` is like any other.
5. Anything else: thread.
"""

from __future__ import annotations

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

from errklein.running._blocking import first_blocking
from errklein.running._bytecode import Imported, Name, names_in

F = TypeVar("F", bound=Callable[..., Any])

_REACTOR_LIBRARIES = frozenset({"twisted", "treq", "klein"})
_SAFE_IN_THREADS = ("twisted.logger", "twisted.python")
_MADE_FOR_THREADS = frozenset({"callFromThread", "blockingCallFromThread", "isInIOThread"})
_HAND_OVER = frozenset({"deferToThread", "deferToThreadPool", "callInThread", "run_in_executor", "to_thread"})
"""Functions that run others in threads. There is no warning about a function that uses one of these."""

_AWAITABLE = re.compile(r"\b(Deferred|Awaitable|Coroutine|Future|Task)\b")


class Placement(Enum):
    """The place where a handler runs."""

    REACTOR = "reactor"
    THREAD = "thread"


@dataclass(frozen=True)
class ExplainedPlacement:
    """The place where a handler runs, and the reason.

    `reason` is a phrase such as "async def" or "names treq at line 12 in _notify". `blocks` is a phrase such as
    "time.sleep at line 10" if the handler is placed on the reactor because of a name and also uses something that
    blocks; otherwise "".
    """

    placement: Placement
    reason: str
    blocks: str = ""


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
    `threaded=False` has the same effect. `async def` functions don't need the mark.

    :param function: The function.
    :returns: The same function, marked.
    """
    function._errklein_threaded = False  # type: ignore[attr-defined]
    return function


# Weak references, so that functions and classes of reloaded plugins are freed.
_decided: weakref.WeakKeyDictionary[Any, weakref.WeakKeyDictionary[type, ExplainedPlacement]] = (
    weakref.WeakKeyDictionary()
)


def place(handler: Callable[..., Any]) -> Placement:
    """Return where a handler, which may be any callable, runs."""
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
        returned = _AWAITABLE.search(_return_annotation(layer))
        if returned:
            return ExplainedPlacement(Placement.REACTOR, f"returns {returned[0]}")
    for reached, names in _reached(layers, owner, _MADE_FOR_THREADS):
        for name in names:
            if _is_of_reactor(name):
                reason = f"names {name.text} {_where(name.line, reached, layers[-1])}"
                return ExplainedPlacement(Placement.REACTOR, reason, _blocks(layers, owner))
    return ExplainedPlacement(Placement.THREAD, "plain function" if layers else "callable")


def _return_annotation(function: types.FunctionType) -> str:
    """Return the annotation of the return value as text; "" if there is none."""
    if sys.version_info >= (3, 14):
        import annotationlib

        # Evaluating annotations raises NameError if one names something that only type checkers import.
        annotations = annotationlib.get_annotations(function, format=annotationlib.Format.STRING)
    else:
        annotations = function.__annotations__
    return str(annotations.get("return", ""))


def _blocks(layers: list[types.FunctionType], owner: type) -> str:
    """Return the nearest name that blocks, with its line, in the function or those that it uses; "" if none does."""
    for reached, names in _reached(layers, owner, _MADE_FOR_THREADS | _HAND_OVER):
        found = first_blocking(names)
        if found is not None:
            path, line = found
            return f"{path} {_where(line, reached, layers[-1])}"
    return ""


def _where(line: int, function: types.FunctionType, handler: types.FunctionType) -> str:
    """Return the line number, with the function and the file if they differ from the handler's."""
    where = f"at line {line}"
    if function is not handler:
        where += f" in {function.__name__}"
    file = function.__code__.co_filename
    return where if file == handler.__code__.co_filename else f"{where} of {PurePath(file).name}"


def _layers(function: Any) -> Iterator[types.FunctionType]:
    """Yield the function and the functions that its decorators wrap, from the outside in."""
    seen = set()
    while isinstance(function, types.FunctionType) and id(function) not in seen:
        seen.add(id(function))
        yield function
        function = getattr(function, "__wrapped__", None)


def _reached(
    layers: list[types.FunctionType], owner: type, without: frozenset[str]
) -> Iterator[tuple[types.FunctionType, list[Name]]]:
    """Yield the functions, and the functions of the same plugin that they use directly or indirectly, with the names in
    each.

    A function that contains one of the names in `without` is left out, together with functions that only it uses.
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
    """Return whether two modules belong to one plugin: the same module, or the same package of a loaded plugin."""
    in_one_package = module.split(".")[:2] == home.split(".")[:2]
    return module == home or (in_one_package and home.startswith("errklein_plugins."))
