"""errbot's shelves of every kind are found and read, and never changed."""

from __future__ import annotations

import dbm.dumb
import errno
import os
import pickle
import shelve
import sqlite3
from collections import OrderedDict
from collections.abc import Collection, Mapping
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.storage import SQLiteStorage
from errklein.storage._shelves import (
    MARK,
    SETTLED,
    ImportPlan,
    Shelf,
    ShelfError,
    find_shelves,
    imported_shelves,
    is_settled,
    read_shelf,
    settle,
    unimported,
)
from errklein.storage.pickling import DamagedPickle, NameStatus, names_in, plain_value

VALUES: dict[str, Any] = {"d": {"a": [1, 2]}, "when": datetime(2020, 1, 1), "é": OrderedDict(a=1), "none": None}


class ShelfCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Create a data directory of errbot."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def shelve(self, namespace: str, values: dict[str, Any], kind: str = "dbm.dumb") -> Shelf:
        """Write a shelf as errbot does, with protocol 2."""
        path = self.directory / f"{namespace}.db"
        with shelve.Shelf(import_module(kind).open(str(path), "c"), protocol=2) as shelf:
            shelf.update(values)
        return Shelf(namespace, path)

    def files(self) -> dict[str, bytes]:
        """Return the names and contents of all files in the directory."""
        return {path.name: path.read_bytes() for path in self.directory.iterdir() if path.is_file()}

    def check_read(self, kind: str) -> None:
        """Check that a shelf of that kind is found and read, and not changed."""
        self.shelve("Greeter", VALUES, kind)
        self.shelve("Empty", {}, kind)
        before = self.files()
        self.assertEqual([shelf.namespace for shelf in find_shelves(self.directory)], ["Empty", "Greeter"])
        empty, greeter = find_shelves(self.directory)
        self.assertEqual({key: pickle.loads(data) for key, data in read_shelf(greeter).items()}, VALUES)
        self.assertEqual(read_shelf(empty), {})
        self.assertEqual(self.files(), before)


class KindsTests(ShelfCase):
    def test_dumb(self) -> None:
        """Shelves of dbm.dumb, which every Python has, are read."""
        self.check_read("dbm.dumb")

    def test_installed_kinds(self) -> None:
        """Shelves of the kinds that this Python has are read."""
        for kind in ("dbm.gnu", "dbm.ndbm", "dbm.sqlite3"):
            try:
                import_module(kind)
            except ImportError:
                continue
            self.setUp()
            self.check_read(kind)

    def test_sqlite(self) -> None:
        """Shelves of dbm.sqlite3 are read by every Python, including values in the write-ahead log."""
        path = self.directory / "Greeter.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)")
            connection.execute("INSERT INTO Dict VALUES (?, ?)", (b"a", pickle.dumps(1, 2)))
            before = self.files()
            self.assertIn("Greeter.db-wal", before)
            self.assertEqual(read_shelf(Shelf("Greeter", path)), {"a": pickle.dumps(1, 2)})
            self.assertEqual(self.files(), before)

    def test_missing_library(self) -> None:
        """The error about a kind that this Python lacks has the module's name."""
        self.patch(dbm, "whichdb", lambda path: "dbm.gone")
        (self.directory / "Greeter.db").write_bytes(b"x")
        error = self.assertRaises(ShelfError, read_shelf, Shelf("Greeter", self.directory / "Greeter.db"))
        self.assertIn("no module dbm.gone", str(error))

    def test_while_errbot_runs(self) -> None:
        """The error about a locked shelf says to stop errbot."""

        def locked(path: str, flag: str) -> Any:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

        shelf = self.shelve("Greeter", VALUES)
        self.patch(dbm.dumb, "open", locked)
        self.assertIn("stop errbot first", str(self.assertRaises(ShelfError, read_shelf, shelf)))

    def test_no_directory(self) -> None:
        """No shelf is found in a missing directory, or among other files."""
        self.assertEqual(find_shelves(self.directory / "nowhere"), [])
        for name in ("errklein.sqlite", "backup.py", ".db", "notes.txt"):
            (self.directory / name).write_text("")
        self.assertEqual(find_shelves(self.directory), [])
        self.assertRaises(ShelfError, find_shelves, self.directory / "notes.txt")


class DamageTests(ShelfCase):
    def check_damaged(self, name: str, data: bytes) -> None:
        """Check that a shelf with this file is refused in one line, and not changed."""
        (self.directory / name).write_bytes(data)
        before = self.files()
        error = self.assertRaises(ShelfError, read_shelf, Shelf("Greeter", self.directory / "Greeter.db"))
        self.assertIn("Greeter.db", str(error))
        self.assertNotIn("\n", str(error))
        self.assertEqual(self.files(), before)

    def test_damaged(self) -> None:
        """A damaged file of a shelf is refused in one line."""
        self.check_damaged("Greeter.db", b"nonsense")
        self.check_damaged("Greeter.db", b"SQLite format 3\0 and nothing more")
        (self.directory / "Greeter.db").unlink()
        self.shelve("Greeter", VALUES)
        self.check_damaged("Greeter.db.dir", b"'d', (0, 'x')\n__import__('os')\n")
        self.check_damaged("Greeter.db.dir", b"\xff\xfe")
        self.check_damaged("Greeter.db.dir", b"'\xff', (0, 5)\n")

    def check_sqlite(self, *statements: str) -> str:
        """Check that a database created by the statements is refused, and return the error."""
        path = self.directory / "Greeter.db"
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)
        text = str(self.assertRaises(ShelfError, read_shelf, Shelf("Greeter", path)))
        self.assertIn(str(path), text)
        return text

    def test_odd_sqlite(self) -> None:
        """A database that isn't a shelf is refused: NULL values, no table Dict, or an endless view."""
        for null in ("NULL, x'00'", "'a', NULL"):
            text = self.check_sqlite("CREATE TABLE Dict (key, value)", f"INSERT INTO Dict VALUES ({null})")
            self.assertIn("NULL", text)
            self.assertEqual(unimported(self.directory, ()), ["Greeter"])
        endless = "WITH RECURSIVE r (a) AS (SELECT 'x' UNION ALL SELECT a FROM r) SELECT a AS key, a AS value FROM r"
        for statement in ("CREATE TABLE Other (key, value)", f"CREATE VIEW Dict AS {endless}"):
            self.assertIn("no table Dict", self.check_sqlite(statement))
            self.assertEqual(unimported(self.directory, ()), [])

    def test_pipes(self) -> None:
        """A pipe in place of a file doesn't block."""
        self.shelve("Greeter", VALUES)
        for name in ("Greeter.db.dir", "Greeter.db.pag", "Greeter.db"):
            pipe = self.directory / name
            pipe.unlink(missing_ok=True)
            os.mkfifo(pipe)
            error = self.assertRaises(ShelfError, read_shelf, Shelf("Greeter", self.directory / "Greeter.db"))
            self.assertIn("not a regular file", str(error))
            self.assertEqual(unimported(self.directory, ()), ["Greeter"])
            pipe.unlink()

    def test_names(self) -> None:
        """Control characters in names of files are escaped in errors."""
        (self.directory / "e\nv\x1b[31m.db").write_text("nonsense")
        [shelf] = find_shelves(self.directory)
        text = str(self.assertRaises(ShelfError, read_shelf, shelf))
        self.assertIn("e\\nv\\x1b[31m.db", text)
        self.assertTrue(text.isprintable())
        self.assertEqual(unimported(self.directory, ()), ["e\\nv\\x1b[31m"])

    def test_missing_part(self) -> None:
        """The error about a missing index says that errbot was killed."""
        self.shelve("Greeter", VALUES)
        (self.directory / "Greeter.db.dir").unlink()
        shelf = Shelf("Greeter", self.directory / "Greeter.db")
        self.assertIn("errbot was killed before it wrote it", str(self.assertRaises(ShelfError, read_shelf, shelf)))

    def test_never_written(self) -> None:
        """A shelf without values is empty."""
        (self.directory / "Greeter.db.dat").touch()
        self.assertEqual(read_shelf(Shelf("Greeter", self.directory / "Greeter.db")), {})


class PlanTests(ShelfCase):
    def plan(
        self,
        imported: Collection[str] = (),
        present: Mapping[tuple[str, str], bytes] = MappingProxyType({}),
        force: bool = False,
        verdict: NameStatus = NameStatus.ALLOWED,
        trusted: Collection[str] = (),
    ) -> ImportPlan:
        """Return the plan of an import."""
        plan = ImportPlan(imported, present, force, lambda *name: verdict, trusted)
        for shelf in find_shelves(self.directory):
            plan.add(shelf)
        return plan

    def test_values_are_taken_as_they_are(self) -> None:
        """The bytes of all values are imported unchanged."""
        shelf = self.shelve("Greeter", VALUES)
        self.shelve("Empty", {})
        self.shelve("core", {"configs": {}})
        plan = self.plan()
        self.assertEqual({key: data for namespace, key, data in plan.rows if namespace == "Greeter"}, read_shelf(shelf))
        self.assertEqual((plan.notes, plan.problems), (["Greeter: 4 values imported", "core: 1 value imported"], []))

    def test_what_is_there_stays(self) -> None:
        """A key with a different present value is a problem, and is replaced only with `force`."""
        self.shelve("Greeter", VALUES)
        present = {("Greeter", "none"): pickle.dumps(1), ("Other", "d"): b""}
        plan = self.plan(present=present)
        self.assertEqual((sorted(key for _, key, _ in plan.rows), plan.replaced), (["d", "when", "é"], set()))
        self.assertEqual(len(plan.problems), 1)
        self.assertIn("Greeter: 'none' not imported from", plan.problems[0])
        self.assertIn("use --force to replace them", plan.problems[0])
        self.assertEqual(plan.done, [])
        forced = self.plan(present=present, force=True)
        self.assertEqual((len(forced.rows), forced.replaced), (4, {("Greeter", "none")}))
        self.assertEqual((forced.problems, forced.done), ([], ["Greeter"]))

    def test_what_is_there_and_the_same(self) -> None:
        """A key with an equal present value is no problem."""
        shelf = self.shelve("Greeter", VALUES)
        taken = {("Greeter", key): data for key, data in read_shelf(shelf).items()}
        for present in (taken, taken | {("Greeter", "d"): pickle.dumps(VALUES["d"], 5)}):
            plan = self.plan(present=present)
            self.assertEqual((plan.rows, plan.problems, plan.done), ([], [], ["Greeter"]))

    def test_refused(self) -> None:
        """A value with a refused name stays in its shelf; the line has the option that allows it."""
        self.shelve("Greeter", {"d": {}, "amount": Decimal(1)})
        plan = self.plan(verdict=NameStatus.REFUSED)
        self.assertEqual(([key for _, key, _ in plan.rows], plan.done), (["d"], []))
        self.assertEqual(len(plan.problems), 1)
        self.assertIn("Greeter: 'amount' uses decimal.Decimal", plan.problems[0])
        self.assertIn("--trust decimal.Decimal", plan.problems[0])
        trusting = self.plan(verdict=NameStatus.REFUSED, trusted=["decimal.Decimal"])
        self.assertEqual((len(trusting.rows), trusting.problems, trusting.done), (2, [], ["Greeter"]))

    def test_databases_of_plugins(self) -> None:
        """A plugin's own database is ignored."""
        self.shelve("Greeter", VALUES)
        with closing(sqlite3.connect(self.directory / "cache.db")) as connection:
            connection.execute("CREATE TABLE pages (url, text)")
        plan = self.plan()
        self.assertEqual((plan.done, plan.problems), (["Greeter"], []))
        self.assertIn("cache: ", plan.notes[1])
        self.assertEqual(unimported(self.directory, ["Greeter"]), [])

    def test_once(self) -> None:
        """An imported shelf isn't imported again without `force`, so removed values don't come back."""
        self.shelve("Greeter", VALUES)
        self.assertEqual(self.plan().done, ["Greeter"])
        plan = self.plan(imported=["Greeter"])
        self.assertEqual((plan.rows, plan.done), ([], []))
        self.assertIn("--force", plan.notes[0])
        self.assertEqual(len(self.plan(imported=["Greeter"], force=True).rows), 4)

    def test_missing_classes(self) -> None:
        """A value with a missing class is imported, and a line names the class."""
        self.shelve("Greeter", {"d": {}, "amount": Decimal(1)})
        plan = self.plan(verdict=NameStatus.MISSING)
        self.assertEqual((len(plan.rows), plan.problems), (2, []))
        self.assertIn(
            "'amount' is kept as it is, and can be read when the plugin defines decimal.Decimal", plan.notes[0]
        )

    def test_a_damaged_value(self) -> None:
        """A damaged value stays in the shelf and is reported; others are imported."""
        self.shelve("Greeter", {"a": "x" * 10, "b": "y" * 1000})
        data = self.directory / "Greeter.db.dat"
        data.write_bytes(data.read_bytes()[:-600])
        plan = self.plan()
        self.assertEqual(([key for _, key, _ in plan.rows], plan.done), (["a"], []))
        self.assertEqual(len(plan.problems), 1)
        self.assertIn("Greeter: 'b' is damaged", plan.problems[0])

    def test_a_damaged_shelf(self) -> None:
        """A shelf that can't be read is reported in one line; others are imported."""
        self.shelve("A", VALUES)
        self.shelve("B", VALUES)
        (self.directory / "A.db.dir").write_text("nonsense(")
        plan = self.plan()
        self.assertEqual(plan.done, ["B"])
        self.assertEqual(len(plan.problems), 1)
        self.assertTrue(plan.problems[0].startswith("A: "))

    def test_unimported(self) -> None:
        """Shelves with values, and shelves that can't be read, wait for an import."""
        self.shelve("Greeter", VALUES)
        self.shelve("Empty", {})
        (self.directory / "Odd.db").write_text("nonsense")
        self.assertEqual(unimported(self.directory, ()), ["Greeter", "Odd"])
        self.assertEqual(unimported(self.directory, {"Greeter"}), ["Odd"])

    def test_imported(self) -> None:
        """Invalid entries in the list of imported shelves are ignored."""
        with closing(SQLiteStorage(self.directory / "file")) as storage:
            namespace, key = MARK
            self.assertEqual(imported_shelves(storage), [])
            for value in (None, 5, "A", {"A": 1}):
                storage.open(namespace).set(key, value)
                self.assertEqual(imported_shelves(storage), [])
            storage.open(namespace).set(key, ["A", ["B"], "C"])
            self.assertEqual(imported_shelves(storage), ["A", "C"])
            storage.put([(namespace, key, b"cgone\nThing\n)\x81.")])
            self.assertEqual(imported_shelves(storage), [])

    def test_settled(self) -> None:
        """The flag that a bot has started is stored; other values under its key are ignored."""
        with closing(SQLiteStorage(self.directory / "file")) as storage:
            namespace, key = SETTLED
            for value in (False, "yes", {}):
                storage.open(namespace).set(key, value)
                self.assertFalse(is_settled(storage))
            storage.open(namespace).remove(key)
            self.assertFalse(is_settled(storage))
            settle(storage)
            self.assertTrue(is_settled(storage))


class NamesTests(SynchronousTestCase):
    """`names_in`: the names in a pickle, found without executing it."""

    def test_all_protocols(self) -> None:
        """Each class is found in every protocol, by its Python 3 name."""
        value = [datetime(2020, 1, 1), Decimal(1), Decimal(2), OrderedDict(a=1), {1}]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            names = names_in(pickle.dumps(value, protocol))
            wanted = {("datetime", "datetime"), ("decimal", "Decimal"), ("collections", "OrderedDict")}
            self.assertLessEqual(wanted, names, protocol)
            self.assertLessEqual(names, wanted | {("builtins", "set"), ("_codecs", "encode")})

    def test_nothing_is_run(self) -> None:
        """No call in the pickle is executed."""
        ran = Path(self.mktemp())
        code = f"cbuiltins\nexec\n(Vopen({str(ran)!r}, 'w')\ntR.".encode()
        self.assertEqual(names_in(code), {("builtins", "exec")})
        self.assertRaises(ValueError, plain_value, code)
        self.assertFalse(ran.exists())

    def test_damaged(self) -> None:
        """Bytes that aren't exactly one pickle raise DamagedPickle."""
        for data in (b"", b"nonsense", pickle.dumps([1, 2])[:-1], pickle.dumps(1) + b"x"):
            self.assertRaises(DamagedPickle, names_in, data)

    @given(st.binary(max_size=50))
    def check_anything(self, data: bytes) -> None:
        """Read the names in the bytes."""
        try:
            names_in(data)
        except DamagedPickle as error:
            self.assertNotIn("\n", str(error))

    def test_anything(self) -> None:
        """Any bytes are either understood or refused."""
        self.check_anything()
