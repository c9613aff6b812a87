"""Methods of plugins, their syntax trees, and findings about them with files and lines."""

from __future__ import annotations

import ast
import tokenize
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import ismethod
from typing import Any

from errklein.plugins.botplugin import BotPlugin
from errklein.running import function_layers


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
    """Yield the same as `handlers`, without methods that an activation hides. `configure` and `activate` assign the
    attributes `config` and `namespace`, so methods of these names are left out."""
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
        """Return a finding at the line of the function's `def`."""
        innermost = function_of(function)
        if innermost is None:
            return Finding("", 0, text, is_error)
        code = innermost.__code__
        node = self.node(innermost)
        return Finding(code.co_filename, code.co_firstlineno if node is None else node.lineno, text, is_error)

    def node(self, function: types.FunctionType) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """Return the syntax tree of the function, without its decorators; None if its source can't be read."""
        code = function.__code__
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


def called_function(function: Any) -> Any:
    """Return the function that gets the arguments: the one that inlineCallbacks wraps, or the function itself."""
    others = (one for one in function_layers(function) if one.__globals__.get("__name__") != "twisted.internet.defer")
    return next(others, function)


def function_of(value: Any) -> types.FunctionType | None:
    """Return the function of a method or property, without decorators; None for any other value."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    return [None, *function_layers(value)][-1]


def first_parameter(function: types.FunctionType) -> str:
    """Return the name of the first parameter, usually `self`; "" if there is none."""
    return function.__code__.co_varnames[0] if function.__code__.co_argcount else ""


def is_name(node: ast.AST, name: str) -> bool:
    """Return whether the node is a variable of that name."""
    return isinstance(node, ast.Name) and node.id == name
