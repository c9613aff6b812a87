"""Errors of a database, each with the file, the reason and the remedy."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from errklein.logs import escape
from errklein.text.errors import one_line


class StorageError(Exception):
    """A value could not be stored or read; `str()` is one line. The stored values are unchanged."""

    def __str__(self) -> str:
        # Names of files, namespaces and classes may contain control characters.
        return escape(super().__str__())


class DatabaseError(StorageError):
    """A database can't be opened, read or written. The text is one line. A failed transaction has changed nothing."""


_DAMAGED = (
    "the file is damaged or was not made by errklein ({}); stop the bot, keep a copy of the file, "
    "and replace it by a backup, or move it away to start without values"
)
_LOCKED = "another program has locked the file, and nothing was changed; find it with `fuser`, or try again"
_FORBIDDEN = (
    "the file can't be opened for writing ({}); check owner and mode of the file and of its directory, "
    "and whether the file system is read-only"
)

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full, and nothing was changed; free some space and try again",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_CANTOPEN: _FORBIDDEN,
    sqlite3.SQLITE_READONLY: _FORBIDDEN,
    sqlite3.SQLITE_PERM: _FORBIDDEN,
    sqlite3.SQLITE_IOERR: (
        "the disk can't be read or written ({}), and nothing was changed; check its space, quota and health, "
        "and whether it is read-only"
    ),
}


def explained(path: Path, error: sqlite3.Error) -> DatabaseError:
    """Return the error to raise instead of SQLite's, with the file and the remedy."""
    # The low byte of the code is the kind of error. Errors of the sqlite3 module itself have no code.
    kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return DatabaseError(f"{path}: " + _ADVICE.get(kind, "{}").format(one_line(error)))
