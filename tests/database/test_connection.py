"""Reads, writes and transactions of a SQLite file."""

from __future__ import annotations

import shutil
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


class DeletedFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Create a database in a directory of its own."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.database = Database(self.directory / "values.sqlite", MIGRATIONS)
        self.addCleanup(self.database.close)

    def assert_fails(self, named: Path) -> None:
        """Fail unless every change is an error that names the file or directory. What was stored can still be read."""
        calls = (
            lambda: self.database.write("INSERT INTO t VALUES (2)"),
            lambda: self.database.transaction().__enter__(),
            self.database.check_files,
            lambda: next(self.database.read_lazily("SELECT a FROM t")),
        )
        for call in calls:
            self.assertIn(f"{named} was deleted or replaced", str(self.assertRaises(DatabaseError, call)))
        self.assertEqual(self.database.read("SELECT a FROM t"), [(1,)])

    def test_deleted_files(self) -> None:
        """If one of the files is deleted or replaced, changes are errors, since they would be lost; with the file, they work."""
        self.database.write("INSERT INTO t VALUES (1)")
        for name in ("values.sqlite", "values.sqlite-wal", "values.sqlite-shm"):
            file, away = self.directory / name, self.directory / "away"
            file.rename(away)
            self.assert_fails(self.directory / "values.sqlite")
            file.touch()
            self.assert_fails(self.directory / "values.sqlite")
            away.rename(file)
            self.database.check_files()
            self.assertEqual(self.database.write("UPDATE t SET a = 1"), 1)

    def test_deleted_directory(self) -> None:
        """If the directory is deleted, the error names it."""
        self.database.write("INSERT INTO t VALUES (1)")
        shutil.rmtree(self.directory)
        self.assert_fails(self.directory)
        self.directory.mkdir()
        self.assert_fails(self.directory / "values.sqlite")

    def test_files_of_a_closed_database(self) -> None:
        """Closing the database removes side files, which is no error."""
        self.database.close()
        self.database.check_files()
