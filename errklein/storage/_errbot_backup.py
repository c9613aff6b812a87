"""errbot's backup.py: a program that assigns values, read as text. Nothing in it is run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from errklein.storage._backup import BackupError, is_backup, read_backup, read_file
from errklein.storage._errors import shortly
from errklein.storage._sqlite import Row
from errklein.storage.pickling import dumps

_BEGINS = re.compile(r"^(?:(?:pobj|bot|log|if|for|import|from)\b|#)", re.MULTILINE)
"""The beginning of a statement. A value's repr may have line breaks, and need not be Python."""

_WITHOUT_VALUES = re.compile(
    r"#|log\.\w+\(|pobj\.(init|close)_storage\(\)$|bot\.plugin_manager\.update_plugin_places\(|if .*\binstalled_repos\b"
)
"""Statements that prepare errbot for the values."""

# The repetitions are possessive: nothing is tried twice, so it takes no longer for odd statements.
_STRING = r"""("(?:[^"\\\n]++|\\.)*+"|'(?:[^'\\\n]++|\\.)*+')"""

_VALUE = re.compile(rf"(pobj|bot(?:\.\w+)?)\[{_STRING}\]\s*=(?!=)\s*")
"""The beginning of `owner["key"] = value`."""

_PLUGIN = re.compile(rf"pobj\s*=\s*[\w.]+[\[(](?=.{{1,200}}$){_STRING}[\])][\w.]*$")
"""The plugin whose values follow: `pobj = ….plugins["Name"]…`, or `pobj = …("Name")…`."""

_NAMESPACES = {"bot.plugin_manager": "core", "bot.repo_manager": "repomgr"}
"""errbot's names for the owners of values that aren't plugins, and their namespaces."""

_MOST_STRANGE = 1000
"""How many statements that errbot doesn't write may be in its backup."""

_MOST_PARTS = 1_000_000
"""How many commas a value may have: Python takes a kilobyte of memory for each part while it reads one."""


@dataclass
class ErrbotBackup:
    """The values that could be read, and a line for each that couldn't."""

    rows: list[Row]
    problems: list[str] = field(default_factory=list)


def read_any_backup(path: Path) -> ErrbotBackup:
    """The values in a backup of errklein's or errbot's. Raises BackupError."""
    return ErrbotBackup(read_backup(path)) if is_backup(path) else read_errbot_backup(path)


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


@dataclass
class _ProgramReader:
    _path: Path
    # A key that is assigned twice has the later value, as when the program is run.
    _rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    _problems: list[str] = field(default_factory=list)
    _plugin: str | None = None
    _strange: int = 0

    def read(self, text: str) -> ErrbotBackup:
        for line, statement in _statements(text):
            if not _WITHOUT_VALUES.match(statement) and not self._is_read(line, statement):
                self._note_strange(line, statement)
        return ErrbotBackup(list(self._rows.values()), self._problems)

    def _is_read(self, line: int, statement: str) -> bool:
        """Read the statement if it names a plugin or assigns a value; returns whether it does."""
        if plugin := _PLUGIN.match(statement):
            self._plugin = _literal(plugin[1])
            return self._plugin is not None
        value = _VALUE.match(statement)
        if value is None:
            return False
        namespace = self._plugin if value[1] == "pobj" else _NAMESPACES.get(value[1])
        key = _literal(value[2])
        if namespace is None or key is None:
            return False
        self._read_value(line, namespace, key, statement[value.end() :])
        return True

    def _read_value(self, line: int, namespace: str, key: str, text: str) -> None:
        if text.count(",") > _MOST_PARTS:
            self._note(line, f"{namespace}: the value of {shortly(key)} has too many parts and is left out")
            return
        try:
            data = dumps(ast.literal_eval(text))
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            self._note(line, f"{namespace}: the value of {shortly(key)} is no literal and is left out")
        else:
            self._rows[namespace, key] = (namespace, key, data)

    def _note_strange(self, line: int, statement: str) -> None:
        """Note a statement that errbot doesn't write."""
        self._strange += 1
        if self._strange > _MOST_STRANGE:
            raise BackupError(f"{self._path}, line {line}: this is no backup of errbot's, or one that is damaged")
        if not statement.startswith(("pobj[", "pobj.")):
            # It may name the plugin whose values follow.
            self._plugin = None
        self._note(line, f"{statement[:200].split(maxsplit=1)[0][:40]!r} is nothing that a backup has")

    def _note(self, line: int, text: str) -> None:
        self._problems.append(f"{self._path}, line {line}: {text}")


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The statements, each with the number of its first line; indented lines belong to the statement before."""
    text = text.replace("\r\n", "\n")
    line = 1
    for start, end in pairwise((0, *(found.start() for found in _BEGINS.finditer(text)), len(text))):
        statement = text[start:end].strip()
        if statement:
            yield line, statement
        line += text.count("\n", start, end)


def _literal(string: str) -> str | None:
    try:
        return str(ast.literal_eval(string))
    except (SyntaxError, ValueError, MemoryError):
        return None
