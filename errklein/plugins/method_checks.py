"""Checks of a plugin's methods before they are called: signatures, `super()` calls and coroutines that aren't awaited.

Signatures are checked against the arguments that errklein passes. The other checks read the plugin's source. If a check
can't decide, for instance because a decorator accepts any arguments, it reports nothing.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import tokenize
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger
from werkzeug.routing import Map, Rule

from errklein.commands import CommandDeclaration, arg_botcmd
from errklein.plugins.botplugin import BotPlugin, handlers_once_active, overrides
from errklein.plugins.names import plugin_name
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


@dataclass(frozen=True)
class Finding:
    """A mistake in a plugin's code. If `is_error`, the code can't work; otherwise it is probably wrong.

    `text` names the method and the correction; `str()` puts `path:line: ` before it.
    """

    path: str
    line: int
    text: str
    is_error: bool = True

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def check_methods(plugin: BotPlugin) -> list[Finding]:
    """Return the mistakes in the methods of a loaded plugin, in the order of files and lines."""
    source = _Source()
    checks = (_signatures, _missing_super_calls, _not_awaited)
    try:
        found = [finding for check in checks for finding in check(plugin, source)]
    except Exception:
        # An unusual plugin that confuses a check may work nevertheless.
        _log.failure("The methods of {plugin} could not be checked", plugin=plugin_name(plugin))
        return []
    return sorted(dict.fromkeys(found), key=lambda finding: (finding.path, finding.line))


def check_constructor(cls: type[BotPlugin]) -> Finding | None:
    """Return an error if the class can't be called as `cls(bot, name=name)`, which is how errklein creates plugins."""
    function: Any = inspect.getattr_static(cls, "__init__")
    signature = _signature(function)
    if signature is None or _fits(signature, 2, ["name"]):
        return None
    text = f"{cls.__name__}.__init__ takes {_shown(signature)}, but it must take (self, bot, name=None)."
    return _Source().finding(function, text)


def check_initialized(plugin: BotPlugin) -> Finding | None:
    """Return an error if the instance was created without a call of `BotPlugin.__init__`."""
    if "_name" in vars(plugin):
        return None
    text = f"{type(plugin).__name__}.__init__ doesn't call super().__init__(bot, name). Add that call."
    return _Source().finding(inspect.getattr_static(plugin, "__init__"), text)


class _Source:
    """The syntax trees of functions, found by their files and lines. Each file is read once."""

    def __init__(self) -> None:
        self._files: dict[str, Mapping[int, ast.AST]] = {}

    def finding(self, function: Any, text: str, is_error: bool = True, line: int | None = None) -> Finding:
        """Return a finding at a line of the function's file, by default the line of its `def`."""
        code = inspect.unwrap(function).__code__
        node = self.node(function)
        line = line or (code.co_firstlineno if node is None else node.lineno)
        return Finding(code.co_filename, line, text, is_error)

    def node(self, function: types.FunctionType) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """Return the syntax tree of the function, without its decorators; None if its source can't be read."""
        code = getattr(inspect.unwrap(function), "__code__", None)
        if code is None:
            return None
        if code.co_filename not in self._files:
            self._files[code.co_filename] = _functions_in(code.co_filename)
        node = self._files[code.co_filename].get(code.co_firstlineno)
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name
        return node if is_function else None  # type: ignore[return-value]


def _functions_in(path: str) -> Mapping[int, ast.AST]:
    """Return the functions in a file by the line of the first decorator or the `def`; none if it can't be read."""
    try:
        with tokenize.open(path) as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return {}
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return {min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]): node for node in functions}


# Signatures


@dataclass(frozen=True)
class _Call:
    """The arguments with which errklein calls a function, and the parameters to write for them."""

    args: int
    keywords: tuple[str, ...]
    parameters: str
    callee: str = "it"


def _signatures(plugin: BotPlugin, source: _Source) -> Iterator[Finding]:
    for name, function, call in _calls(plugin):
        signature = _signature(_called(function))
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
    while function is not None and getattr(function, "__globals__", {}).get("__name__") != arg_botcmd.__module__:
        function = getattr(function, "__wrapped__", None)
    return function


def _parsed_call(wrapper: Any) -> _Call:
    """Return the call of the function that gets the parsed arguments."""
    if not wrapper._errklein_unpack_args:
        return _Call(3, (), "(self, msg, args)", "a command with unpack_args=False")
    parser = wrapper._err_command_parser
    names = tuple(dict.fromkeys(action.dest for action in parser._actions if action.default != argparse.SUPPRESS))
    parameters = ("self", "msg", *(names if all(map(str.isidentifier, names)) else ("**arguments",)))
    return _Call(2, names, f"({', '.join(parameters)})", "a command with these declared arguments")


def _called(function: Any) -> Any:
    """Return the function that gets the arguments: the one that inlineCallbacks wraps, or the function itself."""
    while getattr(function, "__globals__", {}).get("__name__") == "twisted.internet.defer" and hasattr(
        function, "__wrapped__"
    ):
        function = function.__wrapped__
    return function


def _signature(function: Any) -> inspect.Signature | None:
    """Return the signature of the function itself, not of what it wraps; None if there is none."""
    if not isinstance(function, types.FunctionType):
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


# Calls of super()


def _missing_super_calls(plugin: BotPlugin, source: _Source) -> Iterator[Finding]:
    name = type(plugin).__name__
    effects = {
        "activate": ("activate()", f"so {name} stays inactive and its commands are missing", True),
        "deactivate": ("deactivate()", "so its commands and pollers continue after a deactivation or reload", False),
    }
    for method, (call, effect, is_error) in effects.items():
        function = _stops_at(plugin, method, source)
        if function is not None:
            text = f"{function.__qualname__} doesn't call super().{call}, {effect}. Add that call."
            yield source.finding(function, text, is_error)
    configure = _stops_at(plugin, "configure", source)
    if configure is not None:
        uses, stores = _uses_of_config(plugin, source)
        if uses and not stores:
            text = (
                f"{configure.__qualname__} neither calls super().configure(configuration) nor assigns self.config, "
                f"which line {min(uses)} uses. Add one of the two."
            )
            yield source.finding(configure, text, is_error=False)


def _stops_at(plugin: BotPlugin, method: str, source: _Source) -> types.FunctionType | None:
    """Return the override of BotPlugin's method that doesn't call the next one; None if all do, or may."""
    for cls in type(plugin).__mro__:
        if cls in BotPlugin.__mro__ or method in vars(plugin):
            return None
        if method in vars(cls):
            function = _function(vars(cls)[method])
            if function is None or source.node(function) is None:
                return None
            if not _leads_on(type(plugin), function, method, source):
                return function
    return None


def _leads_on(cls: type, function: types.FunctionType, method: str, source: _Source) -> bool:
    """Return whether the function, or a method of the plugin that it uses, contains the inherited method's name."""
    waiting, seen = [function], set[types.FunctionType]()
    for one in waiting:
        node = source.node(one)
        if node is None or _names_parents_method(node, one, method):
            return True
        seen.add(one)
        for attribute in ast.walk(node):
            if isinstance(attribute, ast.Attribute) and attribute.attr != method:
                value = _function(inspect.getattr_static(cls, attribute.attr, None))
                if value is not None and value not in seen and not _is_of_botplugin(value):
                    waiting.append(value)
    return False


def _names_parents_method(node: ast.AST, function: types.FunctionType, method: str) -> bool:
    """Return whether the source contains `super().method`, `Parent.method`, or another access to the method."""
    own = _first_parameter(function)
    supers = others = 0
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and one.id == "super":
            supers += 1
        elif isinstance(one, ast.Attribute):
            is_super = isinstance(one.value, ast.Call) and ast.unparse(one.value.func) == "super"
            if one.attr == method and (is_super or _root(one.value) != own):
                return True
            others += is_super
    # `super` in any other form may be a way to get at the method.
    return supers > others


def _uses_of_config(plugin: BotPlugin, source: _Source) -> tuple[list[int], bool]:
    """Return the lines at which methods of the plugin read `self.config`, and whether it is assigned anywhere."""
    uses: list[int] = []
    stores = any("config" in vars(cls) for cls in type(plugin).__mro__) or "config" in vars(plugin)
    for function in _functions(plugin):
        for one in ast.walk(source.node(function) or ast.Pass()):
            if isinstance(one, ast.Constant) and one.value == "config":
                stores = True
            elif isinstance(one, ast.Attribute) and ast.unparse(one) == f"{_first_parameter(function)}.config":
                stores = stores or not isinstance(one.ctx, ast.Load)
                uses.append(one.lineno)
    return uses, stores


# Coroutines


def _not_awaited(plugin: BotPlugin, source: _Source) -> Iterator[Finding]:
    for function in _functions(plugin):
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
    code = function.__code__
    if isinstance(called, ast.Name):
        is_local = called.id in (*code.co_varnames, *code.co_cellvars, *code.co_freevars)
        return None if is_local else function.__globals__.get(called.id)
    if not isinstance(called, ast.Attribute):
        return None
    if isinstance(called.value, ast.Name) and called.value.id == _first_parameter(function):
        value = inspect.getattr_static(plugin, called.attr, None)
        return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
    module = _resolved(called.value, plugin, function)
    return vars(module).get(called.attr) if isinstance(module, types.ModuleType) else None


def _functions(plugin: BotPlugin) -> Iterator[types.FunctionType]:
    """Yield the functions in the bodies of the plugin's classes, without BotPlugin's."""
    for cls in type(plugin).__mro__:
        if cls not in BotPlugin.__mro__:
            functions = map(_function, vars(cls).values())
            yield from (function for function in functions if function is not None)


def _function(value: Any) -> types.FunctionType | None:
    """Return the function of a method or property, without decorators; None for any other value."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    function = inspect.unwrap(value) if isinstance(value, types.FunctionType) else None
    return function if isinstance(function, types.FunctionType) else None


def _is_of_botplugin(function: types.FunctionType) -> bool:
    return any(vars(cls).get(function.__name__) is function for cls in BotPlugin.__mro__)


def _first_parameter(function: types.FunctionType) -> str:
    return function.__code__.co_varnames[0] if function.__code__.co_argcount else ""


def _root(node: ast.expr) -> str:
    """Return the name that a chain of attributes begins with; "" if it begins with something else."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
