"""Connections to SQLite files, and copies of files that another process may be using."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from errklein.database._errors import DatabaseError, explained

SUFFIXES = ("", "-wal", "-shm")
"""The files of a database: its pages, the write-ahead log, which has the latest transactions, and the log's index."""

IN_MEMORY = Path(":memory:")
"""SQLite's name of a database in memory."""

BUSY_TIMEOUT = 2.0
"""The seconds that a write waits for another program, such as a backup, to release the file."""


def connect(path: Path, options: str = "") -> sqlite3.Connection:
    """Return a connection to the file, with options of SQLite's URIs."""
    # Without an isolation level, the sqlite3 module begins no transactions, and each statement is one.
    # Statements that `execute_rows` runs with different numbers of rows stay prepared.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}" if options else path,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        uri=bool(options),
    )


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection that only reads the file, and neither changes nor creates its side files.

    An ordinary connection, even one with mode=ro, creates side files, which the bot's user may be unable to write.
    See https://www.sqlite.org/wal.html#read_only_databases.
    """
    log, index = (path.with_name(path.name + end) for end in SUFFIXES[1:])
    if index.exists():
        return connect(path, "mode=ro&readonly_shm=1")
    if log.exists() and log.stat().st_size:
        raise DatabaseError(
            f"{path} has a write-ahead log without its index {index.name}; start the bot, which creates it"
        )
    # All transactions are in the file, and no process uses it.
    return connect(path, "mode=ro&immutable=1")


def copy_to_memory(path: Path) -> sqlite3.Connection:
    """Return a connection to a copy of the file, as of its last transaction."""
    copy = connect(IN_MEMORY)
    _copy(path, copy)
    return copy


def write_copy(path: Path, copy: Path) -> None:
    """Copy the file as of its last transaction. When this returns, the copy is complete and on disk, with mode 0600.

    :raises DatabaseError: if the file can't be read, or the copy can't be written; there is no part of it then.
    """
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        with closing(connect(unfinished)) as target:
            _copy(path, target)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        # The side files that a killed process has left belong to the earlier file.
        for end in SUFFIXES[1:]:
            copy.with_name(copy.name + end).unlink(missing_ok=True)
        unfinished.replace(copy)
        directory = os.open(copy.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except sqlite3.Error as error:
        raise explained(path, error) from error
    except OSError as error:
        raise DatabaseError(f"{copy} can't be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _copy(path: Path, target: sqlite3.Connection) -> None:
    with closing(connect_to_read(path)) as source:
        # `backup` would wait for ever for a program that has locked the file; a transaction waits for BUSY_TIMEOUT.
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM sqlite_master").fetchone()
        source.backup(target)
