"""The storage file: durability, versions, and errors."""

from __future__ import annotations

import os
import pickle
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import errklein
from errklein.database import _connection
from errklein.storage import SQLiteStorage, StorageError, UnreadableValue, UnstorableValue
from errklein.storage._storages import MIGRATIONS
from errklein.storage.pickling import ValueReader
from tests import SYNCHRONOUS
from tests.storage.crash import kill_during_assignments


class SQLiteCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Create an empty directory."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "storage.db"

    def open(self) -> SQLiteStorage:
        """Return a storage on the file."""
        storage = SQLiteStorage(self.path)
        self.addCleanup(storage.close)
        return storage

    def error_of_opening(self) -> str:
        """Return the error of opening the file; check that it is one line with the path."""
        message = str(self.assertRaises(StorageError, SQLiteStorage, self.path))
        self.assertNotIn("\n", message)
        self.assertIn(str(self.path), message)
        return message

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        """Execute statements as another program, and return the rows of the last one."""
        connection = sqlite3.connect(self.path)
        try:
            with connection:
                for statement in statements:
                    rows = connection.execute(statement).fetchall()
            return rows
        finally:
            connection.close()


class FileTests(SQLiteCase):
    def test_kept_over_a_restart(self) -> None:
        """Values can be read by another storage on the same file."""
        storage = self.open()
        storage.open("Greeter").set("seen", {"alice"})
        storage.close()
        self.assertEqual(self.open().open("Greeter").get("seen"), {"alice"})

    def test_private(self) -> None:
        """Only the owner can read the file and SQLite's additional files, whatever the umask is."""
        self.addCleanup(os.umask, os.umask(0))
        self.open().open("Greeter").set("token", "secret")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.directory.iterdir()}
        self.assertEqual(modes, {"storage.db": 0o600, "storage.db-wal": 0o600, "storage.db-shm": 0o600})

    def test_made_private(self) -> None:
        """An existing file that others can read is made private."""
        self.open().close()
        self.path.chmod(0o644)
        self.open()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_crash_safe_settings(self) -> None:
        """The file is in WAL mode, and each transaction is flushed to disk."""
        self.patch(_connection, "SYNCHRONOUS", SYNCHRONOUS)
        connected: list[sqlite3.Connection] = []
        connect = sqlite3.connect
        self.patch(
            sqlite3, "connect", lambda *args, **kwargs: connected.append(connect(*args, **kwargs)) or connected[-1]
        )
        self.open()
        self.assertEqual(self.execute("PRAGMA journal_mode"), [("wal",)])
        full = 2
        self.assertEqual(connected[0].execute("PRAGMA synchronous").fetchone(), (full,))

    def test_readers_do_not_wait(self) -> None:
        """Values can be read while a write waits for a lock."""
        storage = self.open()
        store = storage.open("Greeter")
        store.set("key", "old")
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        writing = threading.Thread(target=store.set, args=("key", "new"))
        writing.start()
        self.assertEqual([store.get("key"), *store.keys(), store.len()], ["old", "key", 1])
        self.assertTrue(writing.is_alive())
        other.execute("ROLLBACK")
        writing.join()
        self.assertEqual(store.get("key"), "new")

    def test_held_by_another_program(self) -> None:
        """A write that doesn't get the lock in time raises an error and changes nothing; the next one works."""
        self.patch(_connection, "BUSY_TIMEOUT", 0)
        store = self.open().open("Greeter")
        store.set("key", "old")
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        self.assertIn("another program has locked", str(self.assertRaises(StorageError, store.set, "key", "new")))
        self.assertEqual(store.get("key"), "old")
        other.execute("ROLLBACK")
        store.set("key", "new")
        self.assertEqual(store.get("key"), "new")


class VersionTests(SQLiteCase):
    def test_version_is_written(self) -> None:
        """The file contains the version of its schema."""
        self.open()
        self.assertEqual(self.execute("PRAGMA user_version"), [(len(MIGRATIONS),)])

    def test_newer_file(self) -> None:
        """A file with a newer schema is refused and unchanged; the error has the version."""
        self.execute("CREATE TABLE future (x)", "PRAGMA user_version = 99")
        message = self.error_of_opening()
        self.assertIn("newer errklein", message)
        self.assertIn("schema 99", message)
        self.assertEqual(self.execute("SELECT name FROM sqlite_master"), [("future",)])

    def test_other_programs_file(self) -> None:
        """A database of another program is refused and unchanged."""
        self.execute("CREATE TABLE bookmarks (x)")
        self.assertIn("another program", self.error_of_opening())
        self.assertEqual(self.execute("SELECT name FROM sqlite_master"), [("bookmarks",)])


class TroubleTests(SQLiteCase):
    def test_no_database(self) -> None:
        """A file that isn't a database is refused and unchanged; the error names the remedy."""
        content = b"my shopping list\n" * 1000
        self.path.write_bytes(content)
        message = self.error_of_opening()
        self.assertIn("damaged or was not made by errklein", message)
        self.assertIn("backup", message)
        self.assertEqual(self.path.read_bytes(), content)

    def test_damaged_in_the_middle(self) -> None:
        """Reading a damaged file raises StorageError with the path."""
        storage = self.open()
        store = storage.open("Greeter")
        for number in range(200):
            store.set(str(number), "x" * 1000)
        storage.close()
        size = self.path.stat().st_size
        with self.path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))
        store = self.open().open("Greeter")
        message = str(self.assertRaises(StorageError, store.get, "7"))
        self.assertIn("damaged", message)
        self.assertIn(str(self.path), message)

    def test_no_directory(self) -> None:
        """A missing directory is reported in one line."""
        self.path = self.directory / "nowhere" / "storage.db"
        self.assertIn("No such file", self.error_of_opening())

    def test_a_directory(self) -> None:
        """A directory in place of the file is reported in one line."""
        self.path.mkdir(mode=0o700)
        self.assertIn("can't be opened", self.error_of_opening())

    def test_kill_9_loses_no_stored_value(self) -> None:
        """After SIGKILL, all assignments that had returned are in the file, which is intact."""
        outcome = kill_during_assignments(self.path, 3000, 1700)
        self.assertGreaterEqual(outcome.returned, 1700)
        self.assertEqual((outcome.lost, outcome.integrity), (0, "ok"))

    def test_full_disk_keeps_old_values(self) -> None:
        """On a full disk, `set` raises an error, old values are intact, and writing works when there is space."""
        self.open().close()
        self.patch(_connection, "SYNCHRONOUS", SYNCHRONOUS)
        connected: list[sqlite3.Connection] = []
        connect = sqlite3.connect

        def connect_to_small_disk(*args: object, **kwargs: object) -> sqlite3.Connection:
            connection = connect(*args, **kwargs)
            connection.execute("PRAGMA max_page_count = 20")
            connected.append(connection)
            return connection

        self.patch(sqlite3, "connect", connect_to_small_disk)
        storage = self.open()
        store = storage.open("Greeter")
        store.set("key", "old")
        for value in ("x" * 1_000_000, "x" * 2_000_000):
            message = str(self.assertRaises(StorageError, store.set, "key", value))
            self.assertIn("the disk is full, and nothing was changed", message)
            self.assertIn(str(self.path), message)
        rows = [("Greeter", "key", b"new"), ("Greeter", "large", b"x" * 1_000_000)]
        message = str(self.assertRaises(StorageError, storage.put, rows, ["Greeter"]))
        self.assertIn("the disk is full, and nothing was changed", message)
        self.assertEqual((store.get("key"), store.len()), ("old", 1))
        store.set("key", "small")
        connected[0].execute("PRAGMA max_page_count = 1000000")
        store.set("key", "x" * 1_000_000)
        self.assertEqual(len(store.get("key")), 1_000_000)

    def test_deleted_directory(self) -> None:
        """If the directory is deleted, assignments and removals are errors, and values can be read. After a restart, all works."""
        storage = self.open()
        store = storage.open("Greeter")
        store.set("key", "old")
        shutil.rmtree(self.directory)
        for call in (
            lambda: store.set("key", "new"),
            lambda: store.remove("key"),
            lambda: storage.put([("Greeter", "key", b"")]),
            storage.check_files,
        ):
            message = str(self.assertRaises(StorageError, call))
            self.assertIn(f"{self.directory} was deleted or replaced, and nothing can be stored; put it back", message)
        self.assertEqual(store.get("key"), "old")
        storage.close()
        self.directory.mkdir()
        store = self.open().open("Greeter")
        store.set("key", "new")
        self.assertEqual(store.get("key"), "new")

    def test_locked_by_another_program(self) -> None:
        """`check_files` is an error while another program keeps the file from being written."""
        self.patch(_connection, "BUSY_TIMEOUT", 0)
        storage = self.open()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            self.assertIn("locked", str(self.assertRaises(StorageError, storage.check_files)))
            other.execute("ROLLBACK")
            storage.check_files()

    def test_full_file_system_keeps_old_values(self) -> None:
        """On a full file system, stored values are intact, even after a restart."""
        mount = 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"'
        command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(self.directory)]
        try:
            subprocess.run([*command, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SkipTest("this machine doesn't allow users to mount a small file system") from error
        environment = {**os.environ, "PYTHONPATH": str(Path(errklein.__file__).parents[1])}
        program = [sys.executable, "-c", FILL_THE_DISK, str(self.path)]
        done = subprocess.run([*command, *program], capture_output=True, text=True, env=environment, check=False)
        self.assertEqual((done.stdout, done.stderr), (f"{self.path}: the disk is full\nall there\nall there\n", ""))


FILL_THE_DISK = """
import sys
from pathlib import Path
from errklein.storage import SQLiteStorage, StorageError

path = Path(sys.argv[1])
storage = SQLiteStorage(path)
store = storage.open("Greeter")
stored = 0
try:
    while True:
        store.set(str(stored), "x" * 1000)
        stored += 1
except StorageError as error:
    print(str(error).partition(",")[0])

def look(store):
    values = {key: store.get(key) for key in store.keys()}
    print("all there" if stored and values == {str(n): "x" * 1000 for n in range(stored)} else values)

look(store)
storage.close()
look(SQLiteStorage(path).open("Greeter"))
"""


class ValueTests(SQLiteCase):
    def test_unprintable_errors(self) -> None:
        """An exception without a usable text is named by its type."""

        class Silent(ValueError):
            def __str__(self) -> str:
                raise ValueError("no text")

        class Awkward:
            def __reduce__(self) -> str:
                raise Silent

        storage = self.open()
        store = storage.open("Greeter")
        error = self.assertRaises(UnstorableValue, store.set, "a", Awkward())
        self.assertTrue(str(error).endswith("(Silent); nothing was changed"), str(error))
        self.assertEqual(store.len(), 0)
        storage.put([("Greeter", "a", b"cgone\nThing\n.")])
        values = ValueReader(find_restored_class=lambda *name: Awkward().__reduce__())
        with closing(SQLiteStorage(storage.path, values)) as failing:
            error = self.assertRaises(UnreadableValue, failing.open("Greeter").get, "a")
        self.assertTrue(str(error).endswith("(Silent); it is left as it is"), str(error))

    def test_unpicklable(self) -> None:
        """A value that can't be pickled is refused with its key and type, and the old value stays."""
        store = self.open().open("Greeter")
        store.set("lock", "old")
        error = self.assertRaises(UnstorableValue, store.set, "lock", threading.Lock())
        self.assertIsInstance(error, TypeError)
        for part in ("Greeter", "'lock'", "_thread.lock", "nothing was changed"):
            self.assertIn(part, str(error))
        self.assertEqual(store.get("lock"), "old")

    def test_endless_value(self) -> None:
        """A value that is too deeply nested is refused."""
        value: list[object] = []
        for _ in range(100_000):
            value = [value]
        store = self.open().open("Greeter")
        self.assertRaises(UnstorableValue, store.set, "deep", value)
        self.assertEqual(store.len(), 0)


class OriginTests(SQLiteCase):
    """Restored values are marked until the bot assigns their key."""

    DATA = pickle.dumps(os.getcwd)
    NAME = f"{os.getcwd.__module__}.getcwd"

    def test_restored(self) -> None:
        """A restored value is restricted, even after the file is opened again, until it is assigned."""
        storage = self.open()
        storage.put([("Greeter", "a", self.DATA), ("Greeter", "b", self.DATA)])
        storage.open("Greeter").set("own", os.getcwd)
        storage.close()
        store = self.open().open("Greeter")
        for key in ("a", "b"):
            error = self.assertRaises(UnreadableValue, store.get, key)
            self.assertIn(f"--trust {self.NAME}", str(error))
        self.assertIs(store.get("own"), os.getcwd)
        store.set("a", os.getcwd)
        self.assertIs(store.get("a"), os.getcwd)
        self.assertRaises(UnreadableValue, store.get, "b")

    def test_trusted(self) -> None:
        """A trusted name applies only to the values that were restored with it."""
        storage = self.open()
        storage.put([("Greeter", "a", self.DATA)], trusted=[self.NAME])
        storage.put([("Greeter", "b", self.DATA)])
        self.assertIs(storage.open("Greeter").get("a"), os.getcwd)
        self.assertRaises(UnreadableValue, storage.open("Greeter").get, "b")

    def test_own(self) -> None:
        """`put` with `trusted=None` stores values without restrictions."""
        storage = self.open()
        storage.put([("Greeter", "a", self.DATA)])
        storage.put([("Greeter", "a", self.DATA)], trusted=None)
        self.assertIs(storage.open("Greeter").get("a"), os.getcwd)

    def test_damaged_mark(self) -> None:
        """A value with an invalid mark can't be read."""
        storage = self.open()
        storage.put([("Greeter", "a", self.DATA)], trusted=[self.NAME])
        storage._database.write("UPDATE stored SET trusted = ?", ("nonsense",))
        self.assertRaises(UnreadableValue, storage.open("Greeter").get, "a")

    def test_older_file(self) -> None:
        """Values in a file with the older schema count as the bot's own."""
        path = Path(self.mktemp())
        with closing(sqlite3.connect(path, isolation_level=None)) as older:
            _connection.apply_migrations(older, path, MIGRATIONS[:1])
            older.execute("INSERT INTO stored VALUES (?, ?, ?)", (b"Greeter", b"a", self.DATA))
        with closing(SQLiteStorage(path)) as storage:
            self.assertIs(storage.open("Greeter").get("a"), os.getcwd)
