"""Access to a SQLite file from several threads."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any

from errklein.database._copies import BUSY_TIMEOUT, IN_MEMORY, SUFFIXES, connect, connect_to_read, copy_to_memory
from errklein.database._errors import DatabaseError, explained
from errklein.database._migrations import Migration, apply_migrations, check_version, new_in_memory

SYNCHRONOUS = "FULL"
"""SQLite flushes each transaction to the disk. Tests in which no machine crashes don't wait for that."""


class Access(Enum):
    """What a process may do with a file."""

    OWN = auto()
    """Create, upgrade and change it: the bot, and commands while no bot runs."""
    SHARE = auto()
    """Change the file of a bot that may be running. A missing one, or one with another schema, is an error."""
    READ = auto()
    """Read such a file. Neither the file nor its directory is changed, whatever the user may do with them."""
    COPY = auto()
    """Use a copy in memory, which is upgraded. Neither the file nor its directory is changed."""


class Database:
    """A SQLite file that may be used from any thread. A missing file is created, with mode 0600.

    Writes are serialized, and survive a crash of the process and of the machine once the call has returned. Reads use another
    connection, so they don't wait for a write. All methods raise DatabaseError.

    :param path: the file; None for a database in memory, which ends with the object. Reads wait for writes then.
    :param migrations: the schema; the constructor upgrades an older file.
    :param access: what the process may do with the file.
    """

    def __init__(self, path: Path | None, migrations: Sequence[Migration], access: Access = Access.OWN) -> None:
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
                copy = copy_to_memory(path)
                apply_migrations(copy, path, migrations, back_up=False)
                self._use_memory(copy)
                return
            self._writer = connect(path) if access is not Access.READ else connect_to_read(path)
            try:
                if access is not Access.READ:
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
        """Return all rows of the query, as of the last completed transaction."""
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
        """Run one statement as a transaction, and return the number of changed rows."""
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
        """The size of the file and its side files in bytes, for any thread."""
        return sum(file.stat().st_size for file in self._files if file.exists())

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Return a context with a connection whose statements are one transaction: all of them take effect, or none."""
        with self._write_lock, self._errors_explained():
            self.check_files()
            self._writer.execute("BEGIN IMMEDIATE")
            with self._writer:
                yield self._writer

    def empty_log(self) -> None:
        """Write the write-ahead log into the file, and empty it, unless a reader uses it: it still has what was removed."""
        with self._write_lock, self._errors_explained():
            # Other writes don't wait for a reader.
            self._writer.execute("PRAGMA busy_timeout = 0")
            try:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._writer.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}")

    def close(self) -> None:
        """Close the file when running calls have ended. Later calls raise DatabaseError."""
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
    """Return the identity of the file; None if there is none."""
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
