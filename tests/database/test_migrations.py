"""Migrations of a SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.database import Migration
from errklein.database._migrations import upgrade


class UpgradeTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Choose a path without a file."""
        self.path = Path(self.mktemp())

    def execute(self, query: str) -> list[tuple[object, ...]]:
        """Return the rows of the query."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    def upgrade(self, *migrations: Migration) -> None:
        """Upgrade the file by the migrations."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            upgrade(connection, self.path, migrations)
        finally:
            connection.close()

    def test_upgrade_runs_only_missing_migrations(self) -> None:
        """A file of version 1 gets the migrations after the first, in order."""
        first = ["CREATE TABLE t (a)", "INSERT INTO t VALUES (1)"]
        self.upgrade(first)
        self.upgrade(first, ["ALTER TABLE t ADD b"], ["UPDATE t SET b = 2"])
        self.assertEqual(self.execute("SELECT a, b FROM t"), [(1, 2)])
        self.assertEqual(self.execute("PRAGMA user_version"), [(3,)])

    def test_failed_upgrade_changes_nothing(self) -> None:
        """If a migration fails, the preceding ones are undone."""
        first = ["CREATE TABLE t (a)"]
        self.upgrade(first)
        with self.assertRaises(sqlite3.Error):
            self.upgrade(first, ["ALTER TABLE t ADD b"], ["nonsense"])
        self.assertEqual(self.execute("SELECT name FROM pragma_table_info('t')"), [("a",)])
        self.assertEqual(self.execute("PRAGMA user_version"), [(1,)])
