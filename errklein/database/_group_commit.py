"""Writes of many callers, several in one transaction and of many rows in one statement, in a thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, fail

from errklein.database._connection import Database, DatabaseError
from errklein.running import ThreadReactor, call_from_thread, start_daemon_thread

Operation = Callable[[sqlite3.Connection, Sequence[Any]], Sequence[Any]]
"""Makes the changes for several arguments at once, and returns the result of each."""

Run = Callable[[Callable[[], Any]], Deferred[Any]]
"""Calls a function in a thread, or inline. Returns a Deferred that fires on the reactor with its result."""


def each(connection: sqlite3.Connection, changes: Sequence[Callable[[sqlite3.Connection], Any]]) -> Sequence[Any]:
    """Make changes one after the other: the operation of those for which it is no faster to make several at once."""
    return [change(connection) for change in changes]


MAX_ROWS = 32
"""The number of rows of one statement. The connection keeps each statement prepared, one for each number of rows."""


class _Write(NamedTuple):
    operation: Operation
    argument: Any
    done: Deferred[Any]


@dataclass(eq=False)
class GroupCommit:
    """Runs operations on a database in transactions, one after the other, and fires a Deferred for each on the reactor.
    Synchronizing the disk takes as long for many changes as for one. So all operations that arrive during a transaction
    form the next one, in which those with the same function are called together. Their order isn't defined: a caller
    that depends on it waits for the Deferred. A transaction wakes the reactor once. If an operation fails, the
    transaction is undone, and each of its operations is repeated in a transaction of its own."""

    database: Database
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


def execute_rows(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]]
) -> list[sqlite3.Cursor]:
    """Run the statement, in which `{}` stands for the rows of a VALUES clause, and return a cursor for each MAX_ROWS of them.
    The sqlite3 module releases the interpreter lock for each step of a statement. In a busy process a thread waits for it up
    to half a millisecond then, so one statement with twenty rows takes less time than twenty statements."""
    return [
        connection.execute(_with_rows(statement, len(some), len(some[0])), tuple(chain.from_iterable(some)))
        for some in (rows[start : start + MAX_ROWS] for start in range(0, len(rows), MAX_ROWS))
    ]


def insert_all(connection: sqlite3.Connection, rows: Mapping[str, Sequence[Sequence[object]]]) -> None:
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

    def __init__(
        self,
        reactor: ThreadReactor,
        name: str,
        regularly: Callable[[], bool] = lambda: False,
        start_thread: Callable[[Callable[[], None], str], None] = start_daemon_thread,
    ) -> None:
        self._reactor = reactor
        self._regularly = regularly
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = SimpleQueue()
        start_thread(self._work, name)

    def run(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Call the function in the thread. The Deferred fires on the reactor, with its result or exception."""
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
