"""Reader for errbot's backup.py: a Python program that assigns values, which is parsed as text and never executed."""

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
"""The beginning of a statement. A value's repr may contain line breaks and need not be valid Python."""

_WITHOUT_VALUES = re.compile(
    r"#|log\.\w+\(|pobj\.(init|close)_storage\(\)$|bot\.plugin_manager\.update_plugin_places\(|if .*\binstalled_repos\b"
)
"""Statements without values, which are skipped."""

# Possessive repetitions don't backtrack, so the time to match grows linearly with the length of the statement.
_STRING = r"""("(?:[^"\\\n]++|\\.)*+"|'(?:[^'\\\n]++|\\.)*+')"""

_VALUE = re.compile(rf"(pobj|bot(?:\.\w+)?)\[{_STRING}\]\s*=(?!=)\s*")
"""The beginning of `owner["key"] = value`."""

_PLUGIN = re.compile(rf"pobj\s*=\s*[\w.]+[\[(](?=.{{1,200}}$){_STRING}[\])][\w.]*$")
"""The plugin whose values follow: `pobj = ….plugins["Name"]…`, or `pobj = …("Name")…`."""

_NAMESPACES = {"bot.plugin_manager": "core", "bot.repo_manager": "repomgr"}
"""The namespaces of values that belong to no plugin, by errbot's name for their owner."""

_MOST_UNEXPECTED = 1000
"""The limit for the number of statements that errbot doesn't write."""

_MOST_PARTS = 1_000_000
"""The limit for the number of commas in a value. Python takes a kilobyte of memory for each element while it parses
one."""


@dataclass
class ErrbotBackup:
    """The values of a backup that could be read.

    `rows` has the values. `problems` has a line for each value or statement that could not be read, with the number of
    its line.
    """

    rows: list[Row]
    problems: list[str] = field(default_factory=list)


def read_any_backup(path: Path) -> ErrbotBackup:
    """Return the values of a backup of errklein or errbot; raises BackupError."""
    return ErrbotBackup(read_backup(path)) if is_backup(path) else read_errbot_backup(path)


def read_errbot_backup(path: Path) -> ErrbotBackup:
    """Return the values of an errbot backup that are Python literals.

    Everything else is listed in `problems`. Raises BackupError if the file isn't an errbot backup.
    """
    try:
        text = read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BackupError(f"{path} is not an errbot backup: byte {error.start} is not valid UTF-8") from error
    if "bot.plugin_manager" not in text:
        raise BackupError(f"{path} is neither an errklein backup nor an errbot backup")
    with warnings.catch_warnings():
        # Python would print a warning for each invalid escape sequence in a key.
        warnings.simplefilter("ignore")
        return _ProgramReader(path).read(text)


@dataclass
class _ProgramReader:
    _path: Path
    # If a key is assigned twice, the later value counts, as if the program was executed.
    _rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    _problems: list[str] = field(default_factory=list)
    _plugin: str | None = None
    _unexpected: int = 0

    def read(self, text: str) -> ErrbotBackup:
        for line, statement in _statements(text):
            if not _WITHOUT_VALUES.match(statement) and not self._is_read(line, statement):
                self._note_unexpected(line, statement)
        return ErrbotBackup(list(self._rows.values()), self._problems)

    def _is_read(self, line: int, statement: str) -> bool:
        """Read the statement if it names a plugin or assigns a value, and return whether it does."""
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
            self._note(line, f"{namespace}: the value of {shortly(key)} has too many elements and is left out")
            return
        try:
            data = dumps(ast.literal_eval(text))
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            self._note(line, f"{namespace}: the value of {shortly(key)} is not a Python literal and is left out")
        else:
            self._rows[namespace, key] = (namespace, key, data)

    def _note_unexpected(self, line: int, statement: str) -> None:
        """Add a problem for a statement that errbot doesn't write."""
        self._unexpected += 1
        if self._unexpected > _MOST_UNEXPECTED:
            raise BackupError(
                f"{self._path}, line {line}: more than {_MOST_UNEXPECTED} unexpected statements; "
                "the file is damaged or not an errbot backup"
            )
        if not statement.startswith(("pobj[", "pobj.")):
            # It may name the plugin whose values follow.
            self._plugin = None
        self._note(line, f"unexpected statement {statement[:200].split(maxsplit=1)[0][:40]!r} is ignored")

    def _note(self, line: int, text: str) -> None:
        self._problems.append(f"{self._path}, line {line}: {text}")


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the text of each statement; indented lines belong to the statement before them."""
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
