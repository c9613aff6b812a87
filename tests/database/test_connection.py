"""Reads, writes and transactions of a SQLite file."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from subprocess import PIPE

from twisted.trial.unittest import SynchronousTestCase

from errklein.database import Access, Database, DatabaseError, upgrade_of, write_copy
from tests.processes import ROOT, Program

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


class ReadOnlyTests(SynchronousTestCase):
    """Reading of a file that belongs to another process, in each state that it may be in."""

    def setUp(self) -> None:
        """Create a directory for the file."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "values.sqlite"

    def files(self) -> dict[str, str]:
        """Return a digest of each file in the directory."""
        return {file.name: sha256(file.read_bytes()).hexdigest() for file in self.directory.iterdir()}

    def write(self, migrations: Sequence[str] = MIGRATIONS) -> Database:
        """Write a row, as the bot does, and return the open database."""
        database = Database(self.path, migrations)
        self.addCleanup(database.close)
        database.write("INSERT INTO t (a) VALUES (1)")
        return database

    def start_writer(self) -> Program:
        """Write the row in another process, which keeps the file open."""
        code = (
            "import sys; from pathlib import Path; from errklein.database import Database\n"
            f"database = Database(Path(sys.argv[1]), {MIGRATIONS!r})\n"
            "database.write('INSERT INTO t VALUES (1)'); print('written'); sys.stdin.read()"
        )
        writer = Program([sys.executable, "-c", code], str(self.path.absolute()), cwd=ROOT, stdin=PIPE)
        self.addCleanup(writer.kill)
        writer.wait_for("written")
        return writer

    def kill_writer(self) -> None:
        """Write the row in a process that is killed."""
        self.start_writer().kill()
        self.assertEqual(self.files().keys(), {"values.sqlite", "values.sqlite-shm", "values.sqlite-wal"})

    def assert_read(self) -> None:
        """Fail unless the row can be read in both ways, and no file is changed, created or removed."""
        before = self.files()
        for access in (Access.READ, Access.COPY):
            database = Database(self.path, MIGRATIONS, access)
            self.assertEqual(database.read("SELECT a FROM t"), [(1,)])
            self.assertEqual(list(database.read_lazily("SELECT a FROM t")), [(1,)])
            self.assertEqual(self.files(), before)
            database.close()
            self.assertEqual(self.files(), before)

    def test_closed_file(self) -> None:
        """The file of a process that has stopped is read without its side files, which aren't created."""
        self.write().close()
        self.assertEqual(self.files().keys(), {"values.sqlite"})
        self.assert_read()

    def test_open_file(self) -> None:
        """The file of a running process is read without a change, with what was written last."""
        self.start_writer()
        self.assert_read()

    def test_file_of_a_killed_process(self) -> None:
        """What a killed process has left in its write-ahead log is read, and stays there."""
        self.kill_writer()
        self.assert_read()

    def test_log_without_index(self) -> None:
        """A write-ahead log whose index is missing isn't left out silently."""
        self.kill_writer()
        self.directory.joinpath("values.sqlite-shm").unlink()
        before = self.files()
        for access in (Access.READ, Access.COPY):
            error = self.assertRaises(DatabaseError, Database, self.path, MIGRATIONS, access)
            self.assertIn("has a write-ahead log without its index", str(error))
        self.assertEqual(self.files(), before)

    def test_changes(self) -> None:
        """A reader can't change the file; changes of a copy don't reach it."""
        self.write().close()
        reader = Database(self.path, MIGRATIONS, Access.READ)
        self.addCleanup(reader.close)
        self.assertRaises(DatabaseError, reader.write, "DELETE FROM t")
        copy = Database(self.path, MIGRATIONS, Access.COPY)
        self.addCleanup(copy.close)
        with copy.transaction() as connection:
            connection.execute("DELETE FROM t")
        self.assertEqual(copy.read("SELECT a FROM t"), [])
        self.assert_read()

    def test_held_file(self) -> None:
        """A copy of a file that another program holds fails with the reason; it doesn't wait until the program ends."""
        self.write().close()
        code = (
            "import sqlite3, sys; held = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "held.execute('SELECT a FROM t').fetchall(); held.execute('PRAGMA locking_mode = EXCLUSIVE')\n"
            "held.execute('INSERT INTO t VALUES (2)'); print('held', flush=True); sys.stdin.read()"
        )
        holder = Program([sys.executable, "-c", code], str(self.path.absolute()), cwd=ROOT, stdin=PIPE)
        self.addCleanup(holder.kill)
        holder.wait_for("held")
        # The wait for the program would last as long as the test runner's patience.
        ended = threading.Timer(20, holder.kill)
        self.addCleanup(ended.cancel)
        ended.start()
        error = self.assertRaises(DatabaseError, write_copy, self.path, self.directory / "copy")
        self.assertIn("another program has locked the file", str(error))

    def test_copy_over_a_killed_process(self) -> None:
        """A copy doesn't take up what a killed process has left in the log of the file that it replaces."""
        self.kill_writer()
        source = self.directory / "source.sqlite"
        Database(source, MIGRATIONS).close()
        write_copy(source, self.path)
        self.assertEqual(self.files().keys(), {"source.sqlite", "values.sqlite"})
        copy = Database(self.path, MIGRATIONS)
        self.addCleanup(copy.close)
        self.assertEqual(copy.read("SELECT a FROM t"), [])

    def test_older_file(self) -> None:
        """A copy of an older file is upgraded, and the file stays as it is; the notice names it and its later copy."""
        self.write().close()
        newer = (*MIGRATIONS, "ALTER TABLE t ADD b;")
        before = self.files()
        copy = Database(self.path, newer, Access.COPY)
        self.addCleanup(copy.close)
        self.assertEqual(copy.read("SELECT a, b FROM t"), [(1, None)])
        self.assertEqual(
            upgrade_of(self.path, newer),
            f"{self.path} will be converted at the start, from schema 1 to 2; "
            "values.sqlite.before-2 will be a copy of the old file",
        )
        self.assertEqual(upgrade_of(self.path, MIGRATIONS), "")
        self.assertEqual(upgrade_of(self.directory / "missing", MIGRATIONS), "")
        self.assertEqual(self.files(), before)

    def test_newer_file(self) -> None:
        """A file of a newer version is an error for both."""
        self.write((*MIGRATIONS, "ALTER TABLE t ADD b;")).close()
        for call in (lambda: Database(self.path, MIGRATIONS, Access.COPY), lambda: upgrade_of(self.path, MIGRATIONS)):
            text = str(self.assertRaises(DatabaseError, call))
            self.assertIn("made by a newer errklein", text)
            self.assertIn("or move the file away", text)
            self.assertNotIn("before-", text)

    def test_newer_file_with_its_copy(self) -> None:
        """The error for a converted file names the copy that this version can open."""
        newer = (*MIGRATIONS, "ALTER TABLE t ADD b;")
        for migrations in (MIGRATIONS, newer, (*newer, "ALTER TABLE t ADD c;")):
            Database(self.path, migrations).close()
        text = str(self.assertRaises(DatabaseError, upgrade_of, self.path, MIGRATIONS))
        self.assertIn(f"or replace it and its -wal and -shm files by {self.path}.before-2, the copy", text)
        self.assertIn("before-3", str(self.assertRaises(DatabaseError, upgrade_of, self.path, newer)))


class MemoryTests(SynchronousTestCase):
    """Databases without a file."""

    def test_new_and_apart(self) -> None:
        """Each database in memory is new, with the schema, and its changes are in no other one."""
        first, second = (Database(None, MIGRATIONS) for _ in range(2))
        with first.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
        self.assertEqual((first.read("SELECT a FROM t"), second.read("SELECT a FROM t")), ([(1,)], []))
        self.assertEqual((first.size, first.check_files()), (0, None))
        for database in (first, second):
            database.close()
            self.assertRaises(DatabaseError, database.read, "SELECT 1")

    def test_reads_see_whole_transactions(self) -> None:
        """A thread that reads during another one's transaction waits for its end."""
        database = Database(None, MIGRATIONS)
        self.addCleanup(database.close)
        found: list[int] = []
        with database.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            thread = threading.Thread(target=lambda: found.append(len(database.read("SELECT * FROM t"))))
            thread.start()
            connection.execute("DELETE FROM t")
        thread.join()
        self.assertEqual(found, [0])
