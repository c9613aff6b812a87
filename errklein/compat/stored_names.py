"""Static check of the names in restored values, made before the values are stored and while no plugin is loaded.

The restriction itself applies when a value is read; see `stored_classes.find_restored_class`. This check reports the
values that couldn't be read. It parses the source of plugins' modules and executes none of it.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from errklein.compat.stored_classes import is_backend, module_of_plugin, value_class_name
from errklein.config import Config
from errklein.plugins.discovery import entry_point_roots, load_plug_files
from errklein.plugins.loading import CORE_PLUGINS
from errklein.plugins.plug_file import PlugFile
from errklein.storage import NameStatus, is_standard

_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class NameJudge:
    """Determines the status of names by the `.plug` files and the source of the installed plugins."""

    def __init__(self, plugs: Iterable[PlugFile]) -> None:
        self._plugs = list(plugs)

    def __call__(self, namespace: str, module: str, name: str) -> NameStatus:
        """Return whether a value in the plugin's `namespace` may use the name."""
        if is_standard(module, name) or value_class_name(module, name) is not None or is_backend(module, name):
            return NameStatus.ALLOWED
        local = module_of_plugin(namespace, module)
        if local is None:
            return NameStatus.REFUSED
        sources = [
            source for plug in self._plugs if plug.name == namespace for source in _sources(plug.directory, local)
        ]
        if sources:
            return NameStatus.REFUSED if sources[0].parent == CORE_PLUGINS else _in_source(sources[0], name)
        if local == module:
            # This isn't errbot's name for a plugin's module, but it may be a helper module beside the plugin.
            return NameStatus.REFUSED if _is_installed(module) else NameStatus.MISSING
        elsewhere = (plug for plug in self._plugs if plug.name != namespace)
        return NameStatus.REFUSED if any(_sources(plug.directory, local) for plug in elsewhere) else NameStatus.MISSING


def plugs_of(config: Config) -> Iterator[PlugFile]:
    """Return the `.plug` files of the plugins that a bot with this configuration finds."""
    repositories = Path(config.BOT_DATA_DIR) / "plugins"
    roots: list[str | Path] = [
        CORE_PLUGINS,
        *config.directories("BOT_EXTRA_PLUGIN_DIR"),
        *([repositories] if repositories.is_dir() else []),
    ]
    # Invalid files are skipped here; the start of the bot reports them.
    return load_plug_files([*roots, *entry_point_roots()])


def _sources(directory: Path, module: str) -> list[Path]:
    """Return a list with the file of the module; it is empty if there is none."""
    path = directory.joinpath(*module.split("."))
    return [file for file in (path.with_name(f"{path.name}.py"), path / "__init__.py") if file.is_file()]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _in_source(source: Path, name: str) -> NameStatus:
    """Return whether the module defines the class or function, as far as its source shows."""
    try:
        body: list[ast.stmt] = ast.parse(source.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return NameStatus.MISSING
    *classes, last = name.split(".")
    of_enum = False
    for number, part in enumerate(classes, 1):
        definition = _bound_in(body).get(part)
        if definition is None:
            return NameStatus.MISSING
        if isinstance(definition, ast.Call) and _is_enum(definition.func) and number == len(classes):
            # The members in the call may be computed, so any name is accepted.
            return NameStatus.ALLOWED
        if not isinstance(definition, ast.ClassDef):
            return NameStatus.REFUSED
        of_enum = any(map(_is_enum, definition.bases))
        body = definition.body
    bound = _bound_in(body).get(last)
    if bound is None:
        return NameStatus.MISSING
    if of_enum and isinstance(bound, ast.expr):
        return NameStatus.ALLOWED
    if classes and isinstance(bound, (ast.FunctionDef, ast.AsyncFunctionDef)) and not _is_static(bound):
        return NameStatus.REFUSED
    # A call may create a class, like those of namedtuple and Enum. Other assigned values are defined elsewhere.
    return NameStatus.ALLOWED if isinstance(bound, (*_Definition.__args__, ast.Call)) else NameStatus.REFUSED


def _is_enum(base: ast.expr) -> bool:
    """Return whether the expression looks like an enumeration class: its name ends with Enum or Flag."""
    name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
    return name.endswith(("Enum", "Flag"))


def _is_static(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(
        isinstance(decorator, ast.Name) and decorator.id == "staticmethod" for decorator in function.decorator_list
    )


def _bound_in(body: Collection[ast.stmt]) -> dict[str, ast.AST]:
    """Return the node that each name in the statements is bound to.

    Of several, it is the last one that isn't an import.
    """
    bound: dict[str, ast.AST] = {}
    for name, node in _bindings(body):
        if not (isinstance(node, ast.alias) and name in bound):
            bound[name] = node
    return bound


def _bindings(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    for statement in body:
        if isinstance(statement, _Definition):
            yield statement.name, statement
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                yield alias.asname or alias.name.partition(".")[0], alias
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    yield target.id, statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value
        else:
            # The blocks of if, try, with and the like bind names in the same scope.
            for child in ast.iter_child_nodes(statement):
                if isinstance(child, ast.stmt):
                    yield from _bindings([child])
                elif isinstance(child, (ast.ExceptHandler, ast.match_case)):
                    yield from _bindings(child.body)
