"""errbot's backup.py: a program that assigns values, read as text. Nothing in it is run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from errklein.storage.backup import BackupError, is_backup, read_backup, read_file
from errklein.storage.errors import shortly
from errklein.storage.pickling import dumps
from errklein.storage.sqlite import Row

_BEGINS = re.compile(r"^(?:(?:pobj|bot|log|if|for|import|from)\b|#)", re.MULTILINE)
"""How a statement begins. A value's repr may have line breaks, and need not be Python at all."""

_OWNERS = {"bot.plugin_manager": "core", "bot.repo_manager": "repomgr"}
"""What errbot calls the things that have values of their own, and the namespaces of these."""

_WITHOUT_VALUES = re.compile(
    r"log\.\w+\(|pobj\.(init|close)_storage\(\)$|bot\.plugin_manager\.update_plugin_places\(|if .*\binstalled_repos\b"
)
"""What prepares errbot for the values, and has none itself."""

_HEAD = re.compile(r"""(pobj|bot(?:\.\w+)?)\[("(?:[^"\\\n]++|\\.)*+"|'(?:[^'\\\n]++|\\.)*+')\]\s*=(?!=)\s*""")
"""The beginning of `owner["key"] = value`. Nothing in it is tried twice, so it takes no longer for odd statements."""

_LONGEST_NAMING = 10_000
"""How long a statement may be that says whose values follow."""

_MOST_STRANGE = 1000
"""How many statements that errbot doesn't write may be in its backup."""

_MOST_PARTS = 1_000_000
"""How many commas a value may have: Python takes a kilobyte of memory for each part while it reads one."""


@dataclass
class ErrbotBackup:
    """The values that could be read, and a line for each that couldn't."""

    rows: list[Row]
    problems: list[str]


def read_any_backup(path: Path) -> ErrbotBackup:
    """The values in a backup of errklein's or errbot's. Raises BackupError."""
    return ErrbotBackup(read_backup(path), []) if is_backup(path) else read_errbot_backup(path)


def read_errbot_backup(path: Path) -> ErrbotBackup:
    """The values in the file that are Python literals; all else is a problem, named with its line. Raises BackupError."""
    try:
        text = read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BackupError(f"{path}: this is no backup of errbot's: byte {error.start} is not UTF-8") from error
    if "bot.plugin_manager" not in text:
        raise BackupError(f"{path}: this is no backup of errklein's or errbot's")
    with warnings.catch_warnings():
        # Python warns of backslashes in keys, with lines of its own.
        warnings.simplefilter("ignore")
        return _ProgramReader(path).read(text)


class _ProgramReader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[tuple[str, str], Row] = {}
        self.problems: list[str] = []
        self.plugin: str | None = None
        self.strange = 0

    def read(self, text: str) -> ErrbotBackup:
        for line, statement in _statements(text):
            if statement.startswith("#") or _WITHOUT_VALUES.match(statement):
                continue
            if not self.is_value(line, statement) and not self.is_plugin(statement):
                self.is_strange(line, statement)
        return ErrbotBackup(list(self.rows.values()), self.problems)

    def is_plugin(self, statement: str) -> bool:
        """Whether the statement says whose values follow: `pobj = ….plugins["Name"]`, or `pobj = …("Name")…`."""
        if len(statement) > _LONGEST_NAMING:
            return False
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
        if value.count(",") > _MOST_PARTS:
            self.problem(line, f"{namespace}: the value of {shortly(key)} has too many parts and is left out")
            return True
        try:
            data = dumps(ast.literal_eval(value))
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            self.problem(line, f"{namespace}: the value of {shortly(key)} is no literal and is left out")
        else:
            # A key that is there twice has the later value, as when the program is run.
            self.rows[namespace, key] = (namespace, key, data)
        return True

    def is_strange(self, line: int, statement: str) -> None:
        """Note that the statement is one that errbot doesn't write."""
        self.strange += 1
        if self.strange > _MOST_STRANGE:
            raise BackupError(f"{self.path}, line {line}: this is no backup of errbot's, or one that is damaged")
        if not statement.startswith(("pobj[", "pobj.")):
            # Whose values follow may be what it says.
            self.plugin = None
        self.problem(line, f"{statement[:200].split(maxsplit=1)[0][:40]!r} is nothing that a backup has")

    def problem(self, line: int, text: str) -> None:
        self.problems.append(f"{self.path}, line {line}: {text}")


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The statements, each with the number of its first line; what is indented belongs to the one before."""
    text = text.replace("\r\n", "\n")
    line = 1
    for start, end in pairwise((0, *(found.start() for found in _BEGINS.finditer(text)), len(text))):
        statement = text[start:end].strip()
        if statement:
            yield line, statement
        line += text.count("\n", start, end)


def _assignment(statement: str) -> tuple[str, str, str] | None:
    """Owner, key and value of `owner["key"] = value`, whatever the value looks like."""
    head = _HEAD.match(statement)
    if head is None:
        return None
    try:
        key = ast.literal_eval(head[2])
    except (SyntaxError, ValueError, MemoryError):
        return None
    return head[1], key, statement[head.end() :]
