"""SQLite files: errors, connections, copies, migrations, access from several threads, and writes of many callers,
several in one transaction. Migrations are numbered steps from an older file to a newer one: the SQL statements that
upgrade version n to version n + 1. The number of a file's last step is stored as its `user_version`."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred, fail

from errklein.config.secrets import flush_directory
from errklein.logs import escape
from errklein.running import ThreadReactor, call_from_thread, start_daemon_thread
from errklein.text.errors import one_line

SYNCHRONOUS = "FULL"
"""SQLite flushes each transaction to the disk. Tests in which no machine crashes don't wait for that."""

SUFFIXES = ("", "-wal", "-shm")
"""The files of a database: its pages, the write-ahead log, which has the latest transactions, and the log's index."""

IN_MEMORY = Path(":memory:")  # SQLite's name of a database in memory
BUSY_TIMEOUT = 2.0  # the seconds that a write waits for another program, such as a backup, to release the file

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


class Cursor(Protocol):
    """What a statement has returned."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class SQLConnection(Protocol):
    """The connection of a transaction."""

    @property
    def total_changes(self) -> int:
        """The number of rows that were changed; 0 if only the database knows it."""

    def execute(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ..., /) -> Cursor: ...

    def executemany(self, statement: str, parameters: Sequence[Sequence[Any]], /) -> Cursor: ...


class SQLDatabase(Protocol):
    """What is used of a `Database`, whose methods these are, and of one of another kind. Its SQL is that of SQLite."""

    closed: bool

    @property
    def path(self) -> object:
        """Its name in messages."""

    @property
    def size(self) -> int: ...

    def read(self, query: str, parameters: Sequence[object] | Mapping[str, object] = ...) -> list[Any]: ...

    def read_lazily(self, query: str) -> Iterator[Any]: ...

    def write(self, statement: str, parameters: Sequence[object] = ...) -> int: ...

    def transaction(self) -> AbstractContextManager[SQLConnection]: ...

    def check_files(self) -> None: ...

    def empty_log(self) -> bool: ...

    def close(self) -> None: ...


class Access(Enum):
    """What a process may do with a file."""

    OWN = auto()  # create, upgrade and change it: the bot, and commands while no bot runs
    SHARE = auto()
    """Change the file of a bot that may be running. A missing one, or one with another schema, is an error."""
    READ = auto()
    """Read such a file. Neither the file nor its directory is changed, whatever the user may do with them."""
    COPY = auto()  # Use a copy in memory, which is upgraded. Neither the file nor its directory is changed.


class Database:
    """A SQLite file that may be used from any thread, or with None as path a database in memory, which ends with the
    object. A missing file is created, with mode 0600, and one with an older schema is upgraded. Writes are serialized,
    and survive a crash of the process and of the machine once the call has returned. Reads use another connection, so
    they don't wait for a write, except in memory. All methods raise DatabaseError."""

    def __init__(self, path: Path | None, migrations: Sequence[str], access: Access = Access.OWN) -> None:
        self.path = path or IN_MEMORY
        self.closed = False
        self._write_lock: AbstractContextManager[object] = threading.Lock()
        self._read_lock: AbstractContextManager[object] = threading.Lock()
        self._files: dict[Path, tuple[int, int] | None] = {}
        if path is None:
            self._use_memory(new_in_memory(tuple(migrations)))
            return
        if access is Access.OWN:
            _make_private(path)
        elif not path.exists():
            raise DatabaseError(f"{path} doesn't exist")
        with self._errors_explained():
            if access is Access.COPY:
                copy = connect(IN_MEMORY)
                _copy(path, copy)
                apply_migrations(copy, path, migrations, back_up=False)
                self._use_memory(copy)
                return
            self._writer = connect(path) if access is not Access.READ else connect_to_read(path)
            try:
                if access is not Access.READ:
                    # What is removed is overwritten. Not all builds of SQLite do so by default.
                    self._writer.execute("PRAGMA secure_delete = ON")
                    self._writer.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
                    self._writer.execute("PRAGMA journal_mode = WAL")
                (apply_migrations if access is Access.OWN else check_version)(self._writer, path, migrations)
                self._reader = connect(path) if access is not Access.READ else self._writer
                # Opens the side files, so that values can be read even if the files are deleted.
                self._reader.execute("SELECT 1 FROM sqlite_master").fetchone()
                self._files = {file: _inode(file) for file in (path.with_name(path.name + end) for end in SUFFIXES)}
            except BaseException:
                self._writer.close()
                raise

    def _use_memory(self, connection: sqlite3.Connection) -> None:
        self._reader = self._writer = connection
        # The other connections of a file don't see a transaction before its end.
        self._read_lock = self._write_lock = threading.RLock()

    def read(self, query: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
        with self._read_lock, self._errors_explained():
            # All rows at once, since an open query prevents a checkpoint of the write-ahead log.
            return self._reader.execute(query, parameters).fetchall()

    def read_lazily(self, query: str) -> Iterator[Any]:
        """Yield the rows of the query, all as of one moment. Other reads and writes don't wait for them."""
        if self._reader is self._writer:
            # Another connection couldn't read a copy, and would change what may only be read.
            yield from self.read(query)
            return
        # Connecting would create a missing file.
        self.check_files()
        with self._errors_explained(), closing(connect(self.path)) as connection:
            yield from connection.execute(query)

    def write(self, statement: str, parameters: Sequence[object] = ()) -> int:
        with self._write_lock, self._errors_explained():
            self.check_files()
            return self._writer.execute(statement, parameters).rowcount

    def check_files(self) -> None:
        """Raise DatabaseError if a file was deleted or replaced since it was opened: what SQLite writes to it would be lost."""
        # In this order: `close` removes side files.
        if any(_inode(file) != inode for file, inode in self._files.items()) and not self.closed:
            directory = self.path.parent
            raise DatabaseError(
                f"{self.path if directory.exists() else directory} was deleted or replaced, and nothing can be stored; "
                "put it back, or restart errklein, which uses the file that is there, or creates one"
            )

    @property
    def size(self) -> int:
        return sum(file.stat().st_size for file in self._files if file.exists())

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Return a context with a connection whose statements are one transaction: all of them take effect, or none."""
        with self._write_lock, self._errors_explained():
            self.check_files()
            self._writer.execute("BEGIN IMMEDIATE")
            with self._writer:
                yield self._writer

    def empty_log(self) -> bool:
        """Write the write-ahead log into the file, and empty it, since it still has what was removed. Return False if a reader uses it."""
        with self._write_lock, self._errors_explained():
            # Other writes don't wait for a reader.
            self._writer.execute("PRAGMA busy_timeout = 0")
            try:
                is_used, *_ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._writer.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}")
        return not is_used

    def close(self) -> None:
        with self._write_lock, self._read_lock:
            self.closed = True
            self._reader.close()
            # The last connection that closes writes the write-ahead log into the file.
            self._writer.close()

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        if self.closed:
            raise DatabaseError(f"{self.path}: the database is closed")
        try:
            yield
        except sqlite3.Error as error:
            self.check_files()
            raise explained(self.path, error) from error


def _inode(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _make_private(path: Path) -> None:
    """Create the file with mode 0600, before SQLite creates it with the umask's mode; its side files get the same mode."""
    try:
        path.touch(mode=0o600)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise DatabaseError(f"{path} can't be created, or its mode set to 0600: {error.strerror}") from error


class StorageError(Exception):
    """A value could not be stored or read; `str()` is one line. The stored values are unchanged."""

    def __str__(self) -> str:
        # Names of files, namespaces and classes may contain control characters.
        return escape(super().__str__())


class DatabaseError(StorageError):
    """A database can't be opened, read or written. The text is one line. A failed transaction has changed nothing."""


def explained(path: Path, error: sqlite3.Error) -> DatabaseError:
    # The low byte of the code is the kind of error. Errors of the sqlite3 module itself have no code.
    kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return DatabaseError(f"{path}: " + _ADVICE.get(kind, "{}").format(one_line(error)))


def connect(path: Path, options: str = "") -> sqlite3.Connection:
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
    """Return a connection that only reads the file, and neither changes nor creates its side files. An ordinary
    connection, even one with mode=ro, creates side files, which the bot's user may be unable to write. See
    https://www.sqlite.org/wal.html#read_only_databases."""
    log, index = (path.with_name(path.name + end) for end in SUFFIXES[1:])
    if index.exists():
        return connect(path, "mode=ro&readonly_shm=1")
    if log.exists() and log.stat().st_size:
        text = f"{path} has a write-ahead log without its index {index.name}; start the bot, which creates it"
        raise DatabaseError(text)
    # All transactions are in the file, and no process uses it.
    return connect(path, "mode=ro&immutable=1")


def write_copy(path: Path, copy: Path) -> None:
    """Copy the file as of its last transaction. When this returns, the copy is complete and on disk, with mode 0600.
    Raises DatabaseError: the file can't be read, or the copy can't be written; there is no part of it then."""
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
        flush_directory(copy.parent)
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


def read_migrations(directory: Path) -> list[str]:
    """Return the contents of the files `0001_….sql`, `0002_….sql` and so on in the directory."""
    files = sorted(directory.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    if [int(file.name[:4]) for file in files] != list(range(1, len(files) + 1)):
        raise ValueError(f"{directory}: the numbers of the migrations must be consecutive, from 0001")
    return [file.read_text(encoding="utf-8") for file in files]


def apply_migrations(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[str], *, back_up: bool = True
) -> None:
    """Apply the missing migrations in one transaction, after a backup of an older file: that of `errklein.sqlite`
    before migration 2 is `errklein.sqlite.before-2`. Raises DatabaseError if the file is of a newer version or of
    another program, or sqlite3.Error if a statement fails; the file is not changed then."""
    connection.execute("BEGIN IMMEDIATE")
    # Commits, or rolls back if something is raised.
    with connection:
        version = _known_version(connection, path, migrations)
        if back_up and 0 < version < len(migrations):
            # The transaction has the write lock, so nobody changes the file between the backup and the upgrade.
            write_copy(path, path.with_name(f"{path.name}.before-{version + 1}"))
        for migration in migrations[version:]:
            for statement in _statements(migration):
                connection.execute(statement)
        if version < len(migrations):
            connection.execute(f"PRAGMA user_version = {len(migrations)}")


def new_in_memory(migrations: tuple[str, ...]) -> sqlite3.Connection:
    """Return a connection to a new database in memory with this schema. The migrations are applied once, and then copied."""
    connection = connect(IN_MEMORY)
    _schema(migrations).backup(connection)
    return connection


@lru_cache(8)
def _schema(migrations: tuple[str, ...]) -> sqlite3.Connection:
    connection = connect(IN_MEMORY)
    apply_migrations(connection, IN_MEMORY, migrations)
    return connection


def check_version(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    version = _version(connection)
    if version != len(migrations):
        raise DatabaseError(
            f"{path} has schema {version}, and this errklein uses schema {len(migrations)}; "
            "use the errklein of the running bot, or start the bot, which upgrades the file"
        )


def upgrade_of(path: Path, migrations: Sequence[str]) -> str:
    """Return the sentence that the start of the bot will convert the file; "" if it won't, or if there is no file.
    Raises DatabaseError: the file can't be read, or used by this errklein."""
    if not path.exists():
        return ""
    try:
        with closing(connect_to_read(path)) as connection:
            version = _known_version(connection, path, migrations)
    except sqlite3.Error as error:
        raise explained(path, error) from error
    change = (
        f"from schema {version} to {len(migrations)}; {path.name}.before-{version + 1} will be a copy of the old file"
    )
    return f"{path} will be converted at the start, {change}" if 0 < version < len(migrations) else ""


def _known_version(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> int:
    version = _version(connection)
    if version > len(migrations):
        # What the migration to the first unknown schema has kept.
        earlier = path.with_name(f"{path.name}.before-{len(migrations) + 1}")
        remedy = "move the file away to start without its content"
        if earlier.exists():
            remedy = f"replace it and its -wal and -shm files by {earlier}, the copy from before its conversion"
        raise DatabaseError(
            f"{path} was made by a newer errklein (schema {version}; this one supports up to {len(migrations)}); "
            f"install the newer errklein again, or {remedy}"
        )
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        text = f"{path} is a database of another program; set BOT_DATA_DIR to a directory that only errklein uses"
        raise DatabaseError(text)
    return version


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    # `executescript` would commit the transaction.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"incomplete SQL statement: {statement.strip()}")


Operation = Callable[[SQLConnection, Sequence[Any]], Sequence[Any]]
"""Makes the changes for several arguments at once, and returns the result of each."""

Run = Callable[[Callable[[], Any]], Deferred[Any]]
"""Calls a function in a thread, or inline. Returns a Deferred that fires on the reactor with its result."""


def each(connection: SQLConnection, changes: Sequence[Callable[[SQLConnection], Any]]) -> Sequence[Any]:
    """Make changes one after the other: the operation of those for which it is no faster to make several at once."""
    return [change(connection) for change in changes]


MAX_ROWS = 32
"""The number of rows of one statement. The connection keeps each statement prepared, one for each number of rows."""


class _Write(NamedTuple):
    operation: Operation
    argument: Any
    done: Deferred[Any]


@dataclass(eq=False, repr=False)
class GroupCommit:
    """Runs operations on a database in transactions, one after the other, and fires a Deferred for each on the reactor.
    Synchronizing the disk takes as long for many changes as for one. So all operations that arrive during a transaction
    form the next one, in which those with the same function are called together. Their order isn't defined: a caller
    that depends on it waits for the Deferred. A transaction wakes the reactor once. If an operation fails, the
    transaction is undone, and each of its operations is repeated in a transaction of its own."""

    database: SQLDatabase
    run: Run
    """Calls a function in a thread. The functions of one database must run one after the other."""
    undone: Callable[[], None] = lambda: None
    """Called in the thread after a transaction was undone, so that nothing refers to its rows."""
    committed: Callable[[], None] = lambda: None  # called in the thread after a transaction is on disk

    def __post_init__(self) -> None:
        self._pending: list[_Write] = []
        self._committing = False
        self._closed: Deferred[None] | None = None
        self.ended: Callable[[], None] | None = None  # called on the reactor after each transaction

    def submit(self, operation: Operation, argument: Any) -> Deferred[Any]:
        """Call the operation with this argument, and others. The Deferred fires with its result when the change is on disk."""
        if self._closed is not None:
            return fail(DatabaseError(f"{self.database.path}: the database is closed"))
        write = _Write(operation, argument, Deferred())
        self._pending.append(write)
        if not self._committing:
            self._begin()
        return write.done

    def close(self) -> Deferred[None]:
        """Refuse further operations. The Deferred fires when those that were submitted have ended."""
        self._closed = Deferred()
        if not self._committing:
            self._closed.callback(None)
        return self._closed

    def _begin(self) -> None:
        batch, self._pending = self._pending, []
        self._committing = True
        self.run(partial(self._write, batch)).addCallback(self._end, batch)

    def _write(self, batch: Sequence[_Write]) -> Sequence[Any]:
        results: list[Any] = [None] * len(batch)
        groups: dict[Operation, list[int]] = {}
        for number, write in enumerate(batch):
            groups.setdefault(write.operation, []).append(number)
        begun = False
        try:
            with self.database.transaction() as connection:
                begun = True
                for operation, numbers in groups.items():
                    some = operation(connection, [batch[number].argument for number in numbers])
                    for number, result in zip(numbers, some, strict=True):
                        results[number] = result
        except Exception as error:
            self.undone()
            if len(batch) == 1 or not begun:
                # A transaction that can't begin has waited for another program. Each of its operations would, too.
                return [error] * len(batch)
            return [self._write([write])[0] for write in batch]
        self.committed()
        return results

    def _end(self, results: Sequence[Any], batch: Sequence[_Write]) -> None:
        self._committing = False
        if self._pending:
            # Before the callbacks, so that the disk doesn't wait for them.
            self._begin()
        for write, result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                write.done.errback(result)
            else:
                write.done.callback(result)
        if self.ended is not None:
            self.ended()
        if self._closed is not None and not self._committing and not self._closed.called:
            self._closed.callback(None)


def execute_rows(connection: SQLConnection, statement: str, rows: Sequence[Sequence[object]]) -> list[Cursor]:
    """Run the statement, in which `{}` stands for the rows of a VALUES clause, and return a cursor for each MAX_ROWS of them.
    The sqlite3 module releases the interpreter lock for each step of a statement. In a busy process a thread waits for it up
    to half a millisecond then, so one statement with twenty rows takes less time than twenty statements."""
    return [
        connection.execute(_with_rows(statement, len(some), len(some[0])), tuple(chain.from_iterable(some)))
        for some in (rows[start : start + MAX_ROWS] for start in range(0, len(rows), MAX_ROWS))
    ]


def insert_all(connection: SQLConnection, rows: Mapping[str, Sequence[Sequence[object]]]) -> None:
    """Run statements as `execute_rows` does, each with its rows if it has any."""
    for statement, some in rows.items():
        if some:
            execute_rows(connection, statement, some)


@lru_cache(1024)
def _with_rows(statement: str, rows: int, columns: int) -> str:
    row = f"({','.join('?' * columns)})"
    return statement.format(",".join([row] * rows))


class JobThread:
    """Runs functions in one thread, in the order in which they are passed."""

    def __init__(self, reactor: ThreadReactor, name: str, regularly: Callable[[], bool] = lambda: False) -> None:
        self._reactor = reactor
        self._regularly = regularly
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = SimpleQueue()
        start_daemon_thread(self._work, name)

    def run(self, function: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self._jobs.put((function, done))
        return done

    def stop(self) -> None:
        self._jobs.put(None)

    def _work(self) -> None:
        due = monotonic() + 1.0
        while True:
            try:
                job = self._jobs.get(timeout=max(0.0, due - monotonic()))
            except Empty:
                pass
            else:
                if job is None:
                    return
                function, done = job
                try:
                    result = function()
                except Exception as error:
                    call_from_thread(self._reactor, done.errback, error)
                else:
                    call_from_thread(self._reactor, done.callback, result)
                # An idle thread must not keep what it has written in memory.
                job = function = done = result = None  # type: ignore[assignment]
            if monotonic() >= due:
                due = monotonic() + (0.0 if self._regularly() else 1.0)
