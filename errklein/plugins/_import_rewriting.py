"""Changes where the import statements of a plugin's module lead, and nothing else about them.

A plugin's `import helper` means the file beside it, which is loaded under a name of the plugin's own. Hooks that see an import
when it runs can't tell who imports, so the statements are changed when they are compiled. Each still binds the names that it
would have bound, and keeps its place, so that tracebacks show the line that the author wrote.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

IMPORTLIB = "errklein.plugins._dynamic_imports"
"""What `importlib` stands for, so that what is imported through it is redirected as well."""

Redirect = Callable[[str], str | None]
"""The full name of what a top-level module's name stands for in this module; None: it stands for itself."""


def rewrite_imports(tree: ast.Module, redirect: Redirect) -> None:
    """Make the absolute imports in `tree`, wherever they are, lead where `redirect` says."""
    # A stack, since recursion would fail for code that compiles without us.
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            children = getattr(node, name, None)
            if isinstance(children, list):
                children[:] = [new for child in children for new in _rewritten(child, redirect)]
                waiting.extend(children)


def _rewritten(node: ast.AST, redirect: Redirect) -> Iterator[ast.AST]:
    """What stands in the place of `node`: itself, unless it is an import."""
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
        # A submodule is importlib's own, and found through ours.
        if alias.name != top or alias.asname is None:
            yield alias
        if alias.name == top or alias.asname is None:
            yield ast.alias(IMPORTLIB, alias.asname or top)
    elif new_top is None:
        yield alias
    elif alias.asname is not None:
        yield ast.alias(_target(alias.name, redirect), alias.asname)
    else:
        # `import helper.part` imports both and binds `helper`. Here a first statement binds it to the part, and a
        # second one at once to the whole; if the part can't be imported, neither binds anything.
        if alias.name != top:
            yield ast.alias(_target(alias.name, redirect), top)
        yield ast.alias(new_top, top)


def _target(name: str, redirect: Redirect) -> str:
    top, dot, rest = name.partition(".")
    return (redirect(top) or top) + dot + rest
