"""Checks of a plugin's methods before they are called: signatures, `super()` calls and coroutines that aren't awaited.

Signatures are checked against the arguments that errklein passes. The other checks read the plugin's source. If a check
can't decide, for instance because a decorator accepts any arguments, it reports nothing.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger
from werkzeug.routing import Map, Rule

from errklein.commands import CommandDeclaration, arg_botcmd
from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.method_sources import (
    Finding,
    Source,
    called_function,
    first_parameter,
    functions_of,
    handlers_once_active,
    layers,
    overrides,
)
from errklein.plugins.names import plugin_name
from errklein.plugins.super_calls import missing_super_calls
from errklein.webhooks import HookDeclaration

_log = Logger()

_CALLED = ("activate", "check_configuration", "configure", "deactivate", "get_configuration_template", "reconfigure")
_CALLED_BY_BOT = (*_CALLED, *(name for name in vars(BotPlugin) if name.startswith("callback_")))
"""Methods of BotPlugin that errklein calls, with all their parameters as positional arguments."""

_ANNOTATIONS: dict[str, Any] = {}
if sys.version_info >= (3, 14):
    import annotationlib

    # An annotation may name something that only type checkers import.
    _ANNOTATIONS["annotation_format"] = annotationlib.Format.STRING


def check_methods(plugin: BotPlugin) -> list[Finding]:
    """Return the mistakes in the methods of a loaded plugin, in the order of files and lines."""
    source = Source()
    try:
        checks = (_signatures, missing_super_calls, _not_awaited)
        found = [finding for check in checks for finding in check(plugin, source)]
        return sorted(dict.fromkeys(found), key=lambda finding: (finding.path, finding.line))
    except Exception:
        # An unusual plugin that confuses a check may work nevertheless.
        _log.failure("The methods of {plugin} could not be checked", plugin=plugin_name(plugin))
        return []


def check_constructor(cls: type[BotPlugin]) -> Finding | None:
    """Return an error if the class can't be called as `cls(bot, name=name)`, which is how errklein creates plugins."""
    function: Any = inspect.getattr_static(cls, "__init__")
    signature = _signature(function)
    if signature is None or _fits(signature, 2, ["name"]):
        return None
    text = f"{cls.__name__}.__init__ takes {_shown(signature)}, but it must take (self, bot, name=None)."
    return Source().finding(function, text)


def check_initialized(plugin: BotPlugin) -> Finding | None:
    """Return an error if the instance was created without a call of `BotPlugin.__init__`."""
    if "_name" in vars(plugin):
        return None
    text = f"{type(plugin).__name__}.__init__ doesn't call super().__init__(bot, name). Add that call."
    return Source().finding(inspect.getattr_static(plugin, "__init__"), text)


# Signatures


@dataclass(frozen=True)
class _Call:
    """The arguments with which errklein calls a function, and the parameters to write for them."""

    args: int
    keywords: tuple[str, ...]
    parameters: str
    callee: str = "it"


def _signatures(plugin: BotPlugin, source: Source) -> Iterator[Finding]:
    for name, function, call in _calls(plugin):
        signature = _signature(called_function(function))
        if signature is not None and not _fits(signature, call.args, call.keywords):
            text = f"{type(plugin).__name__}.{name} takes {_shown(signature)}, but {call.callee} must take {call.parameters}."
            yield source.finding(function, text)


def _calls(plugin: BotPlugin) -> Iterator[tuple[str, Any, _Call]]:
    """Yield the names and functions of the methods that errklein calls, each with a call that it must accept."""
    for name, handler in handlers_once_active(plugin):
        function: Any = handler.__func__  # type: ignore[attr-defined]
        if (command := CommandDeclaration.of(handler)) is not None:
            yield name, function, _command_call(command)
            if (wrapper := _argument_parsing(function)) is not None:
                yield name, wrapper.__wrapped__, _parsed_call(wrapper)
        if getattr(handler, "_err_command_filter", False):
            if getattr(handler, "catch_unprocessed", False):
                parameters = "(self, msg, cmd, args, dry_run, emptycmd=False)"
                yield name, function, _Call(5, ("emptycmd",), parameters, "a filter with catch_unprocessed=True")
            else:
                yield name, function, _Call(5, (), "(self, msg, cmd, args, dry_run)", "a filter")
        hook = HookDeclaration.of(handler)
        if hook is not None and (variables := _variables(hook.rule)) is not None:
            parameters = f"({', '.join(('self', 'payload', *variables))})"
            yield name, function, _Call(2, variables, parameters, f"a webhook with the rule {hook.rule!r}")
    for name in _CALLED_BY_BOT:
        function = inspect.getattr_static(plugin, name)
        # A plugin written for errbot may have a command named `reconfigure`.
        if overrides(plugin, name) and not (CommandDeclaration.of(function) or HookDeclaration.of(function)):
            names = inspect.signature(getattr(BotPlugin, name), **_ANNOTATIONS).parameters
            yield name, function, _Call(len(names), (), f"({', '.join(names)})")


def _command_call(command: CommandDeclaration) -> _Call:
    if command.pattern is None:
        return _Call(3, (), "(self, msg, args)", "a command")
    return _Call(3, (), f"(self, msg, {'matches' if command.matchall else 'match'})", "a command with a pattern")


def _argument_parsing(function: Any) -> Any:
    """Return the wrapper with which `arg_botcmd` parses arguments, if it is among the function's decorators."""
    of_module = (one for one in layers(function) if one.__globals__.get("__name__") == arg_botcmd.__module__)
    return next(of_module, None)


def _parsed_call(wrapper: Any) -> _Call:
    """Return the call of the function that gets the parsed arguments."""
    if not wrapper._errklein_unpack_args:
        return _Call(3, (), "(self, msg, args)", "a command with unpack_args=False")
    parser = wrapper._err_command_parser
    names = tuple(dict.fromkeys(action.dest for action in parser._actions if action.default != argparse.SUPPRESS))
    parameters = ("self", "msg", *(names if all(map(str.isidentifier, names)) else ("**arguments",)))
    return _Call(2, names, f"({', '.join(parameters)})", "a command with these declared arguments")


def _signature(function: Any) -> inspect.Signature | None:
    """Return the signature of the function itself, not of what it wraps; None if it is unknown."""
    # A decorator may set `__signature__`, which then doesn't describe the parameters of the decorator's own function.
    if not isinstance(function, types.FunctionType) or hasattr(function, "__signature__"):
        return None
    try:
        return inspect.signature(function, follow_wrapped=False, **_ANNOTATIONS)
    except (TypeError, ValueError):
        return None


def _fits(signature: inspect.Signature, args: int, keywords: Iterable[str]) -> bool:
    """Return whether a function accepts so many positional arguments, including `self`, and these keywords."""
    try:
        signature.bind(*[None] * args, **dict.fromkeys(keywords))
    except TypeError:
        return False
    return True


def _shown(signature: inspect.Signature) -> str:
    """Return the parameters with their defaults, without annotations."""
    parameters = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    return str(inspect.Signature(parameters))


def _variables(rule: str) -> tuple[str, ...] | None:
    """Return the variables of a rule in its order; None if the rule is invalid, which the route table reports."""
    try:
        parsed = Rule(rule)
        parsed.bind(Map())
    except Exception:
        return None
    return tuple(sorted(parsed.arguments, key=rule.index))


# Coroutines


def _not_awaited(plugin: BotPlugin, source: Source) -> Iterator[Finding]:
    for function in functions_of(plugin):
        node = source.node(function)
        for holder, call in _bare_calls(node) if node is not None else ():
            called = _resolved(call.func, plugin, function)
            if isinstance(called, types.FunctionType) and inspect.iscoroutinefunction(called):
                name = f"{ast.unparse(call.func)}(…)"
                advice = f"make {holder.name} async def and write" if isinstance(holder, ast.FunctionDef) else "write"
                text = f'{function.__qualname__} calls {name} without await, so it never runs; {advice} "await {name}".'
                yield source.finding(function, text, line=call.lineno)


def _bare_calls(
    function: ast.FunctionDef | ast.AsyncFunctionDef,
) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, ast.Call]]:
    """Yield the calls that are statements, each with the innermost function around it.

    Nested classes, and nested functions with parameters of the same names, are left out.
    """
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            own = {argument.arg for argument in (*function.args.posonlyargs, *function.args.args)}
            if own.isdisjoint(argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)):
                yield from _bare_calls(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield function, node.value
        elif not isinstance(node, ast.ClassDef):
            waiting += ast.iter_child_nodes(node)


def _resolved(called: ast.expr, plugin: BotPlugin, function: types.FunctionType) -> Any:
    """Return the object of an expression such as `self.method`, `function` or `module.function`; None if unknown."""
    names: list[str] = []
    while isinstance(called, ast.Attribute):
        names.append(called.attr)
        called = called.value
    if not isinstance(called, ast.Name):
        return None
    of_nested = set[str]().union(*map(_local_names, _nested(function.__code__)))
    if called.id == first_parameter(function) and len(names) == 1:
        if called.id in of_nested:
            return None
        value = inspect.getattr_static(plugin, names[0], None)
        return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
    local = of_nested.union(_local_names(function.__code__), function.__code__.co_freevars)
    value = None if called.id in local else function.__globals__.get(called.id)
    for name in reversed(names):
        value = vars(value).get(name) if isinstance(value, types.ModuleType) else None
    return value


def _local_names(code: types.CodeType) -> set[str]:
    """Return the parameters and local variables of a function, without those of a function around it."""
    return {*code.co_varnames, *code.co_cellvars}


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code of the functions in a function, at any depth."""
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield inner
            yield from _nested(inner)
