"""A disk on which SQLite's files are, for simulations: it is full at times, and the process crashes at one of its writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

SUFFIXES = ("", "-wal", "-shm")
"""SQLite's files: the database, the write-ahead log and its index."""


class CrashingDisk:
    """The files of one process after the other, each in a directory of its own.

    At a crash, the files are copied into the directory of the next process. The crashed process writes to its own files until it
    is abandoned, so the next one sees nothing of it. Only what happened before the crash counts.

    :param meanwhile: Called at each write: what other threads of the process do at that moment.
    """

    def __init__(self, random: Random, directory: Path, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._random = random
        self._directory = directory
        self._meanwhile = meanwhile
        self._generation = 0
        self._writes_left = 0
        self._crashed: Callable[[], None] = lambda: None
        self.full = False
        self.path = self._next_path()

    def begin_process(self, writes: int, crashed: Callable[[], None]) -> None:
        """Let the process crash at its write of this number, and call `crashed` then; 0 for no crash."""
        self._writes_left = writes
        self._crashed = crashed

    @contextmanager
    def connections(self) -> Iterator[None]:
        """Return a context in which `sqlite3.connect` opens files on this disk."""
        connect = sqlite3.connect

        def connect_here(*args: Any, **options: Any) -> Any:
            connection = connect(*args, factory=_Connection, **options)
            connection.disk = self
            return connection

        with mock.patch.object(sqlite3, "connect", connect_here):
            yield

    @contextmanager
    def statement(self, sql: str) -> Iterator[None]:
        """Return the context of a statement: it may fail, or be the last one."""
        verb = sql.split(None, 1)[0].upper()
        if verb in ("SELECT", "PRAGMA", "ROLLBACK", "WITH", "--"):
            yield
            return
        self._meanwhile()
        if self.full and self._random.random() < 0.8:
            raise _disk_is_full()
        self._writes_left -= 1
        if self._writes_left:
            yield
        elif verb != "COMMIT" or self._random.random() < 0.3:
            self._crash(self._read())
            yield
        else:
            before = self._read()
            yield
            after = self._read()
            self._crash(self._torn(before, after) if self._random.random() < 0.6 else after)

    def crash(self) -> None:
        """Crash between two writes."""
        self._crash(self._read())

    def _read(self) -> dict[str, bytes]:
        files = {suffix: Path(f"{self.path}{suffix}") for suffix in SUFFIXES}
        return {suffix: file.read_bytes() for suffix, file in files.items() if file.exists()}

    def _torn(self, before: dict[str, bytes], after: dict[str, bytes]) -> dict[str, bytes]:
        """Return the files with a part of the commit: nothing of it was acknowledged, so any part may be on disk."""
        old, new = before.get("-wal", b""), after.get("-wal", b"")
        if before[""] != after[""]:
            return after
        cut = self._random.randint(len(old) if new.startswith(old) else 0, len(new))
        return {**after, "-wal": new[:cut] + old[cut:]}

    def _crash(self, files: dict[str, bytes]) -> None:
        self.path = self._next_path()
        for suffix, content in files.items():
            Path(f"{self.path}{suffix}").write_bytes(content)
        self._writes_left = 0
        crashed, self._crashed = self._crashed, lambda: None
        crashed()

    def _next_path(self) -> Path:
        self._generation += 1
        directory = self._directory / str(self._generation)
        directory.mkdir(parents=True)
        return directory / "deliveries.sqlite"


def _disk_is_full() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    error.sqlite_errorname = "SQLITE_FULL"
    return error


class _Connection(sqlite3.Connection):
    disk: CrashingDisk

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        with self.disk.statement(sql):
            return super().execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
        with self.disk.statement(sql):
            return super().executemany(sql, *args)

    def commit(self) -> None:
        with self.disk.statement("COMMIT"):
            super().commit()

    def __exit__(self, kind: Any, *_: object) -> Any:
        # sqlite3's own method doesn't call `commit`.
        if kind is not None:
            self.rollback()
            return False
        try:
            self.commit()
        except BaseException:
            self.rollback()
            raise
        return False
