"""Backups: errklein's own, which has all stored values as data in one text file, and errbot's backup.py. The format of errklein's
is in docs/reference/data-directory.md. errbot's is a Python program, which is parsed as text and never executed."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from itertools import islice, pairwise
from pathlib import Path
from reprlib import Repr
from typing import Any

from errklein._version import __version__
from errklein.config.secrets import write_private_file
from errklein.database import StorageError
from errklein.storage.pickling import Row, dumps, plain_value

FORMAT = "errklein backup"
VERSION = 1

ROOM_SECRETS = "secrets of room webhooks"
"""The namespace of the secrets of webhooks that were made in chats, which processes on several machines share."""

BACKUP_NAME = "backup.jsonl"  # the file name of the backup in BOT_DATA_DIR

_SHORT = Repr()
_SHORT.maxstring = 200
shortly = _SHORT.repr  # returns the repr of a value, shortened to fit a line


class BackupError(StorageError):
    """A backup can't be written, read or restored; `str()` is one line. The storage and an older backup are unchanged."""


def write_backup(path: Path, rows: Iterable[Row], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> int:
    """Write the rows to a backup file and return their number. It is written beside `path` with mode 0600, flushed to
    disk, and renamed. If that fails, which raises BackupError, an older backup at `path` stays as it is."""
    header = {"format": FORMAT, "version": VERSION, "made": now().isoformat(), "errklein": __version__}
    try:
        # `--with-secrets` writes these to another file.
        lines = (header, *(_entry(row) for row in rows if row[0] != ROOM_SECRETS))
        write_private_file(path, _checked_lines(lines))
    except OSError as error:
        raise BackupError(f"can't write the backup {path}: {error.strerror}") from error
    return len(lines) - 1


def _checked_lines(lines: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    digest = sha256()
    for line in lines:
        data = _line(line)
        digest.update(data)
        yield data
    yield _line({"end": True, "values": len(lines) - 1, "sha256": digest.hexdigest()})


def read_backup(path: Path) -> list[Row]:
    """Return the rows of the backup; raises BackupError if it is incomplete, changed, or of an unknown version."""
    data = read_file(path)
    # A hostile file may consist of line ends, which would take much memory as a list. So the checksum is verified first.
    count = data.count(b"\n") + (not data.endswith(b"\n"))
    last = data.rfind(b"\n", 0, -1) + 1
    lines = BytesIO(data)
    header = _parsed(path, 1, lines.readline())
    if header.get("format") != FORMAT:
        raise BackupError(f'{path} is not an errklein backup: its first line must contain "format": "{FORMAT}"')
    version = header.get("version")
    if version != VERSION:
        known = f"but this errklein reads only version {VERSION}; restore it with the version of errklein that wrote it"
        raise BackupError(f"{path} has backup version {shortly(version)}, {known}")
    end = _parsed(path, count, data[last:]) if data.endswith(b"\n") else {}
    if end.get("end") is not True or end.get("values") != count - 2:
        raise BackupError(f"{path} is incomplete: it ends after line {count}; restore another backup")
    if end.get("sha256") != sha256(memoryview(data)[:last]).hexdigest():
        reason = "its SHA-256 is not the one in its last line"
        raise BackupError(f"{path} was changed or is damaged: {reason}; restore another backup")
    rows: dict[tuple[str, str], Row] = {}
    for number, line in enumerate(islice(lines, count - 2), 2):
        row = _row(path, number, line)
        if rows.setdefault(row[:2], row) is not row:
            where = f"{shortly(row[1])} in the namespace {shortly(row[0])}"
            raise BackupError(f"{path}, line {number}: duplicate key {where}")
    return list(rows.values())


def is_backup(path: Path) -> bool:
    return FORMAT.encode() in read_file(path, 200)


def read_file(path: Path, most: int = -1) -> bytes:
    try:
        # Reading a pipe could block, and a device may have no end.
        if path.exists() and not path.is_file():
            raise BackupError(f"can't read the backup {path}: it is not a regular file")
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise BackupError(f"can't read the backup {path}: {error.strerror}") from error


def _entry(row: Row) -> dict[str, Any]:
    namespace, key, data = row
    entry: dict[str, Any] = {"namespace": _text(namespace), "key": _text(key)}
    try:
        value = plain_value(data)
        exact = _is_exact(value, set())
    except (ValueError, RecursionError):
        exact = False
    return {**entry, **({"json": value} if exact else {"pickle": b64encode(data).decode("ascii")})}


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii") + b"\n"


def _is_exact(value: Any, seen: set[int]) -> bool:
    """Return whether JSON reproduces the value exactly. Containers that occur in it twice, or in themselves, would
    become separate objects, so they don't count as exact."""
    if value is None or type(value) is bool:
        return True
    if type(value) is str:
        return not _has_surrogates(value)
    if type(value) is int:
        # Python limits the conversion of longer numbers to and from decimal.
        return value.bit_length() < 2_000
    if type(value) is float:
        return math.isfinite(value)
    if type(value) not in (list, dict) or id(value) in seen:
        return False
    seen.add(id(value))
    if type(value) is dict:
        return all(type(key) is str and _is_exact(key, seen) and _is_exact(item, seen) for key, item in value.items())
    return all(_is_exact(item, seen) for item in value)


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text) if not text.isascii() else False


def _text(text: str) -> Any:
    if not _has_surrogates(text):
        return text
    return {"utf8": b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")}


def _row(path: Path, number: int, line: bytes) -> Row:
    entry = _parsed(path, number, line)
    try:
        data = b64decode(entry["pickle"], validate=True) if "pickle" in entry else dumps(entry["json"])
        return _read_text(entry["namespace"]), _read_text(entry["key"]), data
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        expected = '"namespace", "key", and "json" or "pickle"'
        raise BackupError(f"{path}, line {number}: invalid value; expected {expected}") from error


def _read_text(text: Any) -> str:
    if isinstance(text, dict):
        return b64decode(text["utf8"], validate=True).decode("utf-8", "surrogatepass")
    if not isinstance(text, str):
        raise TypeError(text)
    return text


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        if number == 1:
            return {}
        raise BackupError(f"{path}, line {number}: damaged backup (not a JSON object); restore another one")
    return value


_BEGINS = re.compile(r"^(?:(?:pobj|bot|log|if|for|import|from)\b|#)", re.MULTILINE)
"""The beginning of a statement. A value's repr may contain line breaks and need not be valid Python."""

_WITHOUT_VALUES = re.compile(
    r"#|log\.\w+\(|pobj\.(init|close)_storage\(\)$|bot\.plugin_manager\.update_plugin_places\(|if .*\binstalled_repos\b"
)
"""Statements without values, which are skipped."""

# Possessive repetitions don't backtrack, so the time to match grows linearly with the length of the statement.
_STRING = r"""("(?:[^"\\\n]++|\\.)*+"|'(?:[^'\\\n]++|\\.)*+')"""

_VALUE = re.compile(rf"(pobj|bot(?:\.\w+)?)\[{_STRING}\]\s*=(?!=)\s*")  # the beginning of `owner["key"] = value`

_PLUGIN = re.compile(rf"pobj\s*=\s*[\w.]+[\[(](?=.{{1,200}}$){_STRING}[\])][\w.]*$")
"""The plugin whose values follow: `pobj = ….plugins["Name"]…`, or `pobj = …("Name")…`."""

_NAMESPACES = {"bot.plugin_manager": "core", "bot.repo_manager": "repomgr"}
"""The namespaces of values that belong to no plugin, by errbot's name for their owner."""

_MOST_UNEXPECTED = 1000  # the limit for the number of statements that errbot doesn't write

_MOST_PARTS = 1_000_000
"""The limit for the number of commas in a value. Python takes a kilobyte of memory for each element while it parses one."""


@dataclass
class ErrbotBackup:
    """The values of a backup that could be read. `rows` has the values. `problems` has a line for each value or
    statement that could not be read, with the number of its line."""

    rows: list[Row]
    problems: list[str] = field(default_factory=list)


def read_any_backup(path: Path) -> ErrbotBackup:
    return ErrbotBackup(read_backup(path)) if is_backup(path) else read_errbot_backup(path)


def read_errbot_backup(path: Path) -> ErrbotBackup:
    """Return the values of an errbot backup that are Python literals. Everything else is listed in `problems`. Raises
    BackupError if the file isn't an errbot backup."""
    try:
        text = read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BackupError(f"{path} is not an errbot backup: byte {error.start} is not valid UTF-8") from error
    if "bot.plugin_manager" not in text:
        raise BackupError(f"{path} is neither an errklein backup nor an errbot backup")
    with warnings.catch_warnings():
        # Python would print a warning for each invalid escape sequence in a key.
        warnings.simplefilter("ignore")
        return _read_program(path, text)


def _read_program(path: Path, text: str) -> ErrbotBackup:
    # If a key is assigned twice, the later value counts, as if the program was executed.
    rows: dict[tuple[str, str], Row] = {}
    problems: list[str] = []
    plugin: str | None = None
    unexpected = 0
    for line, statement in _statements(text):
        if _WITHOUT_VALUES.match(statement):
            continue
        where = f"{path}, line {line}"
        if (named := _PLUGIN.match(statement)) and (name := _literal(named[1])) is not None:
            plugin = name
            continue
        if value := _VALUE.match(statement):
            namespace = plugin if value[1] == "pobj" else _NAMESPACES.get(value[1])
            key = _literal(value[2])
            if namespace is not None and key is not None:
                reason, literal = "has too many elements", statement[value.end() :]
                if literal.count(",") <= _MOST_PARTS:
                    try:
                        rows[namespace, key] = (namespace, key, dumps(ast.literal_eval(literal)))
                        continue
                    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
                        reason = "is not a Python literal"
                problems.append(f"{where}: {namespace}: the value of {shortly(key)} {reason} and is left out")
                continue
        # errbot doesn't write such a statement.
        unexpected += 1
        if unexpected > _MOST_UNEXPECTED:
            what = f"more than {_MOST_UNEXPECTED} unexpected statements"
            raise BackupError(f"{where}: {what}; the file is damaged or not an errbot backup")
        if not statement.startswith(("pobj[", "pobj.")):
            # It may name the plugin whose values follow.
            plugin = None
        problems.append(f"{where}: unexpected statement {statement[:200].split(maxsplit=1)[0][:40]!r} is ignored")
    return ErrbotBackup(list(rows.values()), problems)


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
