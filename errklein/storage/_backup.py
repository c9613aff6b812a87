"""The backup file: all stored values, as data in one text file.

Each line is a JSON object. The first line is a header, the last one a checksum. Every other line is a value with its
namespace and key:

    {"format": "errklein backup", "version": 1, "made": "2026-01-31T12:00:00+00:00", "errklein": "0.1"}
    {"namespace": "Greeter", "key": "names", "json": ["alice", "bob"]}
    {"namespace": "Greeter", "key": "since", "pickle": "gASVLgAAAAAAAACMCGRhdGV0aW1llIwI…"}
    {"end": true, "values": 2, "sha256": "…"}

A value that JSON represents exactly is written as JSON, any other as its pickle in Base64. JSON parsers treat
surrogates differently, so a namespace or key with surrogates is written as `{"utf8": Base64 of its UTF-8}`. The last
line has the number of values and the SHA-256 of all lines before it, which reveal a truncated or changed file.
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
"""The file name of the backup in BOT_DATA_DIR."""


class BackupError(StorageError):
    """A backup can't be written, read or restored; `str()` is one line.

    The storage and an older backup are unchanged.
    """


def write_backup(path: Path, rows: Iterable[Row], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> int:
    """Write the rows to a backup file and return their number.

    The file is written beside `path` with mode 0600, flushed to disk, and then renamed to `path`. If that fails, an
    older backup at `path` stays as it is. `now` returns the time for the header. Raises BackupError.
    """
    header = {"format": FORMAT, "version": VERSION, "made": now().isoformat(), "errklein": __version__}
    count = 0
    try:
        # mkstemp creates the file with mode 0600.
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
        raise BackupError(f"can't write the backup {path}: {error.strerror}") from error
    return count


def read_backup(path: Path) -> list[Row]:
    """Return the rows of the backup; raises BackupError if it is incomplete, changed, or of an unknown version."""
    data = read_file(path)
    # A hostile file may consist of line ends, which would take much memory as a list. So the checksum is verified
    # first.
    count = data.count(b"\n") + (not data.endswith(b"\n"))
    last = data.rfind(b"\n", 0, -1) + 1
    lines = BytesIO(data)
    header = _parsed(path, 1, lines.readline())
    if header.get("format") != FORMAT:
        raise BackupError(f'{path} is not an errklein backup: its first line must contain "format": "{FORMAT}"')
    version = header.get("version")
    if version != VERSION:
        raise BackupError(
            f"{path} has backup version {shortly(version)}, but this errklein reads only version {VERSION}; "
            "restore it with the version of errklein that wrote it"
        )
    end = _parsed(path, count, data[last:]) if data.endswith(b"\n") else {}
    if end.get("end") is not True or end.get("values") != count - 2:
        raise BackupError(f"{path} is incomplete: it ends after line {count}; restore another backup")
    if end.get("sha256") != sha256(memoryview(data)[:last]).hexdigest():
        raise BackupError(
            f"{path} was changed or is damaged: its SHA-256 is not the one in its last line; restore another backup"
        )
    rows: dict[tuple[str, str], Row] = {}
    for number, line in enumerate(islice(lines, count - 2), 2):
        row = _row(path, number, line)
        if rows.setdefault(row[:2], row) is not row:
            namespace, key, _ = row
            raise BackupError(
                f"{path}, line {number}: duplicate key {shortly(key)} in the namespace {shortly(namespace)}"
            )
    return list(rows.values())


def is_backup(path: Path) -> bool:
    """Return whether the file looks like an errklein backup, judged by its first 200 bytes; raises BackupError."""
    return FORMAT.encode() in read_file(path, 200)


def read_file(path: Path, most: int = -1) -> bytes:
    """Return the content of the file, or its first `most` bytes; raises BackupError."""
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
    if exact:
        return {**entry, "json": value}
    return {**entry, "pickle": b64encode(data).decode("ascii")}


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii") + b"\n"


def _is_exact(value: Any, seen: set[int]) -> bool:
    """Return whether JSON reproduces the value exactly.

    Containers that occur in it twice, or in themselves, would become separate objects, so they don't count as exact.
    """
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
    if _has_surrogates(text):
        return {"utf8": b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")}
    return text


def _row(path: Path, number: int, line: bytes) -> Row:
    entry = _parsed(path, number, line)
    try:
        data = b64decode(entry["pickle"], validate=True) if "pickle" in entry else dumps(entry["json"])
        return _read_text(entry["namespace"]), _read_text(entry["key"]), data
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BackupError(
            f'{path}, line {number}: invalid value; expected "namespace", "key", and "json" or "pickle"'
        ) from error


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
