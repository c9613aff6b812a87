"""The storages: Shelf, Memory, and those written for errbot.

Shelf has all values in one SQLite database, where each assignment is a durable transaction. Each value has a mark of its
origin. A value that the bot has stored itself may use any class. A value from a backup or from an errbot shelf, which
`SQLiteStorage.put` stores, is restricted until the bot assigns its key again; see `pickling`.

`AdaptedStorage` is for storages that only get, set and remove values. A third-party storage may block, and need not be
thread-safe. So a lock serialises all calls. Plain handlers run in threads, where waiting for the lock blocks nothing else. A
handler on the reactor also gets its value synchronously from `self["key"]`, so it blocks the bot while the storage works;
`self.store` doesn't. The configurations of plugins, which errklein itself reads on the reactor, are read once and cached.

`rows_of` and `put_rows` copy values out of and into any storage."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from errklein.database import Access, Database, Run, SQLDatabase, StorageError, read_migrations
from errklein.ports.values import ANY_VERSION, BlockingStore, Storage
from errklein.storage.pickling import DEFAULT_READER, Row, UnreadableValue, UnstorableValue, ValueReader, pickled
from errklein.text.errors import one_line
from errklein.text.masking import masker, secrets_in

T = TypeVar("T")

_ABSENT = object()
_UNKNOWN = object()

DATABASE = "errklein.sqlite"  # the file name of the database in BOT_DATA_DIR

MIGRATIONS = read_migrations(Path(__file__).parent / "migrations")

_SET = (
    "INSERT INTO stored (namespace, key, value, trusted) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, trusted = excluded.trusted"
)

_SET_FIRST = "INSERT INTO stored (namespace, key, value) VALUES (?, ?, ?) ON CONFLICT (namespace, key) DO NOTHING"

_REPLACE = (
    "UPDATE stored SET value = ?, trusted = NULL "
    "WHERE namespace = ? AND key = ? AND value = ? AND coalesce(trusted, '') = coalesce(?, '')"
)


class AdaptedStorage:
    """A storage that only gets, sets and removes values, made usable in any thread. `open_namespace` opens a namespace
    in the storage called `name`, once for all users. Its exceptions are raised as StorageError, in one line, in which
    the secrets of `config`, its STORAGE_CONFIG, are masked. `run` calls what must not block the reactor, one after the
    other; by default at once."""

    log = Logger()

    REMEMBERED: frozenset[str] = frozenset({"core"})
    """The namespaces that only errklein writes, so that their values can be cached."""

    def __init__(
        self,
        name: str,
        open_namespace: Callable[[str], BlockingStore],
        config: Mapping[str, Any] | None = None,
        run: Run = maybeDeferred,
    ) -> None:
        self.name = name
        self._open_namespace = open_namespace
        if config:
            masker.learn(self, "STORAGE_CONFIG", secrets_in(config))
        self._run = run
        self._lock = threading.RLock()
        self._opened: dict[str, _Opened] = {}
        self._known: set[str] = set()
        self.closed = False

    def namespaces(self) -> list[str]:
        """Return the namespaces that were opened since the bot's start. errbot's storages can't list others."""
        return sorted(self._known)

    def open(self, namespace: str) -> AdaptedStore:
        with self._lock:
            if self.closed:
                raise StorageError(f"{self.name}: the storage is closed")
            opened = self._opened.get(namespace)
            if opened is None:
                with self.asking(namespace):
                    values = self._open_namespace(namespace)
                opened = self._opened[namespace] = _Opened(values)
            opened.users += 1
            self._known.add(namespace)
        return AdaptedStore(self, namespace, opened)

    def release(self, namespace: str, opened: _Opened) -> None:
        with self._lock:
            opened.users -= 1
            if not opened.users and self._opened.get(namespace) is opened:
                del self._opened[namespace]
                with self.asking(namespace):
                    opened.values.close()

    def in_background(self, work: Callable[[], T]) -> Deferred[T]:
        return self._run(work)

    def close(self) -> None:
        with self._lock:
            self.closed = True
            while self._opened:
                namespace, opened = self._opened.popitem()
                try:
                    with self.asking(namespace):
                        opened.values.close()
                except StorageError as error:
                    self.log.error("{error}", error=str(error))

    @contextmanager
    def asking(self, namespace: str) -> Iterator[None]:
        """Within it the storage may be called: the lock is held, and its exceptions are raised as StorageError."""
        try:
            with self._lock:
                yield
        except StorageError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {masker(one_line(error))}"
            raise StorageError(f"{namespace}: the storage {self.name} failed ({what})") from error


class _Version:
    """The version of a value until the value changes in this process."""


@dataclass(eq=False)
class _Opened:
    """An open namespace: its values, the number of its users, the cached values, and the present versions that somebody
    has read."""

    values: BlockingStore
    users: int = 0
    remembered: dict[str, Any] = field(default_factory=dict)
    versions: WeakValueDictionary[str, _Version] = field(default_factory=WeakValueDictionary)


class AdaptedStore:
    def __init__(self, storage: AdaptedStorage, namespace: str, opened: _Opened) -> None:
        self._storage = storage
        self._namespace = namespace
        self._opened = opened
        self._closed = False

    def get(self, key: str) -> Any:
        _check_key(self._namespace, key)
        value = self._opened.remembered.get(key, _UNKNOWN)
        if value is _UNKNOWN or self._closed or self._storage.closed:
            value = self._ask(lambda values: self._read(values, key))
        if value is _ABSENT:
            raise KeyError(key)
        # A copy protects the cached value from changes in place.
        return copy.deepcopy(value) if self._namespace in self._storage.REMEMBERED else value

    def read(self, key: str, default: Any = None) -> tuple[object, Any]:
        _check_key(self._namespace, key)

        def versioned(values: BlockingStore) -> tuple[object, Any]:
            value = self._read(values, key)
            return self._opened.versions.setdefault(key, _Version()), value

        version, value = self._ask(versioned)
        return version, default if value is _ABSENT else self._copy(key, value)

    def set(self, key: str, value: Any) -> None:
        _check_key(self._namespace, key)
        self._put(key, value)

    def prepare(self, key: str, value: Any, version: object = ANY_VERSION) -> Callable[[], bool]:
        _check_key(self._namespace, key)
        value = self._copy(key, value)
        return lambda: self._put(key, value, version)

    def _copy(self, key: str, value: Any) -> Any:
        try:
            return copy.deepcopy(value)
        except Exception as error:
            raise UnstorableValue(self._namespace, key, value, error) from error

    def remove(self, key: str) -> None:
        _check_key(self._namespace, key)

        def forget(values: BlockingStore) -> bool:
            self._changes(key)
            try:
                values.remove(key)
            except KeyError:
                return False
            return True

        if not self._ask(forget):
            raise KeyError(key)

    def keys(self) -> list[str]:
        return self._ask(lambda values: list(values.keys()))

    def len(self) -> int:
        return self._ask(lambda values: int(values.len()))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._storage.closed:
                self._storage.release(self._namespace, self._opened)

    def _put(self, key: str, value: Any, version: object = ANY_VERSION) -> bool:
        def put(values: BlockingStore) -> bool:
            if version is not ANY_VERSION and version is not self._opened.versions.get(key):
                return False
            self._changes(key)
            values.set(key, value)
            return True

        try:
            return self._ask(put)
        except StorageError as error:
            reason = error.__cause__
            if isinstance(reason, (pickle.PicklingError, TypeError, AttributeError)):
                raise UnstorableValue(self._namespace, key, value, reason) from reason
            raise

    def _changes(self, key: str) -> None:
        self._opened.remembered.pop(key, None)
        self._opened.versions.pop(key, None)

    def _ask(self, question: Callable[[BlockingStore], T]) -> T:
        with self._storage.asking(self._namespace):
            if self._closed or self._storage.closed:
                raise StorageError(f"{self._namespace}: the store is closed")
            return question(self._opened.values)

    def _read(self, values: BlockingStore, key: str) -> Any:
        try:
            value = values.get(key)
        except KeyError:
            value = _ABSENT
        if self._namespace in self._storage.REMEMBERED:
            self._opened.remembered[key] = value
        return value


class MemoryStorage(AdaptedStorage):
    """The storage Memory, for tests and for bots that keep no values. It keeps references to values until the process
    ends. Values aren't copied, so a change in place is visible to all readers. Closed namespaces keep them."""

    REMEMBERED: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self._values: dict[str, _ValuesInMemory] = defaultdict(_ValuesInMemory)
        super().__init__("Memory", self._values.__getitem__)

    def namespaces(self) -> list[str]:
        return sorted(namespace for namespace, values in self._values.items() if values)


class _ValuesInMemory(dict[str, Any]):
    """The values of one namespace; a `ports.values.BlockingStore`."""

    get, set, remove, len = dict.__getitem__, dict.__setitem__, dict.__delitem__, dict.__len__  # type: ignore[assignment]

    def close(self) -> None:
        """Keep the values."""


class SQLiteStorage:
    """All namespaces, in a SQLite file or a database that has the table, for any thread. A value is on disk when
    `SQLiteStore.set` returns, but for a copy. `values` unpickles the values; `run` is as in AdaptedStorage. Methods raise StorageError."""

    def __init__(
        self,
        place: Path | SQLDatabase | None,
        values: ValueReader = DEFAULT_READER,
        access: Access = Access.OWN,
        run: Run = maybeDeferred,
    ) -> None:
        self._run = run
        self._values = values
        self._database = Database(place, MIGRATIONS, access) if place is None or isinstance(place, Path) else place
        self.path = self._database.path

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

    def copied(self) -> SQLiteStorage:
        """Return a copy in memory."""
        copy = SQLiteStorage(None, self._values, run=self._run)
        with copy._database.transaction() as connection:
            rows = self._database.read("SELECT namespace, key, value, trusted FROM stored")
            connection.executemany(_SET, rows)
        return copy

    def put(self, rows: Iterable[Row], instead_of: Iterable[str] = (), trusted: Iterable[str] | None = ()) -> None:
        """Store all rows in one transaction, after removing all values of the namespaces in `instead_of`. They are marked as
        restored, and may use the names in `trusted`, too; None marks them as the bot's own, which aren't restricted."""
        mark = None if trusted is None else json.dumps(sorted(set(trusted)))
        with self._database.transaction() as connection:
            connection.executemany(
                "DELETE FROM stored WHERE namespace = ?", [(_encoded(namespace),) for namespace in instead_of]
            )
            connection.executemany(
                _SET, [(_encoded(namespace), _encoded(key), data, mark) for namespace, key, data in rows]
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
    """The values of one namespace of a SQLiteStorage. Each `get` returns a new object. A value whose class is missing
    or not allowed raises UnreadableValue, but can be removed. One that can't be pickled raises UnstorableValue."""

    _database: SQLDatabase
    _values: ValueReader
    _namespace: str
    _closed: bool = False

    def get(self, key: str) -> Any:
        version, value = self.read(key)
        if version is None:
            raise KeyError(key)
        return value

    def read(self, key: str, default: Any = None) -> tuple[Any, Any]:
        if not (rows := self._rows(key)):
            return None, default
        try:
            data, mark = rows[0]
            return rows[0], self._values.load(self._namespace, data, None if mark is None else json.loads(mark))
        except Exception as error:
            raise UnreadableValue(self._namespace, key, error) from error

    def _rows(self, key: str) -> Sequence[Any]:
        query = "SELECT value, trusted FROM stored WHERE namespace = ? AND key = ?"
        return self._open().read(query, self._row(key))

    def set(self, key: str, value: Any) -> None:
        self.prepare(key, value)()

    def prepare(self, key: str, value: Any, version: Any = ANY_VERSION) -> Callable[[], bool]:
        row, data = self._row(key), pickled(self._namespace, key, value)
        if version is ANY_VERSION:
            return lambda: self._write(key, _SET, (*row, data, None))
        if version is None:
            return lambda: self._write(key, _SET_FIRST, (*row, data))
        return lambda: self._write(key, _REPLACE, (data, *row, *version))

    def remove(self, key: str) -> None:
        if not self._write(key, "DELETE FROM stored WHERE namespace = ? AND key = ?", self._row(key)):
            raise KeyError(key)

    def _write(self, key: str, change: str, values: Sequence[Any]) -> bool:
        return bool(self._open().write(change, values))

    def keys(self) -> list[str]:
        rows = self._open().read("SELECT key FROM stored WHERE namespace = ?", (_encoded(self._namespace),))
        return [_decoded(key) for (key,) in rows]

    def len(self) -> int:
        [[count]] = self._open().read("SELECT count(*) FROM stored WHERE namespace = ?", (_encoded(self._namespace),))
        return int(count)

    def close(self) -> None:
        self._closed = True

    def _open(self) -> SQLDatabase:
        if self._closed:
            raise StorageError(f"{self._namespace}: the store is closed")
        return self._database

    def _row(self, key: str) -> tuple[bytes, bytes]:
        _check_key(self._namespace, key)
        return _encoded(self._namespace), _encoded(key)


def _check_key(namespace: str, key: str) -> None:
    if not isinstance(key, str):
        raise TypeError(f"{namespace}: storage keys must be strings, not {key!r}")


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
    is one transaction that marks each value as restored. Other storages have no such mark: for them, `values` first
    unpickles all values with the same restrictions. Raises UnreadableValue before anything is changed."""
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
