"""Plugins' values in one SQLite database, where each assignment is a transaction that survives a crash.

Each value has a mark of its origin. A value that the bot has stored itself may name any class. A value from a backup or from
errbot's shelves, which `put` stores, is restricted until the bot assigns its key anew; see `restricted_pickling`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errklein.database import Database, Migration
from errklein.storage._errors import StorageError, UnreadableValue, UnstorableValue, database_errors
from errklein.storage._restricted_pickling import DEFAULT_READER, ValueReader
from errklein.storage.pickling import dumps

DATABASE = "errklein.sqlite"
"""The name of the file, in the bot's data directory."""

# A key is bytes (UTF-8 that may hold lone surrogates), because SQLite's text can't hold every Python string. The table
# keeps its rowid: then the primary key is an index of its own, and listing keys doesn't read through large values.
MIGRATIONS: Sequence[Migration] = (
    (
        """
        CREATE TABLE stored (
            namespace BLOB NOT NULL,
            key BLOB NOT NULL,
            value BLOB NOT NULL,
            PRIMARY KEY (namespace, key)
        )
        """,
    ),
    # NULL: the bot has stored the value itself. Otherwise it is from a backup or a shelf, and its pickle is restricted; then
    # this is a JSON array of the names that the operator trusts.
    ("ALTER TABLE stored ADD COLUMN trusted TEXT",),
)

_SET = (
    "INSERT INTO stored (namespace, key, value, trusted) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, trusted = excluded.trusted"
)

Row = tuple[str, str, bytes]
"""A stored value: its namespace, its key, and its pickle."""


class SQLiteStorage:
    """All namespaces, in the database at `path`, for any thread. `values` reads the pickles; all calls raise StorageError."""

    def __init__(self, path: Path, values: ValueReader = DEFAULT_READER) -> None:
        self.path = path
        self._values = values
        with database_errors():
            self._database = Database(path, MIGRATIONS)

    def open(self, namespace: str) -> SQLiteStore:
        """The values of `namespace`; several may be open at once, and see each other's changes."""
        if self._database.closed:
            raise StorageError(f"{self.path}: the storage is closed")
        return SQLiteStore(self._database, self._values, namespace)

    def namespaces(self) -> list[str]:
        """The namespaces that have values, sorted."""
        with database_errors():
            rows = self._database.read("SELECT DISTINCT namespace FROM stored ORDER BY namespace")
        return [_decoded(namespace) for (namespace,) in rows]

    def rows(self) -> Iterator[Row]:
        """All values as they are in the file at one moment, sorted; none is unpickled, so they needn't be readable."""
        with database_errors():
            for namespace, key, data in self._database.read_lazily(
                "SELECT namespace, key, value FROM stored ORDER BY namespace, key"
            ):
                yield _decoded(namespace), _decoded(key), data

    def put(self, rows: Iterable[Row], instead_of: Iterable[str] = (), trusted: Iterable[str] | None = ()) -> None:
        """Store the rows in one transaction, all or none. The namespaces `instead_of` are emptied before.

        The values are marked as restored. `trusted` are further names, each "module.qualname", that they may use; None is for
        values of the bot's own, which aren't restricted.
        """
        mark = None if trusted is None else json.dumps(sorted(set(trusted)))
        with database_errors(), self._database.transaction() as connection:
            connection.executemany(
                "DELETE FROM stored WHERE namespace = ?", ((_encoded(namespace),) for namespace in instead_of)
            )
            connection.executemany(
                _SET, ((_encoded(namespace), _encoded(key), data, mark) for namespace, key, data in rows)
            )

    def close(self) -> None:
        """Release the file; every store is closed with it."""
        self._database.close()


@dataclass(eq=False)
class SQLiteStore:
    """The values of one namespace of a SQLiteStorage. Each `get` makes a new object of what is stored."""

    _database: Database
    _values: ValueReader
    _namespace: str
    _closed: bool = False

    def get(self, key: str) -> Any:
        """The value; raises KeyError, or UnreadableValue, which names the class that is missing or not allowed."""
        rows = self._read("SELECT value, trusted FROM stored WHERE namespace = ? AND key = ?", *self._row(key))
        if not rows:
            raise KeyError(key)
        try:
            data, mark = rows[0]
            return self._values.load(self._namespace, data, None if mark is None else json.loads(mark))
        except Exception as error:
            raise UnreadableValue(self._namespace, key, error) from error

    def set(self, key: str, value: Any) -> None:
        """Keep the value, on disk when this returns; raises UnstorableValue if it can't be pickled."""
        row = self._row(key)
        try:
            data = dumps(value)
        except Exception as error:
            raise UnstorableValue(self._namespace, key, value, error) from error
        self._write(_SET, *row, data, None)

    def remove(self, key: str) -> None:
        """Forget the value, readable or not; raises KeyError."""
        if not self._write("DELETE FROM stored WHERE namespace = ? AND key = ?", *self._row(key)):
            raise KeyError(key)

    def keys(self) -> list[str]:
        """The keys, as they are now."""
        rows = self._read("SELECT key FROM stored WHERE namespace = ?", _encoded(self._namespace))
        return [_decoded(key) for (key,) in rows]

    def len(self) -> int:
        """How many values there are."""
        return int(self._read("SELECT count(*) FROM stored WHERE namespace = ?", _encoded(self._namespace))[0][0])

    def close(self) -> None:
        """Give the namespace back; it can be opened again."""
        self._closed = True

    def _read(self, query: str, *parameters: object) -> list[Any]:
        with database_errors():
            return self._open().read(query, parameters)

    def _write(self, statement: str, *parameters: object) -> int:
        with database_errors():
            return self._open().write(statement, parameters)

    def _open(self) -> Database:
        if self._closed:
            raise StorageError(f"{self._namespace}: the store is closed")
        return self._database

    def _row(self, key: str) -> tuple[bytes, bytes]:
        if not isinstance(key, str):
            raise TypeError(f"{self._namespace}: a key is a string, not {key!r}")
        return _encoded(self._namespace), _encoded(key)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
