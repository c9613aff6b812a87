"""Values are rewritten with errbot's names, and shelves are written for every Python."""

from __future__ import annotations

import os
import pickle
import shelve
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.storage import DamagedPickle, NotExportable, PickledName, StorageError, names_in, rewritten, write_shelves
from errklein.storage._shelves import find_shelves


class Options:
    """An object whose `__new__` takes keyword arguments."""

    size: int

    def __new__(cls, *, size: int) -> Options:
        """Set the size."""
        made = super().__new__(cls)
        made.size = size
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, int]]:
        return (), {"size": self.size}


class Table(dict[Any, Any]):
    """A dict with attributes and a reference to itself."""

    owner: object = None


@dataclass
class Outer:
    """A class with a nested class."""

    inner: object

    @dataclass
    class Inner:
        """A nested class."""

        number: int


def unchanged(data: bytes) -> Any:
    """Rewrite the pickle with the same names, and return its value."""
    return pickle.loads(rewritten(data, PickledName, lambda value: None))


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.datetimes()
    | st.uuids()
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.dates(), inner)
        | st.frozensets(st.integers() | st.fractions())
        | st.sets(st.text())
        | st.lists(inner).map(deque)
        | st.dictionaries(st.text(), inner).map(OrderedDict)
    ),
    max_leaves=10,
)


class RewritingTests(SynchronousTestCase):
    """Pickles of all kinds."""

    @given(plain, st.integers(0, pickle.HIGHEST_PROTOCOL))
    def test_any_value(self, value: Any, protocol: int) -> None:
        """A value with unchanged names is equal, whatever the protocol of its pickle."""
        self.assertEqual(unchanged(pickle.dumps(value, protocol)), value)

    def test_objects(self) -> None:
        """Objects keep their state, their items and their identity."""
        table = Table({Outer.Inner(1).number: Counter("aab")})
        table.owner = table
        shared = [Decimal("1.10"), datetime(2020, 1, 1, tzinfo=UTC)]
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            found, one, two, size = unchanged(pickle.dumps([table, shared, shared, Options(size=4)], protocol))
            self.assertEqual((found[1], one, size.size), (Counter("aab"), shared, 4))
            self.assertIs(found.owner, found)
            self.assertIs(one, two)
        outer = Outer(Outer.Inner(3))
        self.assertEqual(unchanged(pickle.dumps([outer, Outer.Inner])), [outer, Outer.Inner])

    def test_other_names(self) -> None:
        """Names are replaced, those of classes as well as those of functions."""
        data = pickle.dumps([OrderedDict(a=1), os.path.join])
        names = {"OrderedDict": ("builtins", "dict"), "join": ("os.path", "split")}
        value = pickle.loads(rewritten(data, lambda module, name: PickledName(*names[name]), lambda value: None))
        self.assertEqual(value, [{"a": 1}, os.path.split])
        self.assertIs(type(value[0]), dict)

    def test_changed_names(self) -> None:
        """A pickle can't change a name after it was looked up."""
        changed = b"\x80\x04cos\ngetcwd\n}\x8c\x04name\x8c\x06systemsb."
        self.assertRaises(NotExportable, unchanged, changed)
        self.assertRaises(DamagedPickle, names_in, changed)

    def test_refused(self) -> None:
        """A damaged pickle, and one that contains what has no name, are errors with the reason."""
        for data in (b"", b"\x80\x05", b"nonsense", pickle.dumps([1])[:-3]):
            self.assertRaises(NotExportable, unchanged, data)
        self.assertRaises(
            NotExportable, rewritten, pickle.dumps(Decimal(1)), lambda module, name: Decimal, lambda value: None
        )


class ShelvesTests(SynchronousTestCase):
    """The files."""

    def setUp(self) -> None:
        """Choose a directory that doesn't exist yet."""
        self.directory = Path(self.mktemp()).absolute() / "data"

    def test_written(self) -> None:
        """Python's shelve reads the shelves, and only their owner can."""
        values = {"a": 1, "": "empty", "é\n'\"\U0001f600": None, "k" * 3000: b"\0" * 100_000}
        pickles = {key: pickle.dumps(value) for key, value in values.items()}
        self.assertIsNone(write_shelves(self.directory, {"My Plugin é": pickles, "core": {}}, []))
        with shelve.open(str(self.directory / "My Plugin é.db"), "r") as shelf:
            self.assertEqual(dict(shelf), values)
        self.assertEqual({path.stat().st_mode & 0o777 for path in self.directory.iterdir()}, {0o600})
        self.assertEqual([shelf.namespace for shelf in find_shelves(self.directory)], ["My Plugin é", "core"])

    def test_replaced(self) -> None:
        """Replaced shelves of any kind are moved, each time to a new directory."""
        self.directory.mkdir(parents=True)
        names = ["A.db", "A.db-wal", "A.db.bak", "A.db.pag", "B.db.db", "Other.db"]
        for name in names:
            (self.directory / name).write_text(name)
        [*replaced, other] = find_shelves(self.directory)
        kept = write_shelves(self.directory, {"A": {"a": pickle.dumps(1)}}, replaced)
        assert kept is not None
        self.assertEqual(kept, self.directory / "before-export-1")
        self.assertEqual(sorted(path.name for path in kept.iterdir()), names[:-1])
        self.assertEqual({path.name: path.read_text() for path in kept.iterdir()}, {name: name for name in names[:-1]})
        self.assertTrue(other.path.exists())
        again = write_shelves(self.directory, {"A": {"a": pickle.dumps(2)}}, find_shelves(self.directory)[:1])
        self.assertEqual(again, self.directory / "before-export-2")

    def test_unwritable(self) -> None:
        """A file that can't be written is an error with the directory."""
        self.directory.parent.mkdir(parents=True)
        self.directory.write_text("a file")
        error = self.assertRaises(StorageError, write_shelves, self.directory, {}, [])
        self.assertIn(str(self.directory), str(error))
