"""Transactions with the writes of many callers."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.database import Database, DatabaseError, GroupCommit, JobThread, execute_rows
from errklein.database import _connection as connection
from tests.clocks import ThreadClock


class Thread:
    """Keeps functions until the test runs them, as a thread would."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def run(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Keep the function."""
        done: Deferred[Any] = Deferred()
        self.waiting.append((function, done))
        return done

    def turn(self) -> None:
        """Run what is waiting now."""
        waiting, self.waiting = self.waiting, []
        for function, done in waiting:
            done.callback(function())


class GroupCommitCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Create a database with an empty table, and count its transactions."""
        self.database = Database(Path(self.mktemp()), ["CREATE TABLE t (a UNIQUE);"])
        self.addCleanup(self.database.close)
        self.thread = Thread()
        self.commits = GroupCommit(self.database, self.thread.run, self.undone)
        self.calls: list[tuple[str, list[Any]]] = []

    def undone(self) -> None:
        """Record that a transaction was undone."""
        self.calls.append(("undone", []))

    def insert(self, connection: sqlite3.Connection, numbers: Sequence[int]) -> list[int]:
        """Insert numbers, and return their negatives."""
        self.calls.append(("insert", list(numbers)))
        for number in numbers:
            connection.execute("INSERT INTO t VALUES (?)", (number,))
        return [-number for number in numbers]

    def fail(self, connection: sqlite3.Connection, arguments: Sequence[Any]) -> Sequence[Any]:
        """Raise an error that isn't the database's."""
        self.calls.append(("fail", list(arguments)))
        raise ZeroDivisionError("no")

    def stored(self) -> list[int]:
        """Return the numbers in the table."""
        return [number for (number,) in self.database.read("SELECT a FROM t ORDER BY a")]


class BatchTests(GroupCommitCase):
    def test_operations_during_a_transaction_form_the_next(self) -> None:
        """The first operation begins at once, and those that arrive meanwhile follow together, grouped by function."""
        results = [self.commits.submit(self.insert, number) for number in (1, 2)]
        results.append(self.commits.submit(self.other, "x"))
        results.append(self.commits.submit(self.insert, 3))
        self.assertEqual(len(self.thread.waiting), 1)
        self.thread.turn()
        self.assertEqual(self.successResultOf(results[0]), -1)
        self.assertEqual(self.stored(), [1])
        self.assertNoResult(results[1])
        self.thread.turn()
        self.assertEqual([self.successResultOf(result) for result in results[1:]], [-2, "X", -3])
        self.assertEqual(self.calls, [("insert", [1]), ("insert", [2, 3]), ("other", ["x"])])
        self.assertEqual(self.stored(), [1, 2, 3])
        self.assertEqual(self.thread.waiting, [])

    def test_undone(self) -> None:
        """What an operation remembers of an undone transaction is forgotten before the operation is repeated."""
        self.commits.submit(self.insert, 1)
        results = [self.commits.submit(self.insert, 2), self.commits.submit(self.fail, 0)]
        self.thread.turn()
        self.calls.clear()
        self.thread.turn()
        self.assertEqual(
            self.calls,
            [("insert", [2]), ("fail", [0]), ("undone", []), ("insert", [2]), ("fail", [0]), ("undone", [])],
        )
        self.assertEqual(self.successResultOf(results[0]), -2)
        self.failureResultOf(results[1], ZeroDivisionError)

    def test_committed(self) -> None:
        """An operation learns in the thread, before its Deferred fires, that a transaction is on disk, and only then."""
        stored: list[list[int]] = []
        commits = GroupCommit(self.database, self.thread.run, committed=lambda: stored.append(self.stored()))
        commits.submit(self.insert, 1).addCallback(lambda _: self.assertEqual(stored, [[1]]))
        results = [commits.submit(self.insert, 2), commits.submit(self.fail, 0)]
        self.thread.turn()
        self.thread.turn()
        self.assertEqual(stored, [[1], [1, 2]])
        self.failureResultOf(results[1], ZeroDivisionError)

    def other(self, connection: sqlite3.Connection, arguments: Sequence[str]) -> list[str]:
        """Return the arguments in upper case."""
        self.calls.append(("other", list(arguments)))
        return [argument.upper() for argument in arguments]

    def test_results_arrive_in_order_after_the_next_transaction_has_begun(self) -> None:
        """The callbacks are called in the order of the calls, while the disk works for those that wait."""
        order: list[tuple[int, int]] = []
        for number in (1, 2, 3):
            self.commits.submit(self.insert, number).addCallback(
                lambda result: order.append((result, len(self.thread.waiting)))
            )
        self.thread.turn()
        self.assertEqual(order, [(-1, 1)])
        self.commits.submit(self.insert, 4)
        self.thread.turn()
        self.assertEqual(order, [(-1, 1), (-2, 1), (-3, 1)])

    def test_operation_of_a_callback(self) -> None:
        """A callback may submit an operation."""
        results: list[Any] = []
        self.commits.submit(self.insert, 1).addCallback(
            lambda _: self.commits.submit(self.insert, 2).addCallback(results.append)
        )
        self.thread.turn()
        self.thread.turn()
        self.assertEqual((results, self.stored()), ([-2], [1, 2]))


class ErrorTests(GroupCommitCase):
    def submit_together(self, *writes: tuple[Any, Any]) -> list[Deferred[Any]]:
        """Submit operations that are one batch."""
        self.commits.submit(self.insert, 0)
        results = [self.commits.submit(operation, argument) for operation, argument in writes]
        self.thread.turn()
        return results

    def test_failed_operation_fails_no_other(self) -> None:
        """Only the operations that fail have errors; all others are stored."""
        results = self.submit_together((self.insert, 1), (self.insert, 0), (self.fail, "x"), (self.insert, 2))
        self.thread.turn()
        self.assertEqual([self.successResultOf(results[0]), self.successResultOf(results[3])], [-1, -2])
        self.assertIn("UNIQUE", str(self.failureResultOf(results[1], DatabaseError).value))
        self.failureResultOf(results[2], ZeroDivisionError)
        self.assertEqual(self.stored(), [0, 1, 2])

    def test_failed_operation_changes_nothing(self) -> None:
        """What an operation did before it failed is undone."""

        def half(connection: sqlite3.Connection, arguments: Sequence[Any]) -> Sequence[Any]:
            self.insert(connection, [7])
            raise ZeroDivisionError

        result = self.commits.submit(half, None)
        self.thread.turn()
        self.failureResultOf(result, ZeroDivisionError)
        self.assertEqual(self.stored(), [])
        self.commits.submit(self.insert, 8)
        self.thread.turn()
        self.assertEqual(self.stored(), [8])

    def test_locked_database_is_tried_once(self) -> None:
        """If another program has locked the file, all operations of the batch fail together, without waiting for each."""
        self.patch(connection, "BUSY_TIMEOUT", 0)
        database = Database(self.database.path, ["CREATE TABLE t (a UNIQUE);"])
        self.addCleanup(database.close)
        commits = GroupCommit(database, self.thread.run, self.undone)
        other = sqlite3.connect(self.database.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        results = [commits.submit(self.insert, number) for number in range(4)]
        self.thread.turn()
        self.thread.turn()
        for result in results:
            self.assertIn("another program has locked", str(self.failureResultOf(result, DatabaseError).value))
        self.assertEqual(self.calls, [("undone", [])] * 2)
        other.execute("ROLLBACK")
        last = commits.submit(self.insert, 5)
        self.thread.turn()
        self.assertEqual(self.successResultOf(last), -5)

    def test_missing_results_are_errors(self) -> None:
        """An operation that returns too few results has failed, and changes nothing."""

        def forgetful(connection: sqlite3.Connection, arguments: Sequence[Any]) -> Sequence[Any]:
            self.insert(connection, [9])
            return []

        result = self.commits.submit(forgetful, None)
        self.thread.turn()
        self.failureResultOf(result, ValueError)
        self.assertEqual(self.stored(), [])


class CloseTests(GroupCommitCase):
    def test_close_waits_for_operations(self) -> None:
        """`close` fires when all operations have ended. Later ones are refused."""
        self.commits.submit(self.insert, 1)
        last = self.commits.submit(self.insert, 2)
        closed = self.commits.close()
        refused = self.commits.submit(self.insert, 3)
        self.failureResultOf(refused, DatabaseError)
        self.thread.turn()
        self.assertNoResult(closed)
        self.thread.turn()
        self.successResultOf(last)
        self.successResultOf(closed)
        self.assertEqual(self.stored(), [1, 2])

    def test_close_without_operations(self) -> None:
        """`close` fires at once if nothing is pending."""
        self.successResultOf(self.commits.close())


class InlineTests(GroupCommitCase):
    def test_inline(self) -> None:
        """With a function that runs inline, each operation has ended when `submit` returns."""
        commits = GroupCommit(self.database, lambda function: maybeDeferred(function))
        nested: list[Any] = []
        commits.submit(self.insert, 1).addCallback(lambda _: commits.submit(self.insert, 2).addCallback(nested.append))
        self.assertEqual(nested, [-2])
        self.failureResultOf(commits.submit(self.fail, None), ZeroDivisionError)
        self.successResultOf(commits.close())


class JobThreadTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Create a reactor whose calls from threads the test runs."""
        self.clock = ThreadClock()

    def job_thread(self, regularly: Callable[[], bool] = lambda: False) -> JobThread:
        """Return a thread that ends after the test."""
        thread = JobThread(self.clock, "jobs", regularly)
        self.addCleanup(thread.stop)
        return thread

    def test_functions_in_order(self) -> None:
        """Functions run in one other thread, in order; results and errors arrive on the reactor."""
        thread = self.job_thread()
        threads: list[Any] = []

        def job() -> int:
            threads.append(threading.current_thread())
            return len(threads)

        results = [thread.run(job), thread.run(lambda: 1 // 0), thread.run(job)]
        for result in results:
            self.assertNoResult(result)
        for _ in results:
            self.assertTrue(self.clock.turn())
        self.assertEqual([self.successResultOf(results[0]), self.successResultOf(results[2])], [1, 2])
        self.failureResultOf(results[1], ZeroDivisionError)
        self.assertEqual(len(set(threads)), 1)
        self.assertIsNot(threads[0], threading.current_thread())
        self.assertEqual((threads[0].name, threads[0].daemon), ("jobs", True))

    def test_regular_call(self) -> None:
        """While nothing else happens, the regular function is called; again at once while it returns True."""
        results = [True, True, False]
        self.job_thread(lambda: bool(self.clock.callFromThread(lambda: None)) or results.pop(0) if results else False)
        for _ in range(3):
            self.assertTrue(self.clock.turn())
        self.assertEqual(results, [])

    def test_stop(self) -> None:
        """The thread ends after the functions that it got."""
        started: list[threading.Thread] = []

        def start(target: Callable[[], None], name: str) -> None:
            started.append(threading.Thread(target=target, name=name, daemon=True))
            started[0].start()

        self.patch(connection, "start_daemon_thread", start)
        thread = JobThread(self.clock, "jobs")
        result = thread.run(lambda: 5)
        thread.stop()
        started[0].join(10)
        self.assertFalse(started[0].is_alive())
        self.clock.turn()
        self.assertEqual(self.successResultOf(result), 5)


class StatementTests(SynchronousTestCase):
    def test_any_number_of_rows(self) -> None:
        """Any number of rows is inserted and updated, by few statements."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(connection.close)
        connection.execute("CREATE TABLE t (a, b)")
        for count, statements in ((0, 0), (1, 1), (32, 1), (33, 2), (100, 4)):
            connection.execute("DELETE FROM t")
            rows = [(number, str(number)) for number in range(count)]
            self.assertEqual(len(execute_rows(connection, "INSERT INTO t VALUES {}", rows)), statements)
            self.assertEqual(connection.execute("SELECT a, b FROM t ORDER BY a").fetchall(), rows)
            execute_rows(
                connection,
                "UPDATE t SET b = v.column2 FROM (VALUES {}) AS v WHERE a = v.column1",
                [(n, 0) for n, _ in rows],
            )
            self.assertEqual(connection.execute("SELECT count(*) FROM t WHERE b = 0").fetchone(), (count,))
