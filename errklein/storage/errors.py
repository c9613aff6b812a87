"""What can go wrong when values are kept, each in one line that says what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from reprlib import Repr

from errklein.logs import escape
from errklein.text.errors import one_line


class StorageError(Exception):
    """A value could not be kept or read; `str()` is one line. What was stored before is as it was."""

    def __str__(self) -> str:
        # Names of files, namespaces and classes are in it, and may be anything.
        return escape(super().__str__())


class UnstorableValue(StorageError, TypeError):
    """The value can't be pickled, so nothing was changed."""

    def __init__(self, namespace: str, key: str, value: object, reason: BaseException) -> None:
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        why = one_line(reason)
        super().__init__(
            f"{namespace}: a value of type {kind} can't be stored under {key!r}, nothing was changed: {why}"
        )


class UnreadableValue(StorageError):
    """The stored value can't be made an object again; its bytes stay where they are.

    Deliberately no KeyError: `get(key, default)` must not pass over a value that is there, and then overwrite it.
    """

    def __init__(self, namespace: str, key: str, reason: BaseException) -> None:
        why = one_line(reason)
        super().__init__(f"{namespace}: what is stored under {key!r} can't be read, and is left as it is: {why}")


def shortly(value: object) -> str:
    """How the value is written in Python, without what is too much of it for a line."""
    return _SHORT.repr(value)


_SHORT = Repr()
_SHORT.maxstring = 200

_FULL = "the disk is full, nothing was changed: free some space and try again"
_DAMAGED = (
    "the file is damaged or was not made by errklein ({}): stop the bot, keep a copy of the file, "
    "then put a backup in its place or move it away to begin empty"
)
_HELD = "another program holds the file, nothing was changed: find it with `fuser`, or try again"
_FORBIDDEN = "the file can't be opened for writing ({}): check the owner and mode of the file and of its directory"
_FAILING = "the disk can't be read or written ({}), nothing was changed: check its free space, quota and health"

_ADVICE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_LOCKED: _HELD,
    sqlite3.SQLITE_CANTOPEN: _FORBIDDEN,
    sqlite3.SQLITE_READONLY: _FORBIDDEN,
    sqlite3.SQLITE_PERM: _FORBIDDEN,
    sqlite3.SQLITE_IOERR: _FAILING,
}


def explained(path: Path, error: sqlite3.Error) -> StorageError:
    """The error to raise instead of SQLite's: it names the file and what to do about it."""
    # The low byte is the kind of error, the others tell details. Errors of the module itself have no code.
    kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return StorageError(f"{path}: " + _ADVICE.get(kind, "{}").format(one_line(error)))
