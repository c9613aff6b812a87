"""Plugins' values in one SQLite file, where each assignment is a transaction that survives a crash.

Each value has a mark of its origin. A value that the bot has stored itself may name any class. A value from a backup or from
errbot's shelves, which `put` stores, is restricted until the bot assigns its key anew; see `restricted_pickling`.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from errklein.database.migrations import upgrade
from errklein.storage.errors import StorageError, UnreadableValue, UnstorableValue, explained
from errklein.storage.pickling import dumps
from errklein.storage.reading import DEFAULT_READER, ValueReader

DATABASE = "errklein.sqlite"
"""What the file is called, in the bot's data directory."""

BUSY_TIMEOUT = 2.0
"""How many seconds a write waits for another program, such as a backup, to let go of the file."""

_NAMES = "SELECT namespace, key FROM stored"

_SET = (
    "INSERT INTO stored (namespace, key, value, trusted) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, trusted = excluded.trusted"
)

Row = tuple[str, str, bytes]
"""A stored value as it lies in the file: its namespace, its key, and its pickle."""


class SQLiteStorage:
    """All namespaces in the file at `path`, which is made if it isn't there, readable by its owner alone.

    It may be used from any thread: writes take turns, and reads have a connection of their own, so they don't wait for
    a write that is on its way to the disk. `values` reads the pickles. All calls raise StorageError, a line
    that names the file and what to do.
    """

    def __init__(self, path: Path, values: ValueReader = DEFAULT_READER) -> None:
        self.path = path
        self._values = values
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

    def namespaces(self) -> list[str]:
        """The namespaces that have values, sorted."""
        rows = self.read("SELECT DISTINCT namespace FROM stored ORDER BY namespace", ())
        return [_decoded(namespace) for (namespace,) in rows]

    def names(self) -> list[tuple[str, str]]:
        """The namespace and key of each value."""
        return [(_decoded(namespace), _decoded(key)) for namespace, key in self.read(_NAMES, ())]

    def rows(self) -> Iterator[Row]:
        """All values as they lie in the file at one moment, sorted; readable or not, none is made an object.

        They are read by a connection of their own, so that nobody waits for it, however many there are.
        """
        self._check_open()
        try:
            with closing(_connect(self.path)) as connection:
                query = "SELECT namespace, key, value FROM stored ORDER BY namespace, key"
                for namespace, key, data in connection.execute(query):
                    yield _decoded(namespace), _decoded(key), data
        except sqlite3.Error as error:
            raise explained(self.path, error) from error

    def put(self, rows: Iterable[Row], instead_of: Iterable[str] = (), trusted: Iterable[str] | None = ()) -> None:
        """Store the rows in one transaction, all or none. The namespaces `instead_of` are emptied before.

        The values are marked as restored. `trusted` are further names, each "module.qualname", that they may use; None is for
        values of the bot's own, which aren't restricted.
        """
        mark = None if trusted is None else json.dumps(sorted(set(trusted)))
        with self._write_lock:
            self._check_open()
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                for namespace in instead_of:
                    self._writer.execute("DELETE FROM stored WHERE namespace = ?", (_encoded(namespace),))
                self._writer.executemany(
                    _SET, ((_encoded(namespace), _encoded(key), data, mark) for namespace, key, data in rows)
                )
                self._writer.execute("COMMIT")
            except BaseException as error:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise explained(self.path, error) from error
                raise

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

    def load(self, namespace: str, data: bytes, trusted: str | None) -> Any:
        """The value of a row, restricted as its mark `trusted` says; raises any error of unpickling."""
        return self._values.load(namespace, data, None if trusted is None else json.loads(trusted))

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
        """The value; raises KeyError, or UnreadableValue, which names the class that is missing or not allowed."""
        rows = self._open().read("SELECT value, trusted FROM stored WHERE namespace = ? AND key = ?", self._row(key))
        if not rows:
            raise KeyError(key)
        try:
            return self._storage.load(self._namespace, *rows[0])
        except Exception as error:
            raise UnreadableValue(self._namespace, key, error) from error

    def set(self, key: str, value: Any) -> None:
        """Keep the value, on disk when this returns; raises UnstorableValue if it can't be pickled."""
        storage, row = self._open(), self._row(key)
        try:
            data = dumps(value)
        except Exception as error:
            raise UnstorableValue(self._namespace, key, value, error) from error
        storage.write(_SET, (*row, data, None))

    def remove(self, key: str) -> None:
        """Forget the value, readable or not; raises KeyError."""
        if not self._open().write("DELETE FROM stored WHERE namespace = ? AND key = ?", self._row(key)):
            raise KeyError(key)

    def keys(self) -> list[str]:
        """The keys, as they are now."""
        rows = self._open().read("SELECT key FROM stored WHERE namespace = ?", (_encoded(self._namespace),))
        return [_decoded(key) for (key,) in rows]

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


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


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
