"""Reads, writes and transactions of a SQLite file."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.database import Database, DatabaseError

MIGRATIONS = ("CREATE TABLE t (a UNIQUE);",)


class DatabaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Create a database with an empty table."""
        self.path = Path(self.mktemp())
        self.database = Database(self.path, MIGRATIONS)
        self.addCleanup(self.database.close)

    def test_transaction_is_all_or_nothing(self) -> None:
        """If a statement of a transaction fails, the preceding ones are undone, and the file is usable."""
        with self.assertRaises(DatabaseError), self.database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            connection.execute("INSERT INTO t VALUES (1)")
        self.assertEqual(self.database.read("SELECT a FROM t"), [])
        with self.assertRaises(ValueError), self.database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            raise ValueError
        with self.database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            self.assertEqual(self.database.read("SELECT a FROM t"), [])
        self.assertEqual(self.database.read("SELECT a FROM t"), [(1,)])

    def test_write_tells_the_number_of_rows(self) -> None:
        """A write returns the number of changed rows."""
        self.assertEqual(self.database.write("INSERT INTO t VALUES (1), (2)"), 2)
        self.assertEqual(self.database.write("DELETE FROM t WHERE a = ?", (3,)), 0)

    def test_lazy_reading_sees_one_moment(self) -> None:
        """A lazy read doesn't return rows that are written meanwhile."""
        self.database.write("INSERT INTO t VALUES (1), (2)")
        rows = self.database.read_lazily("SELECT a FROM t")
        self.assertEqual(next(rows), (1,))
        self.database.write("INSERT INTO t VALUES (3)")
        self.assertEqual(list(rows), [(2,)])

    def test_closed_database_is_an_error(self) -> None:
        """Calls to a closed database raise an error that names the file."""
        self.database.close()
        for call in (self.database.read, self.database.write, lambda sql: list(self.database.read_lazily(sql))):
            error = self.assertRaises(DatabaseError, call, "SELECT a FROM t")
            self.assertEqual(str(error), f"{self.path}: the database is closed")

    def test_deleted_file(self) -> None:
        """A transaction on a file that was deleted or replaced is an error, since it would be lost at the next start."""
        for replaced in (False, True):
            self.path.unlink()
            if replaced:
                self.path.touch()
            with self.assertRaisesRegex(DatabaseError, "was deleted or replaced"), self.database.transaction():
                self.fail("the transaction has begun")
            self.path.touch()
