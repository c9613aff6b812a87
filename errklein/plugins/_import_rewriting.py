"""Redirects the import statements in the source of a plugin's module.

`import helper` in a plugin means the file beside it, which is loaded under a name in the plugin's own package. An
import hook can't tell which module runs a statement, so the statements are changed in the syntax tree before it is
compiled. They bind the same names, and keep their lines for tracebacks.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

IMPORTLIB = "errklein.plugins._dynamic_imports"
"""The module that replaces `importlib`, so that `importlib.import_module` is redirected too."""

Redirect = Callable[[str], str | None]
"""Returns the full name that replaces the name of a top-level module; None if the name stays as it is."""


def rewrite_imports(tree: ast.Module, redirect: Redirect) -> None:
    """Redirect all absolute imports in `tree`, including those in functions and conditions."""
    # Not recursive, since deeply nested code that compiles would exceed the recursion limit.
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            children = getattr(node, name, None)
            if isinstance(children, list):
                children[:] = [new for child in children for new in _rewritten(child, redirect)]
                waiting.extend(children)


def _rewritten(node: ast.AST, redirect: Redirect) -> Iterator[ast.AST]:
    """Yield the nodes that replace `node`: the node itself unless it is an import."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            for new in _imports(alias, redirect):
                yield ast.copy_location(ast.Import([ast.copy_location(new, alias)]), node)
        return
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
        if node.module == "importlib":
            yield from _from_importlib(node)
            return
        node.module = _target(node.module, redirect)
    yield node


def _from_importlib(node: ast.ImportFrom) -> Iterator[ast.AST]:
    ours = [alias for alias in node.names if alias.name == "import_module"]
    others = [alias for alias in node.names if alias not in ours]
    if others:
        yield ast.copy_location(ast.ImportFrom(node.module, others, 0), node)
    if ours:
        yield ast.copy_location(ast.ImportFrom(IMPORTLIB, ours, 0), node)


def _imports(alias: ast.alias, redirect: Redirect) -> Iterator[ast.alias]:
    top = alias.name.partition(".")[0]
    new_top = redirect(top)
    if top == "importlib":
        # Submodules are importlib's own; the replacement has them as attributes.
        if alias.name != top or alias.asname is None:
            yield alias
        if alias.name == top or alias.asname is None:
            yield ast.alias(IMPORTLIB, alias.asname or top)
    elif new_top is None:
        yield alias
    elif alias.asname is not None:
        yield ast.alias(_target(alias.name, redirect), alias.asname)
    else:
        # `import helper.part` imports both and binds `helper`. Here the first statement binds `helper` to the part, and
        # the second rebinds it to the package. If the part can't be imported, nothing is bound.
        if alias.name != top:
            yield ast.alias(_target(alias.name, redirect), top)
        yield ast.alias(new_top, top)


def _target(name: str, redirect: Redirect) -> str:
    top, dot, rest = name.partition(".")
    return (redirect(top) or top) + dot + rest
