"""A SQLite file that threads share."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from errklein.database._errors import DatabaseError, explained
from errklein.database._migrations import Migration, upgrade

BUSY_TIMEOUT = 2.0
"""How many seconds a write waits for another program, such as a backup, to let go of the file."""


class Database:
    """The file at `path`, brought to the version of `migrations`; it is made if it is missing, readable by its owner alone.

    It may be used from any thread. Writes take turns; each transaction survives a crash once it has returned. Reads have a
    connection of their own, so they don't wait for a write that is on its way to the disk. All calls raise DatabaseError.
    """

    def __init__(self, path: Path, migrations: Sequence[Migration]) -> None:
        self.path = path
        self.closed = False
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        _make_private(path)
        with self._errors_explained():
            self._writer = _connect(path)
            try:
                self._writer.execute("PRAGMA journal_mode = WAL")
                self._writer.execute("PRAGMA synchronous = FULL")
                upgrade(self._writer, path, migrations)
                self._reader = _connect(path)
            except BaseException:
                self._writer.close()
                raise

    def read(self, query: str, parameters: Sequence[object] = ()) -> list[Any]:
        """All rows of the query, as the last transaction that has ended left them."""
        with self._read_lock, self._errors_explained():
            # All rows at once: a query that stays open would keep the write-ahead log from being folded in.
            return self._reader.execute(query, parameters).fetchall()

    def read_lazily(self, query: str) -> Iterator[Any]:
        """The rows of the query one by one, as they are at one moment. Nothing waits for them, however many there are."""
        with self._errors_explained(), closing(_connect(self.path)) as connection:
            yield from connection.execute(query)

    def write(self, statement: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement as a transaction; returns the number of changed rows."""
        with self._write_lock, self._errors_explained():
            return self._writer.execute(statement, parameters).rowcount

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection for several statements that are run in one transaction, all or none."""
        with self._write_lock, self._errors_explained():
            self._writer.execute("BEGIN IMMEDIATE")
            with self._writer:
                yield self._writer

    def close(self) -> None:
        """Release the file, after the calls that run at this moment."""
        with self._write_lock, self._read_lock:
            self.closed = True
            self._reader.close()
            # The last connection to close folds the write-ahead log into the file.
            self._writer.close()

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        if self.closed:
            raise DatabaseError(f"{self.path}: the database is closed")
        try:
            yield
        except sqlite3.Error as error:
            raise explained(self.path, error) from error


def _connect(path: Path) -> sqlite3.Connection:
    # No isolation level: then the sqlite3 module begins no transactions, and each statement is one.
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)


def _make_private(path: Path) -> None:
    """Make the file with mode 0600 before SQLite does it with the umask's; its side files get the same mode."""
    try:
        path.touch(mode=0o600)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise DatabaseError(f"{path}: the file can't be made or made private: {error.strerror}") from error
