"""Plugins' values in one SQLite file, where each assignment is a transaction that survives a crash."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from errklein.storage.errors import StorageError, UnreadableValue, UnstorableValue, explained
from errklein.storage.pickling import FindClass, dumps, loads
from errklein.storage.schema import upgrade

BUSY_TIMEOUT = 2.0
"""How many seconds a write waits for another program, such as a backup, to let go of the file."""


class SQLiteStorage:
    """All namespaces in the file at `path`, which is made if it isn't there, readable by its owner alone.

    It may be used from any thread: writes take turns, and reads have a connection of their own, so they don't wait for
    a write that is on its way to the disk. `find_class` is asked first for each class that a stored value names (by
    module and name); None means that it is where its name says. Raises StorageError, here and in each call, in one line
    that names the file and what to do.
    """

    def __init__(self, path: Path, find_class: FindClass | None = None) -> None:
        self.path = path
        self.find_class = find_class
        self._closed = False
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        _make_private(path)
        try:
            self._writer = _connect(path)
            try:
                self._writer.execute("PRAGMA journal_mode = WAL")
                self._writer.execute("PRAGMA synchronous = FULL")
                upgrade(self._writer, path)
                self._reader = _connect(path)
            except BaseException:
                self._writer.close()
                raise
        except sqlite3.Error as error:
            raise explained(path, error) from error

    def open(self, namespace: str) -> SQLiteStore:
        """The values of `namespace`; several may be open at once, and see each other's changes."""
        if self._closed:
            raise StorageError(f"{self.path}: the storage is closed")
        return SQLiteStore(self, namespace)

    def close(self) -> None:
        """Release the file, after the calls that run at this moment; every store is closed with it."""
        with self._write_lock, self._read_lock:
            self._closed = True
            self._reader.close()
            # The last connection to go folds the write-ahead log into the file.
            self._writer.close()

    def write(self, statement: str, parameters: Sequence[object]) -> int:
        """Run one statement as a transaction; how many rows it changed."""
        with self._write_lock:
            self._check_open()
            try:
                return self._writer.execute(statement, parameters).rowcount
            except sqlite3.Error as error:
                raise explained(self.path, error) from error

    def read(self, query: str, parameters: Sequence[object]) -> list[Any]:
        """All rows of `query`, as the last transaction that has ended left them."""
        with self._read_lock:
            self._check_open()
            try:
                # All rows at once: a query that stays open would keep the write-ahead log from being folded in.
                return self._reader.execute(query, parameters).fetchall()
            except sqlite3.Error as error:
                raise explained(self.path, error) from error

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"{self.path}: the storage is closed")


class SQLiteStore:
    """The values of one namespace of a SQLiteStorage. Each `get` makes a new object of what is stored."""

    def __init__(self, storage: SQLiteStorage, namespace: str) -> None:
        self._storage = storage
        self._namespace = namespace
        self._closed = False

    def get(self, key: str) -> Any:
        """The value; raises KeyError, or UnreadableValue, which names a class that is gone."""
        rows = self._open().read("SELECT value FROM stored WHERE namespace = ? AND key = ?", self._row(key))
        if not rows:
            raise KeyError(key)
        try:
            return loads(rows[0][0], self._storage.find_class)
        except Exception as error:
            raise UnreadableValue(self._namespace, key, error) from error

    def set(self, key: str, value: Any) -> None:
        """Keep the value, on disk when this returns; raises UnstorableValue if it can't be pickled."""
        storage, row = self._open(), self._row(key)
        try:
            data = dumps(value)
        except Exception as error:
            raise UnstorableValue(self._namespace, key, value, error) from error
        storage.write(
            "INSERT INTO stored (namespace, key, value) VALUES (?, ?, ?) "
            "ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value",
            (*row, data),
        )

    def remove(self, key: str) -> None:
        """Forget the value, readable or not; raises KeyError."""
        if not self._open().write("DELETE FROM stored WHERE namespace = ? AND key = ?", self._row(key)):
            raise KeyError(key)

    def keys(self) -> list[str]:
        """The keys, as they are now."""
        rows = self._open().read("SELECT key FROM stored WHERE namespace = ?", (_encoded(self._namespace),))
        return [key.decode("utf-8", "surrogatepass") for (key,) in rows]

    def len(self) -> int:
        """How many values there are."""
        rows = self._open().read("SELECT count(*) FROM stored WHERE namespace = ?", (_encoded(self._namespace),))
        return int(rows[0][0])

    def close(self) -> None:
        """Give the namespace back; it can be opened again."""
        self._closed = True

    def _open(self) -> SQLiteStorage:
        if self._closed:
            raise StorageError(f"{self._namespace}: the store is closed")
        return self._storage

    def _row(self, key: str) -> tuple[bytes, bytes]:
        if not isinstance(key, str):
            raise TypeError(f"{self._namespace}: a key is a string, not {key!r}")
        return _encoded(self._namespace), _encoded(key)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


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
        raise StorageError(f"{path}: the file can't be made or made private: {error.strerror}") from error
