"""Backups: all that plugins have stored, as data in one text file.

Each line is JSON. The first says what the file is; each of the others is a value, with its namespace and key:

    {"format": "errklein backup", "version": 1, "made": "2026-01-31T12:00:00+00:00", "errklein": "0.1"}
    {"namespace": "Greeter", "key": "names", "json": ["alice", "bob"]}
    {"namespace": "Greeter", "key": "since", "pickle": "gASVLgAAAAAAAACMCGRhdGV0aW1llIwI…"}
    {"end": true, "values": 2, "sha256": "…"}

A value that JSON has exactly stands as it is, any other as its pickle in Base64. A namespace or key with surrogates,
which JSON can't be trusted with, is `{"utf8": Base64 of its UTF-8}`. The last line counts the values, and has the
SHA-256 of all that is before it, so that a file that was cut or changed is found out.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from errklein._version import __version__
from errklein.storage._errors import StorageError, shortly
from errklein.storage._sqlite import Row
from errklein.storage.pickling import dumps, plain_value

FORMAT = "errklein backup"
VERSION = 1

BACKUP_NAME = "backup.jsonl"
"""What the file is called, in the bot's data directory."""


class BackupError(StorageError):
    """A backup can't be written or used; `str()` is one line. Nothing was changed."""


def write_backup(path: Path, rows: Iterable[Row], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> int:
    """Write the rows into a file for its owner alone, which replaces `path` once it is on disk; returns their number."""
    header = {"format": FORMAT, "version": VERSION, "made": now().isoformat(), "errklein": __version__}
    count = 0
    try:
        # mkstemp makes the file with mode 0600.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                digest = sha256()
                for line in (header, *map(_entry, rows)):
                    data = _line(line)
                    digest.update(data)
                    file.write(data)
                    count += 1
                count -= 1
                file.write(_line({"end": True, "values": count, "sha256": digest.hexdigest()}))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise BackupError(f"{path}: the backup can't be written: {error.strerror}") from error
    return count


def read_backup(path: Path) -> list[Row]:
    """The rows of the backup; raises BackupError unless all of it is there, unchanged, and of a version known here."""
    data = read_file(path)
    # A file may be large, and nothing but ends of lines: it isn't made a list of lines before it is known to be whole.
    count = data.count(b"\n") + (not data.endswith(b"\n"))
    last = data.rfind(b"\n", 0, -1) + 1
    lines = BytesIO(data)
    header = _parsed(path, 1, lines.readline())
    if header.get("format") != FORMAT:
        raise BackupError(f"{path}: this is no backup of errklein's; expected a line with {FORMAT!r} at its beginning")
    version = header.get("version")
    if version != VERSION:
        raise BackupError(
            f"{path}: a newer errklein made this backup (version {shortly(version)}, this errklein knows {VERSION}): "
            "restore it with that errklein"
        )
    end = _parsed(path, count, data[last:]) if data.endswith(b"\n") else {}
    if end.get("end") is not True or end.get("values") != count - 2:
        raise BackupError(f"{path}: the backup is cut off after line {count}; take another one")
    if end.get("sha256") != sha256(memoryview(data)[:last]).hexdigest():
        raise BackupError(f"{path}: the backup was changed or is damaged: its sum is not the one in its last line")
    rows: dict[tuple[str, str], Row] = {}
    for number, line in enumerate(islice(lines, count - 2), 2):
        row = _row(path, number, line)
        if rows.setdefault(row[:2], row) is not row:
            namespace, key, _ = row
            raise BackupError(f"{path}, line {number}: {namespace}: there is another value of {shortly(key)} before")
    return list(rows.values())


def is_backup(path: Path) -> bool:
    """Whether the file calls itself a backup of errklein's."""
    return FORMAT.encode() in read_file(path, 200)


def read_file(path: Path, most: int = -1) -> bytes:
    """What is in the file, or the first bytes of it; raises BackupError."""
    try:
        # A pipe would be waited for, and a device may have no end.
        if path.exists() and not path.is_file():
            raise BackupError(f"{path}: the backup can't be read: it is no regular file")
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise BackupError(f"{path}: the backup can't be read: {error.strerror}") from error


def _entry(row: Row) -> dict[str, Any]:
    namespace, key, data = row
    entry: dict[str, Any] = {"namespace": _text(namespace), "key": _text(key)}
    try:
        value = plain_value(data)
        exact = _is_exact(value, set())
    except (ValueError, RecursionError):
        exact = False
    if exact:
        return {**entry, "json": value}
    return {**entry, "pickle": b64encode(data).decode("ascii")}


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii") + b"\n"


def _is_exact(value: Any, seen: set[int]) -> bool:
    """Whether JSON gives back the very same; what is in the value twice, or in itself, would become two."""
    if value is None or type(value) is bool:
        return True
    if type(value) is str:
        return not _has_surrogates(value)
    if type(value) is int:
        # Longer ones Python neither writes nor reads in decimal.
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
    if _has_surrogates(text):
        return {"utf8": b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")}
    return text


def _row(path: Path, number: int, line: bytes) -> Row:
    entry = _parsed(path, number, line)
    try:
        data = b64decode(entry["pickle"], validate=True) if "pickle" in entry else dumps(entry["json"])
        return _read_text(entry["namespace"]), _read_text(entry["key"]), data
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BackupError(f"{path}, line {number}: expected a value with its namespace and key") from error


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
        raise BackupError(f"{path}, line {number}: the backup is damaged or cut off there; take another one")
    return value
