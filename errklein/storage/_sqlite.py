"""The storage Shelf: all values in one SQLite database, where each assignment is a durable transaction. Each value has
a mark of its origin. A value that the bot has stored itself may use any class. A value from a backup or from an errbot
shelf, which `SQLiteStorage.put` stores, is restricted until the bot assigns its key again; see `pickling`.
`rows_of` and `put_rows` copy values out of and into any storage."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from errklein.database import Access, Database, Run, StorageError, read_migrations
from errklein.ports.values import ANY_VERSION, Storage
from errklein.storage.pickling import DEFAULT_READER, Row, UnreadableValue, ValueReader, pickled

T = TypeVar("T")

DATABASE = "errklein.sqlite"  # the file name of the database in BOT_DATA_DIR

MIGRATIONS = read_migrations(Path(__file__).parent / "migrations")

_SET = (
    "INSERT INTO stored (namespace, key, value, trusted) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, trusted = excluded.trusted"
)

_SET_FIRST = "INSERT INTO stored (namespace, key, value) VALUES (?, ?, ?) ON CONFLICT (namespace, key) DO NOTHING"

_REPLACE = "UPDATE stored SET value = ?, trusted = NULL WHERE namespace = ? AND key = ? AND value = ? AND trusted IS ?"


class SQLiteStorage:
    """All namespaces, in the database at `path`. Any thread may use it. A value is on disk when `SQLiteStore.set` returns,
    but for a copy. `values` unpickles the values. `run` calls the functions that must not block the reactor, one after the
    other; by default they are called at once. Every method raises StorageError if the database can't be read or written."""

    def __init__(
        self, path: Path, values: ValueReader = DEFAULT_READER, access: Access = Access.OWN, run: Run = maybeDeferred
    ) -> None:
        self.path = path
        self._run = run
        self._values = values
        self._database = Database(path, MIGRATIONS, access)

    def open(self, namespace: str) -> SQLiteStore:
        if self._database.closed:
            raise StorageError(f"{self.path}: the storage is closed")
        return SQLiteStore(self._database, self._values, namespace)

    def namespaces(self) -> list[str]:
        rows = self._database.read("SELECT DISTINCT namespace FROM stored ORDER BY namespace")
        return [_decoded(namespace) for (namespace,) in rows]

    def rows(self) -> Iterator[Row]:
        """Yield all values as they are in the database at one moment, sorted, without unpickling them."""
        for namespace, key, data in self._database.read_lazily(
            "SELECT namespace, key, value FROM stored ORDER BY namespace, key"
        ):
            yield _decoded(namespace), _decoded(key), data

    def put(self, rows: Iterable[Row], instead_of: Iterable[str] = (), trusted: Iterable[str] | None = ()) -> None:
        """Store all rows in one transaction. It first removes all values of the namespaces in `instead_of`. The values
        are marked as restored. `trusted` has additional names, each as "module.qualname", that they may use; None marks
        them as the bot's own values, which aren't restricted."""
        mark = None if trusted is None else json.dumps(sorted(set(trusted)))
        with self._database.transaction() as connection:
            connection.executemany(
                "DELETE FROM stored WHERE namespace = ?", ((_encoded(namespace),) for namespace in instead_of)
            )
            connection.executemany(
                _SET, ((_encoded(namespace), _encoded(key), data, mark) for namespace, key, data in rows)
            )

    def in_background(self, work: Callable[[], T]) -> Deferred[T]:
        return self._run(work)

    def check_files(self) -> None:
        # A transaction, since another program may have locked the file. An empty one writes nothing.
        with self._database.transaction():
            pass

    def erase_removed(self) -> bool:
        return self._database.empty_log()

    def close(self) -> None:
        self._database.close()


@dataclass(eq=False)
class SQLiteStore:
    """The values of one namespace of a SQLiteStorage. Each `get` unpickles the value, so it returns a new object. A
    value whose class is missing or not allowed raises UnreadableValue, but can be removed. One that can't be pickled
    raises UnstorableValue. After `close`, all raise StorageError."""

    _database: Database
    _values: ValueReader
    _namespace: str
    _closed: bool = False

    def get(self, key: str) -> Any:
        version, value = self.read(key)
        if version is None:
            raise KeyError(key)
        return value

    def read(self, key: str, default: Any = None) -> tuple[Any, Any]:
        query = "SELECT value, trusted FROM stored WHERE namespace = ? AND key = ?"
        rows = self._open().read(query, self._row(key))
        if not rows:
            return None, default
        try:
            data, mark = rows[0]
            return rows[0], self._values.load(self._namespace, data, None if mark is None else json.loads(mark))
        except Exception as error:
            raise UnreadableValue(self._namespace, key, error) from error

    def set(self, key: str, value: Any) -> None:
        self._open().write(_SET, (*self._row(key), pickled(self._namespace, key, value), None))

    def prepare(self, key: str, value: Any, version: Any = ANY_VERSION) -> Callable[[], bool]:
        row, data = self._row(key), pickled(self._namespace, key, value)
        if version is ANY_VERSION:
            return lambda: bool(self._open().write(_SET, (*row, data, None)))
        if version is None:
            return lambda: bool(self._open().write(_SET_FIRST, (*row, data)))
        return lambda: bool(self._open().write(_REPLACE, (data, *row, *version)))

    def remove(self, key: str) -> None:
        if not self._open().write("DELETE FROM stored WHERE namespace = ? AND key = ?", self._row(key)):
            raise KeyError(key)

    def keys(self) -> list[str]:
        rows = self._open().read("SELECT key FROM stored WHERE namespace = ?", (_encoded(self._namespace),))
        return [_decoded(key) for (key,) in rows]

    def len(self) -> int:
        [[count]] = self._open().read("SELECT count(*) FROM stored WHERE namespace = ?", (_encoded(self._namespace),))
        return int(count)

    def close(self) -> None:
        self._closed = True

    def _open(self) -> Database:
        if self._closed:
            raise StorageError(f"{self._namespace}: the store is closed")
        return self._database

    def _row(self, key: str) -> tuple[bytes, bytes]:
        if not isinstance(key, str):
            raise TypeError(f"{self._namespace}: storage keys must be strings, not {key!r}")
        return _encoded(self._namespace), _encoded(key)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def rows_of(storage: Storage, names: Iterable[str] = ()) -> Iterator[Row]:
    """Yield all values of the storage's namespaces and of `names`. May block. A SQLiteStorage yields the stored bytes
    of one moment, even of values that can't be unpickled. Raises StorageError."""
    if isinstance(storage, SQLiteStorage):
        yield from storage.rows()
        return
    for namespace in sorted({*storage.namespaces(), *names}):
        with closing(storage.open(namespace)) as store:
            for key in sorted(set(store.keys())):
                try:
                    value = store.get(key)
                except KeyError:
                    # It was removed after the keys were listed.
                    continue
                yield namespace, key, pickled(namespace, key, value)


def put_rows(
    storage: Storage,
    rows: Iterable[Row],
    instead_of: Iterable[str] = (),
    *,
    trusted: Collection[str] | None = (),
    values: ValueReader = DEFAULT_READER,
) -> None:
    """Store the rows, after removing all values of the namespaces in `instead_of`. May block. In a SQLiteStorage this
    is one transaction that marks each value as restored, see `SQLiteStorage.put`. Other storages store objects and have
    no such mark. For them, `values` first unpickles all values with the same restrictions, so the classes that the
    values use must be importable. Raises UnreadableValue before anything is changed."""
    if isinstance(storage, SQLiteStorage):
        storage.put(rows, instead_of, trusted)
        return

    def value_of(namespace: str, key: str, data: bytes) -> object:
        try:
            return values.load(namespace, data, trusted)
        except Exception as error:
            raise UnreadableValue(namespace, key, error) from error

    read = [(namespace, key, value_of(namespace, key, data)) for namespace, key, data in rows]
    for namespace in instead_of:
        with closing(storage.open(namespace)) as store:
            for key in list(store.keys()):
                store.remove(key)
    for namespace, key, value in read:
        with closing(storage.open(namespace)) as store:
            store.set(key, value)
