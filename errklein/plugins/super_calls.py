"""Checks whether methods of a plugin call the methods of BotPlugin that they override."""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator
from typing import Any

from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.method_sources import (
    Finding,
    Source,
    called_function,
    first_parameter,
    function_of,
    functions_of,
    is_name,
)


def missing_super_calls(plugin: BotPlugin, source: Source) -> Iterator[Finding]:
    """Yield a finding for each override of `activate`, `deactivate` and `configure` that lacks the call it needs."""
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


def _stops_at(plugin: BotPlugin, method: str, source: Source) -> types.FunctionType | None:
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


def _may_lead_on(plugin: BotPlugin, function: types.FunctionType, method: str, source: Source) -> bool:
    """Return whether the function, or a method of the plugin that it uses, may call the inherited method."""
    waiting = [function]
    # The list grows in the loop.
    for one in waiting:
        node = source.node(one)
        if node is None or _names_parents_method(node, one, method) or _passes_self(node, first_parameter(one)):
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


def _names_parents_method(node: ast.AST, function: types.FunctionType, method: str) -> bool:
    """Return whether the source contains `super().method`, `Parent.method`, or another access to the method."""
    own = first_parameter(function)
    supers = others = 0
    for one in ast.walk(node):
        supers += is_name(one, "super")
        if isinstance(one, ast.Attribute):
            is_super = _is_super(one.value)
            if one.attr == method and (is_super or _root(one.value) != own):
                return True
            others += is_super
    # `super` in any other form may be a way to get at the method.
    return supers > others


def _passes_self(node: ast.AST, own: str) -> bool:
    """Return whether the source uses `self` other than for an attribute or in `super(…)`, for example as an argument."""
    uses = handled = 0
    for one in ast.walk(node):
        uses += is_name(one, own)
        if isinstance(one, ast.Attribute):
            handled += is_name(one.value, own)
        elif isinstance(one, ast.Call) and _is_super(one):
            handled += sum(is_name(argument, own) for argument in one.args)
    return uses > handled


def _is_super(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and is_name(node.func, "super")


def _uses_of_config(plugin: BotPlugin, source: Source) -> tuple[list[int], bool]:
    """Return the lines at which methods of the plugin read `self.config`, and whether it is assigned anywhere."""
    uses: list[int] = []
    stores = any("config" in vars(cls) for cls in type(plugin).__mro__) or "config" in vars(plugin)
    for function in functions_of(plugin):
        own = first_parameter(function)
        for one in ast.walk(source.node(function) or ast.Pass()):
            if isinstance(one, ast.Constant) and one.value == "config":
                stores = True
            elif isinstance(one, ast.Attribute) and one.attr == "config" and is_name(one.value, own):
                stores = stores or not isinstance(one.ctx, ast.Load)
                uses.append(one.lineno)
    return uses, stores


def _root(node: ast.expr) -> str:
    """Return the name that a chain of attributes begins with; "" if it begins with something else."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
