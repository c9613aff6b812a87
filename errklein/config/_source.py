"""Line numbers of settings in a config.py, for messages about them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
