"""errbot's backup.py: a program that assigns values, read as text. Nothing in it is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from errklein.storage.backup import BackupError
from errklein.storage.pickling import dumps
from errklein.storage.sqlite import Row

_BEGINS = re.compile(r"(pobj|bot|log|if|for|import|from)\b|#")
"""How a statement begins. A value's repr may have line breaks, and need not be Python at all."""

_OWNERS = {"bot.plugin_manager": "core", "bot.repo_manager": "repomgr"}
"""What errbot calls the things that have values of their own, and the namespaces of these."""

_WITHOUT_VALUES = re.compile(
    r"log\.\w+\(|pobj\.(init|close)_storage\(\)$|bot\.plugin_manager\.update_plugin_places\(|if .*\binstalled_repos\b"
)
"""What prepares errbot for the values, and has none itself."""


@dataclass
class ErrbotBackup:
    """The values that could be read, and a line for each that couldn't."""

    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_errbot_backup(path: Path) -> ErrbotBackup:
    """The values in the file that are Python literals; all else is a problem, named with its line. Raises BackupError."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise BackupError(f"{path}: the backup can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BackupError(f"{path}: this is no backup of errbot's: byte {error.start} is not UTF-8") from error
    if "bot.plugin_manager" not in text:
        raise BackupError(f"{path}: this is no backup of errklein's or errbot's")
    return _Reader(path).read(text)


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_so_far = ErrbotBackup()
        self.plugin: str | None = None

    def read(self, text: str) -> ErrbotBackup:
        for line, statement in _statements(text):
            if statement.startswith("#") or _WITHOUT_VALUES.match(statement):
                continue
            if not self.is_plugin(statement) and not self.is_value(line, statement):
                self.problem(line, f"{statement.split(maxsplit=1)[0][:40]!r} is nothing that a backup has")
        return self.read_so_far

    def is_plugin(self, statement: str) -> bool:
        """Whether the statement says whose values follow: `pobj = ….plugins["Name"]`, or `pobj = …("Name")…`."""
        try:
            node = ast.parse(statement).body[0]
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        if not isinstance(node, ast.Assign):
            return False
        target = node.targets[0]
        if not isinstance(target, ast.Name) or target.id != "pobj":
            return False
        names = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
        self.plugin = names[0] if len(names) == 1 and isinstance(names[0], str) else None
        return self.plugin is not None

    def is_value(self, line: int, statement: str) -> bool:
        """Whether the statement is `owner["key"] = value`; if the value can't be read, that is a problem of its own."""
        found = _assignment(statement)
        if found is None:
            return False
        owner, key, value = found
        namespace = self.plugin if owner == "pobj" else _OWNERS.get(owner)
        if namespace is None:
            return False
        try:
            data = dumps(ast.literal_eval(value))
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            self.problem(line, f"{namespace}: the value of {key!r} is no literal and is left out")
        else:
            self.read_so_far.rows.append((namespace, key, data))
        return True

    def problem(self, line: int, text: str) -> None:
        self.read_so_far.problems.append(f"{self.path}, line {line}: {text}")


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The statements, each with the number of its first line; what is indented belongs to the one before."""
    begun: list[str] = []
    first = 1
    # Only "\n" ends a line of Python's repr; others may be within it.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if _BEGINS.match(line) and begun:
            yield first, "\n".join(begun).strip()
            begun = []
        if line.strip() or begun:
            first = first if begun else number
            begun.append(line)
    if begun:
        yield first, "\n".join(begun).strip()


_KEY_ENDS = re.compile(r"\]\s*=\s*")


def _assignment(statement: str) -> tuple[str, str, str] | None:
    """Owner, key and value of `owner["key"] = value`, whatever the value looks like."""
    head = re.match(r"(pobj|bot(?:\.\w+)?)\[", statement)
    if head is None:
        return None
    for end in _KEY_ENDS.finditer(statement, head.end()):
        try:
            key = ast.literal_eval(statement[head.end() : end.start()])
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            # The key itself has such an end in it.
            continue
        return (head[1], key, statement[end.end() :]) if isinstance(key, str) else None
    return None
