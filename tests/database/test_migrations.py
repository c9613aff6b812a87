"""Migrations of a SQLite file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.database import Access, Database, DatabaseError, read_migrations
from errklein.database import _connection as module
from errklein.database._connection import apply_migrations

FIRST = "CREATE TABLE t (a); -- a comment; with a semicolon\nINSERT INTO t VALUES (1);\n"
SECOND = "ALTER TABLE t ADD b;\n"
THIRD = "CREATE TRIGGER g AFTER INSERT ON t BEGIN\n  UPDATE t SET b = 3;\nEND;\nUPDATE t\nSET b = 2;\n"


class MigrationCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Choose a path without a file."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "file.sqlite"

    def execute(self, query: str, name: str = "file.sqlite") -> list[tuple[object, ...]]:
        """Return the rows of the query."""
        with closing(sqlite3.connect(self.directory / name)) as connection:
            return connection.execute(query).fetchall()

    def names(self) -> list[str]:
        """Return the names of the files."""
        return sorted(file.name for file in self.directory.iterdir())

    def upgrade(self, *migrations: str) -> None:
        """Upgrade the file by the migrations."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            apply_migrations(connection, self.path, migrations)


class UpgradeTests(MigrationCase):
    def test_upgrade_runs_only_missing_migrations(self) -> None:
        """A file of version 1 gets the migrations after the first, in order."""
        self.upgrade(FIRST)
        self.upgrade(FIRST, SECOND, THIRD)
        self.assertEqual(self.execute("SELECT a, b FROM t"), [(1, 2)])
        self.assertEqual(self.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"), [("g",)])
        self.assertEqual(self.execute("PRAGMA user_version"), [(3,)])

    def test_failed_upgrade_changes_nothing(self) -> None:
        """If a migration fails, the preceding ones are undone."""
        self.upgrade(FIRST)
        with self.assertRaises(sqlite3.Error):
            self.upgrade(FIRST, SECOND, "nonsense;")
        self.assertEqual(self.execute("SELECT name FROM pragma_table_info('t')"), [("a",)])
        self.assertEqual(self.execute("PRAGMA user_version"), [(1,)])

    def test_incomplete_statement_is_an_error(self) -> None:
        """A script without its last semicolon is refused, not shortened."""
        with self.assertRaises(ValueError):
            self.upgrade("CREATE TABLE t (a);\nCREATE TABLE u (a)")
        self.assertEqual(self.execute("SELECT name FROM sqlite_master"), [])

    def test_existing_file_for_another_process(self) -> None:
        """A process that may not upgrade opens a file of the current version, and no other."""
        current = (FIRST, SECOND)
        error = self.assertRaises(DatabaseError, Database, self.path, current, Access.READ)
        self.assertEqual((str(error), self.names()), (f"{self.path} doesn't exist", []))
        self.upgrade(FIRST)
        error = self.assertRaises(DatabaseError, Database, self.path, current, Access.READ)
        self.assertIn("has schema 1, and this errklein uses schema 2", str(error))
        self.upgrade(*current)
        database = Database(self.path, current, Access.READ)
        self.addCleanup(database.close)
        self.assertEqual(database.read("SELECT a FROM t"), [(1,)])
        self.assertRaises(DatabaseError, Database, self.path, (FIRST,), Access.READ)


class BackupTests(MigrationCase):
    def test_backup_before_an_upgrade(self) -> None:
        """Before an upgrade, the file is copied, with mode 0600; the copy has the data and the version from before."""
        self.upgrade(FIRST)
        self.upgrade(FIRST, SECOND)
        self.assertEqual(self.names(), ["file.sqlite", "file.sqlite.before-2"])
        self.assertEqual(self.execute("SELECT * FROM t", "file.sqlite.before-2"), [(1,)])
        self.assertEqual(self.execute("PRAGMA user_version", "file.sqlite.before-2"), [(1,)])
        self.assertEqual((self.directory / "file.sqlite.before-2").stat().st_mode & 0o777, 0o600)

    def test_backup_of_the_write_ahead_log(self) -> None:
        """The copy has transactions that are only in the write-ahead log, and replaces an earlier copy."""
        Database(self.path, (FIRST,)).close()
        (self.directory / "file.sqlite.before-2").write_text("old")
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("INSERT INTO t VALUES (2)")
            Database(self.path, (FIRST, SECOND)).close()
            other.execute("SELECT * FROM t")
        self.assertEqual(self.execute("SELECT a FROM t", "file.sqlite.before-2"), [(1,), (2,)])
        self.assertEqual(self.execute("SELECT a, b FROM t"), [(1, None), (2, None)])

    def test_no_backup_without_an_upgrade(self) -> None:
        """A new file and a current one aren't copied."""
        self.upgrade(FIRST, SECOND)
        self.upgrade(FIRST, SECOND)
        self.assertEqual(self.names(), ["file.sqlite"])

    def test_copy_is_on_disk_before_the_upgrade(self) -> None:
        """The copy and its directory are synchronized when the first statement of the upgrade runs."""
        self.upgrade(FIRST)
        synchronized = []
        self.patch(module.os, "fsync", lambda file: synchronized.append(Path(f"/proc/self/fd/{file}").resolve().name))
        with self.assertRaises(sqlite3.Error):
            self.upgrade(FIRST, "nonsense;")
        self.assertEqual(synchronized, ["file.sqlite.before-2.unfinished", self.directory.name])
        self.assertEqual(self.names(), ["file.sqlite", "file.sqlite.before-2"])

    def test_upgrade_without_a_backup_is_refused(self) -> None:
        """If the copy fails, the file isn't upgraded, and nothing is left of the copy."""
        self.upgrade(FIRST)

        def fail(file: int) -> None:
            raise OSError(28, os.strerror(28))

        self.patch(module.os, "fsync", fail)
        with self.assertRaisesRegex(DatabaseError, r"before-2 can't be written: No space left"):
            self.upgrade(FIRST, SECOND)
        self.assertEqual(self.names(), ["file.sqlite"])
        self.assertEqual(self.execute("PRAGMA user_version"), [(1,)])


class ReadingTests(MigrationCase):
    def test_files_in_order(self) -> None:
        """The files are read in the order of their numbers; others are ignored."""
        for name in ("0002_b.sql", "0001_z.sql", "README", "0003_a.sql", "notes.sql"):
            (self.directory / name).write_text(f"ä {name}", encoding="utf-8")
        self.assertEqual(read_migrations(self.directory), ["ä 0001_z.sql", "ä 0002_b.sql", "ä 0003_a.sql"])

    def test_gaps_are_errors(self) -> None:
        """A missing or repeated number is an error."""
        (self.directory / "0002_b.sql").touch()
        self.assertRaises(ValueError, read_migrations, self.directory)
        (self.directory / "0001_a.sql").touch()
        (self.directory / "0001_b.sql").touch()
        self.assertRaises(ValueError, read_migrations, self.directory)
