"""The storage file: what it survives, and what it says when something is wrong with it."""

from __future__ import annotations

import os
import pickle
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import errklein
from errklein.database import _connection as connection
from errklein.database import _migrations as migrations
from errklein.storage import SQLiteStorage, StorageError, UnreadableValue, UnstorableValue
from errklein.storage._restricted_pickling import ValueReader
from errklein.storage._sqlite import MIGRATIONS
from tests.storage.crash import kill_during_assignments


class SQLiteCase(SynchronousTestCase):
    def setUp(self) -> None:
        """An empty directory."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "storage.db"

    def open(self) -> SQLiteStorage:
        """The storage on the file."""
        storage = SQLiteStorage(self.path)
        self.addCleanup(storage.close)
        return storage

    def error_of_opening(self) -> str:
        """The message with which the file is refused; one line that names the file."""
        message = str(self.assertRaises(StorageError, SQLiteStorage, self.path))
        self.assertNotIn("\n", message)
        self.assertIn(str(self.path), message)
        return message

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        """Another program runs `statements` on the file; the rows of the last one."""
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
        """Another storage on the same file has the values."""
        storage = self.open()
        storage.open("Greeter").set("seen", {"alice"})
        storage.close()
        self.assertEqual(self.open().open("Greeter").get("seen"), {"alice"})

    def test_private(self) -> None:
        """Nobody but the owner can read the file and what SQLite puts beside it, whatever the umask is."""
        self.addCleanup(os.umask, os.umask(0))
        self.open().open("Greeter").set("token", "secret")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.directory.iterdir()}
        self.assertEqual(modes, {"storage.db": 0o600, "storage.db-wal": 0o600, "storage.db-shm": 0o600})

    def test_made_private(self) -> None:
        """A file that others could read, as after a restore from a backup, is made private."""
        self.open().close()
        self.path.chmod(0o644)
        self.open()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_crash_safe_settings(self) -> None:
        """The file is in WAL mode, and each transaction is on the disk when it ends."""
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
        """While a write waits for its turn at the file, values can be read."""
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
        """A write that can't get at the file in time says so and changes nothing; the next one works."""
        self.patch(connection, "BUSY_TIMEOUT", 0)
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
        """The file tells the version of its tables."""
        self.open()
        self.assertEqual(self.execute("PRAGMA user_version"), [(len(MIGRATIONS),)])

    def test_newer_file(self) -> None:
        """A file of a newer errklein is refused, untouched, in a line that says what to do."""
        self.execute("CREATE TABLE future (x)", "PRAGMA user_version = 99")
        message = self.error_of_opening()
        self.assertIn("newer errklein", message)
        self.assertIn("schema 99", message)
        self.assertEqual(self.execute("SELECT name FROM sqlite_master"), [("future",)])

    def test_other_programs_file(self) -> None:
        """A database that isn't errklein's is refused, untouched."""
        self.execute("CREATE TABLE bookmarks (x)")
        self.assertIn("another program", self.error_of_opening())
        self.assertEqual(self.execute("SELECT name FROM sqlite_master"), [("bookmarks",)])


class TroubleTests(SQLiteCase):
    def test_no_database(self) -> None:
        """A file full of something else is refused, untouched, and the line says what to do."""
        content = b"my shopping list\n" * 1000
        self.path.write_bytes(content)
        message = self.error_of_opening()
        self.assertIn("damaged or was not made by errklein", message)
        self.assertIn("backup", message)
        self.assertEqual(self.path.read_bytes(), content)

    def test_damaged_in_the_middle(self) -> None:
        """Reading from a file whose inside was overwritten raises the same line, not SQLite's error."""
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
        """A directory that isn't there is said in one line."""
        self.path = self.directory / "nowhere" / "storage.db"
        self.assertIn("No such file", self.error_of_opening())

    def test_a_directory(self) -> None:
        """A directory in place of the file is said in one line."""
        self.path.mkdir(mode=0o700)
        self.assertIn("can't be opened", self.error_of_opening())

    def test_kill_9_loses_no_stored_value(self) -> None:
        """A process is killed in the middle of its assignments: each that had returned is there, the file is sound."""
        outcome = kill_during_assignments(self.path, 3000, 1700)
        self.assertGreaterEqual(outcome.returned, 1700)
        self.assertEqual((outcome.lost, outcome.integrity), (0, "ok"))

    def test_full_disk_keeps_old_values(self) -> None:
        """When nothing more fits: a clear error, old values intact, and all goes on once there is room."""
        self.open().close()
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

    def test_full_file_system_keeps_old_values(self) -> None:
        """On a file system of 256 kB: a clear error, what was stored before is there, also after a restart."""
        mount = 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"'
        command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(self.directory)]
        try:
            subprocess.run([*command, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SkipTest("this machine lets nobody mount a small file system") from error
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
        """An error of a class whose own __str__ fails is told by its type."""

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
        """A value that can't be pickled is refused by key and type, and the old one stays."""
        store = self.open().open("Greeter")
        store.set("lock", "old")
        error = self.assertRaises(UnstorableValue, store.set, "lock", threading.Lock())
        self.assertIsInstance(error, TypeError)
        for part in ("Greeter", "'lock'", "_thread.lock", "nothing was changed"):
            self.assertIn(part, str(error))
        self.assertEqual(store.get("lock"), "old")

    def test_endless_value(self) -> None:
        """A value nested too deeply is refused like any other that can't be pickled."""
        value: list[object] = []
        for _ in range(100_000):
            value = [value]
        store = self.open().open("Greeter")
        self.assertRaises(UnstorableValue, store.set, "deep", value)
        self.assertEqual(store.len(), 0)


class OriginTests(SQLiteCase):
    """Values that came from outside are marked, until the bot stores others there."""

    DATA = pickle.dumps(os.getcwd)
    NAME = f"{os.getcwd.__module__}.getcwd"

    def test_restored(self) -> None:
        """A restored value is restricted, also after the file was opened anew; an assignment ends that."""
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
        """What was trusted with a value is for that value alone."""
        storage = self.open()
        storage.put([("Greeter", "a", self.DATA)], trusted=[self.NAME])
        storage.put([("Greeter", "b", self.DATA)])
        self.assertIs(storage.open("Greeter").get("a"), os.getcwd)
        self.assertRaises(UnreadableValue, storage.open("Greeter").get, "b")

    def test_own(self) -> None:
        """Values of the bot's own may be put too, and aren't restricted."""
        storage = self.open()
        storage.put([("Greeter", "a", self.DATA)])
        storage.put([("Greeter", "a", self.DATA)], trusted=None)
        self.assertIs(storage.open("Greeter").get("a"), os.getcwd)

    def test_damaged_mark(self) -> None:
        """A value whose mark can't be read isn't read either."""
        storage = self.open()
        storage.put([("Greeter", "a", self.DATA)], trusted=[self.NAME])
        storage._database.write("UPDATE stored SET trusted = ?", ("nonsense",))
        self.assertRaises(UnreadableValue, storage.open("Greeter").get, "a")

    def test_older_file(self) -> None:
        """Values in a file of the schema without marks are the bot's own."""
        path = Path(self.mktemp())
        with closing(sqlite3.connect(path, isolation_level=None)) as older:
            migrations.upgrade(older, path, MIGRATIONS[:1])
            older.execute("INSERT INTO stored VALUES (?, ?, ?)", (b"Greeter", b"a", self.DATA))
        with closing(SQLiteStorage(path)) as storage:
            self.assertIs(storage.open("Greeter").get("a"), os.getcwd)
