"""Methods of plugins: their lookup, their syntax trees, and checks of their signatures against the arguments that errklein passes,
and of calls of inherited methods. What a check can't decide, for instance because of a decorator, it doesn't report."""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import tokenize
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import ismethod
from typing import Any

from twisted.logger import Logger
from werkzeug.routing import Map, Rule

from errklein.commands import CommandDeclaration, arg_botcmd
from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.plug_file import plugin_name
from errklein.running import function_layers
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


def handlers(plugin: BotPlugin) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the names and bound methods that the plugin's class or instance adds to BotPlugin, sorted by name."""
    static: dict[str, Any] = {}
    for cls in reversed(type(plugin).__mro__):
        if cls not in BotPlugin.__mro__:
            static.update(vars(cls))
    static.update(vars(plugin))
    for name in sorted(static):
        if not name.startswith("__") and callable(static[name]) and ismethod(method := getattr(plugin, name)):
            yield name, method


def handlers_once_active(plugin: BotPlugin) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield those of `handlers` but for `config` and `namespace`, attributes that `configure` and `activate` assign."""
    return ((name, handler) for name, handler in handlers(plugin) if name not in ("config", "namespace"))


def overrides(plugin: BotPlugin, callback: str) -> bool:
    """Return whether the plugin's class overrides the method of BotPlugin."""
    return getattr(type(plugin), callback) is not getattr(BotPlugin, callback)


@dataclass(frozen=True)
class Finding:
    """A mistake in a plugin's code. If `is_error`, the code can't work; otherwise it is probably wrong. `text` names
    the method and the correction; `str()` puts `path:line: ` before it, if the path isn't ""."""

    path: str
    line: int
    text: str
    is_error: bool = True

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}" if self.path else self.text


class MethodSource:
    """The syntax trees of functions, found by their files and lines. Each file is read once."""

    def __init__(self) -> None:
        self._files: dict[str, Mapping[int, ast.AST]] = {}

    def finding(self, function: Any, text: str, is_error: bool = True) -> Finding:
        if (innermost := function_of(function)) is None:
            return Finding("", 0, text, is_error)
        code = innermost.__code__
        node = self.node(innermost)
        return Finding(code.co_filename, code.co_firstlineno if node is None else node.lineno, text, is_error)

    def node(self, function: types.FunctionType) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        code = function.__code__
        if code.co_filename not in self._files:
            self._files[code.co_filename] = _functions_in(code.co_filename)
        node = self._files[code.co_filename].get(code.co_firstlineno)
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name
        return node if is_function else None  # type: ignore[return-value]


def _functions_in(path: str) -> Mapping[int, ast.AST]:
    try:
        with tokenize.open(path) as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return {}
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return {min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]): node for node in functions}


def called_function(function: Any) -> Any:
    """Return the function that inlineCallbacks wraps, or the function itself."""
    others = (one for one in function_layers(function) if one.__globals__.get("__name__") != "twisted.internet.defer")
    return next(others, function)


def function_of(value: Any) -> types.FunctionType | None:
    """Return the function of a method or property, without decorators; None for any other value."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    return [None, *function_layers(value)][-1]


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def check_methods(plugin: BotPlugin) -> list[Finding]:
    """Return the mistakes in the methods of a loaded plugin, in the order of files and lines."""
    source = MethodSource()
    try:
        found = [*_signatures(plugin, source), *_missing_super_calls(plugin, source)]
        return sorted(dict.fromkeys(found), key=lambda finding: (finding.path, finding.line))
    except Exception:
        # An unusual plugin that confuses a check may work nevertheless.
        _log.failure("The methods of {plugin} could not be checked", plugin=plugin_name(plugin))
        return []


def check_constructor(cls: type[BotPlugin]) -> Finding | None:
    """Return an error if the class can't be called as `cls(bot, name=name)`, which is how errklein creates plugins."""
    function: Any = inspect.getattr_static(cls, "__init__")
    text = _mismatch(f"{cls.__name__}.__init__", function, _Call(2, ("name",), "(self, bot, name=None)"))
    return MethodSource().finding(function, text) if text else None


def check_initialized(plugin: BotPlugin) -> Finding | None:
    """Return an error if the instance was created without a call of `BotPlugin.__init__`."""
    if "_name" in vars(plugin):
        return None
    text = f"{type(plugin).__name__}.__init__ doesn't call super().__init__(bot, name). Add that call."
    return MethodSource().finding(inspect.getattr_static(plugin, "__init__"), text)


@dataclass(frozen=True)
class _Call:
    """The arguments with which errklein calls a function, and the parameters to write for them."""

    args: int
    keywords: tuple[str, ...]
    parameters: str
    callee: str = "it"


def _signatures(plugin: BotPlugin, source: MethodSource) -> Iterator[Finding]:
    for name, function, call in _calls(plugin):
        if text := _mismatch(f"{type(plugin).__name__}.{name}", called_function(function), call):
            yield source.finding(function, text)


def _mismatch(name: str, function: Any, call: _Call) -> str:
    """Return a sentence about a function that doesn't accept the call; "" if it does, or if its signature is unknown."""
    # A decorator may set `__signature__`, which then doesn't describe the parameters of the decorator's own function.
    if not isinstance(function, types.FunctionType) or hasattr(function, "__signature__"):
        return ""
    try:
        signature = inspect.signature(function, follow_wrapped=False, **_ANNOTATIONS)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*[None] * call.args, **dict.fromkeys(call.keywords))
        return ""
    except TypeError:
        shown = inspect.Signature([one.replace(annotation=one.empty) for one in signature.parameters.values()])
        return f"{name} takes {shown}, but {call.callee} must take {call.parameters}."


def _calls(plugin: BotPlugin) -> Iterator[tuple[str, Any, _Call]]:
    """Yield the names and functions of the methods that errklein calls, each with a call that it must accept."""
    for name, handler in handlers_once_active(plugin):
        function: Any = handler.__func__  # type: ignore[attr-defined]
        if (command := CommandDeclaration.of(handler)) is not None:
            argument = "args" if command.pattern is None else "matches" if command.matchall else "match"
            kind = "a command" if command.pattern is None else "a command with a pattern"
            yield name, function, _Call(3, (), f"(self, msg, {argument})", kind)
            # The wrapper with which `arg_botcmd` parses arguments, if it is among the function's decorators.
            layers: list[Any] = list(function_layers(function))
            for wrapper in [one for one in layers if one.__globals__.get("__name__") == arg_botcmd.__module__][:1]:
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


def _parsed_call(wrapper: Any) -> _Call:
    if not wrapper._errklein_unpack_args:
        return _Call(3, (), "(self, msg, args)", "a command with unpack_args=False")
    parser = wrapper._err_command_parser
    names = tuple(dict.fromkeys(action.dest for action in parser._actions if action.default != argparse.SUPPRESS))
    parameters = ("self", "msg", *(names if all(map(str.isidentifier, names)) else ("**arguments",)))
    return _Call(2, names, f"({', '.join(parameters)})", "a command with these declared arguments")


def _variables(rule: str) -> tuple[str, ...] | None:
    try:
        parsed = Rule(rule)
        parsed.bind(Map())
    except Exception:
        return None
    return tuple(sorted(parsed.arguments, key=rule.index))


def _missing_super_calls(plugin: BotPlugin, source: MethodSource) -> Iterator[Finding]:
    """Yield a finding for each override of `activate` and `deactivate` that lacks the call it needs."""
    name = type(plugin).__name__
    effects = {
        "activate": (f"so {name} stays inactive and its commands are missing", True),
        "deactivate": ("so its commands and pollers continue after a deactivation or reload", False),
    }
    for method, (effect, is_error) in effects.items():
        if (function := _stops_at(plugin, method, source)) is not None:
            text = f"{function.__qualname__} doesn't call super().{method}(), {effect}. Add that call."
            yield source.finding(function, text, is_error)


def _stops_at(plugin: BotPlugin, method: str, source: MethodSource) -> types.FunctionType | None:
    """Return the override of BotPlugin's method that certainly doesn't call the next one; None if there is none."""
    for cls in type(plugin).__mro__:
        if cls in BotPlugin.__mro__ or method in vars(plugin):
            return None
        if method in vars(cls):
            function = called_function(vars(cls)[method])
            # A decorator's function, or one from outside of the class, may do what the class's own source doesn't show.
            if not isinstance(function, types.FunctionType) or hasattr(function, "__wrapped__"):
                return None
            if (function.__name__, function.__qualname__) != (method, f"{cls.__qualname__}.{method}"):
                return None
            if not _may_lead_on(plugin, function, method, source):
                return function
    return None


def _may_lead_on(plugin: BotPlugin, function: types.FunctionType, method: str, source: MethodSource) -> bool:
    """Return whether the function, or a method of the plugin that it uses, may call the inherited method."""
    waiting = [function]
    # The list grows in the loop.
    for one in waiting:
        node = source.node(one)
        # The name of the first parameter, usually `self`.
        own = one.__code__.co_varnames[0] if one.__code__.co_argcount else ""
        if node is None or _leads_on(node, own, method):
            return True
        for attribute in ast.walk(node):
            if isinstance(attribute, ast.Attribute) and attribute.attr != method:
                used = _attribute(plugin, attribute.attr)
                if isinstance(used, types.FunctionType):
                    waiting += [] if used in waiting else [used]
                elif callable(used) or hasattr(used, "__get__"):
                    return True
    return False


def _attribute(plugin: BotPlugin, name: str) -> Any:
    """Return the function of a method of the plugin, or its attribute of another kind; None for those of BotPlugin."""
    if name in vars(plugin):
        return vars(plugin)[name]
    for cls in type(plugin).__mro__:
        if name in vars(cls):
            value = vars(cls)[name]
            # The class of something that the plugin creates doesn't call the plugin's methods.
            return None if cls in BotPlugin.__mro__ or isinstance(value, type) else function_of(value) or value
    return None


def _leads_on(node: ast.AST, own: str, method: str) -> bool:
    """Return whether the source contains `super().method`, `Parent.method`, or another access to the method. `super`,
    or `self` as `own`, may be a way to get at it if it is used other than for an attribute, for example as an argument."""
    supers = selves = 0
    for one in ast.walk(node):
        supers += _is_name(one, "super")
        selves += _is_name(one, own)
        if isinstance(one, ast.Attribute):
            is_super = _is_super(one.value)
            if one.attr == method and (is_super or _root(one.value) != own):
                return True
            supers -= is_super
            selves -= _is_name(one.value, own)
        elif isinstance(one, ast.Call) and _is_super(one):
            selves -= sum(_is_name(argument, own) for argument in one.args)
    return bool(supers or selves)


def _is_super(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _is_name(node.func, "super")


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
