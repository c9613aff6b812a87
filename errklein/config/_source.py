"""The file config.py: its execution, with errors that quote the line, and the lines of its settings."""

from __future__ import annotations

import ast
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from errklein.config._settings import ConfigError
from errklein.text.errors import error_text, remedy_line, source_excerpt
from errklein.text.suggestions import did_you_mean_path


def run_config(path: Path) -> ModuleType:
    """Run the file as a module, and return it.

    :raises ConfigError: if the file can't be read or raises an exception; with the line that failed.
    """
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"no configuration file at {path}{did_you_mean_path(path) or ';'} create one with `errklein init {path.parent}`, or name another "
            "with --config"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    name = path.stem
    module = ModuleType(name)
    module.__file__ = str(path)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    # Plugins may import the file by its name. Another module of that name is not replaced.
    if getattr(sys.modules.get(name, module), "__file__", None) == str(path):
        sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), vars(module))  # noqa: S102  a config.py is Python
    except SyntaxError as error:
        raise _invalid(path, error) from None
    except (Exception, SystemExit) as error:
        raise _raised(path, error) from None
    return module


def _invalid(path: Path, error: SyntaxError) -> ConfigError:
    file = Path(error.filename or path)
    # For a NUL byte, for example, the line isn't known.
    line = f" at line {error.lineno}" if error.lineno else ""
    excerpt = source_excerpt(file, error.lineno, error.offset) if error.lineno else ""
    return ConfigError(f"{file} isn't valid Python{line}: {error.msg}", source=excerpt)


def _raised(path: Path, error: BaseException) -> ConfigError:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = lines[-1] if lines else None
    raised = f"{path} raised {type(error).__name__}" + (f" at line {line}" if line else "")
    text = error_text(error)
    excerpt = source_excerpt(path, line) if line else ""
    source = "\n".join(part for part in (excerpt, remedy_line(error, quote=True)) if part)
    return ConfigError(raised if text == type(error).__name__ else f"{raised}: {text}", source=source)


_SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)
"""Nodes whose variables aren't those of the module."""


@dataclass(frozen=True)
class ConfigSource:
    """The names in a config.py with their lines, from its syntax tree; nothing of the file is run."""

    path: Path | None = None

    lines: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """The line of each setting, by network and name. The network is "" for an assignment outside of NETWORKS.

    A setting that is assigned several times has no line, since which of them counts may depend on a condition.
    """

    of_environment: frozenset[str] = frozenset()
    """The names whose values the file reads from the environment, in the assignment itself."""

    names_read: frozenset[str] = frozenset()
    """The names whose values the file itself uses."""

    @classmethod
    def of(cls, path: Path | None) -> ConfigSource:
        """Return the names in the file. There are none without a file, or if it isn't valid Python."""
        if path is None:
            return cls()
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return cls(path)
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        assigned = [*_assignments(tree), *_keys_of_networks(tree)]
        times = Counter(setting for setting, _ in assigned)
        lines = {setting: line for setting, line in assigned if times[setting] == 1}
        read = frozenset(name.id for name in names if isinstance(name.ctx, ast.Load))
        return cls(path, lines, frozenset(_from_environment(tree)), read)

    def location(self, setting: str, network: str = "") -> str:
        """Return the file and line of a setting, such as "config.py line 12"; the file alone if the line isn't known."""
        if self.path is None:
            return ""
        line = self.lines.get((network, setting))
        return f"{self.path.name} line {line}" if line else self.path.name


def _assignments(tree: ast.AST) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield the names that are assigned or imported outside of functions and classes, with their lines."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield ("", node.id), node.lineno
        elif isinstance(node, ast.alias):
            yield ("", node.asname or node.name), node.lineno
        elif not isinstance(node, _SCOPES):
            waiting += ast.iter_child_nodes(node)


def _from_environment(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(name in ast.unparse(node.value) for name in ("environ", "getenv")):
            yield from map(ast.unparse, node.targets)


def _keys_of_networks(tree: ast.AST) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield the lines of the keys of dicts in dicts, as those in NETWORKS are."""
    for outer in ast.walk(tree):
        if not isinstance(outer, ast.Dict):
            continue
        for network, inner in zip(outer.keys, outer.values, strict=True):
            if isinstance(network, ast.Constant) and isinstance(inner, ast.Dict):
                for key in inner.keys:
                    if isinstance(key, ast.Constant):
                        yield (str(network.value), str(key.value)), key.lineno
