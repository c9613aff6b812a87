"""errbot's shelves: dbm files named `<namespace>.db` in its data directory. A shelf is of the dbm kind that errbot's Python used,
and may consist of several files: `.db.dat` and `.db.dir` (dumb), `.db.db` or `.db.pag` (ndbm), `.db` (GNU or SQLite). Values are
pickles, which are returned as bytes. Reading changes no shelf. An export writes files of dbm.dumb, which every Python reads."""

from __future__ import annotations

import dbm
import errno
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from dbm import dumb
from importlib import import_module
from itertools import count
from pathlib import Path

from errklein.database import StorageError
from errklein.logs import escape
from errklein.ports.values import Storage
from errklein.storage.pickling import DamagedPickle, Judge, Row, UnreadableValue, check_value, plain_value
from errklein.text.errors import one_line

MARK = ("core", "imported_shelves")
"""The namespace and key of the list of shelves that were imported completely. Later imports skip them, so they don't
restore values that plugins have removed since."""

SETTLED = ("core", "import_settled")  # the namespace and key of the flag `is_settled`, which is True or missing

PARTS = ("", ".dat", ".dir", ".bak", ".db", ".pag", "-wal", "-shm")
"""The suffixes after `.db` of a shelf's files, for all kinds of dbm."""

_FILE = re.compile(r"(.+?)\.db(?:\.dat|\.db|\.pag)?", re.DOTALL)
"""The name of the one file of a shelf, of any kind of dbm, that identifies it; the group is the namespace."""

_SQLITE = b"SQLite format 3\0"


class ShelfError(StorageError):
    """A shelf can't be read; `str()` is one line with its path."""


class NotAShelf(ShelfError):
    """The file is a database but not a shelf, such as a plugin's own; `str()` is one line with its path."""


@dataclass(frozen=True)
class Shelf:
    """The shelf of a namespace. `path` is errbot's name for it; dbm may have added a suffix to it."""

    namespace: str
    path: Path


def find_shelves(directory: Path) -> list[Shelf]:
    try:
        names = [path.name for path in directory.iterdir() if path.is_file()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ShelfError(f"can't read the directory {directory}: {error.strerror}") from error
    found = {match[1] for match in map(_FILE.fullmatch, names) if match}
    return [Shelf(namespace, directory / f"{namespace}.db") for namespace in sorted(found)]


def read_shelf(shelf: Shelf) -> dict[str, bytes]:
    """Return the pickles in the shelf by key; raises ShelfError. The shelf is opened for reading only."""
    try:
        return {_decoded(shelf.path, key): data for key, data in _items(shelf.path)}
    except ShelfError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) == errno.EAGAIN:
            # Only GNU dbm has locks.
            raise ShelfError(f"the shelf {shelf.path} is open in another program; stop errbot first") from None
        # Each kind of dbm has its own errors, and a damaged index of the dumb kind raises any error.
        raise ShelfError(f"can't read the shelf {shelf.path} ({type(error).__name__}: {one_line(error)})") from error


def may_have_values(shelf: Shelf) -> bool:
    """Return whether the shelf has a value or can't be read. At most one value is read."""
    try:
        with closing(_items(shelf.path)) as items:
            return next(items, None) is not None
    except NotAShelf:
        return False
    except Exception:
        # `read_shelf` reports it.
        return True


def _decoded(path: Path, key: bytes) -> str:
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        raise ShelfError(f"{path} is not a shelf: its key {key!r} is not UTF-8") from None


def _items(path: Path) -> Generator[tuple[bytes, bytes], None, None]:
    for part in (path.with_name(path.name + suffix) for suffix in PARTS):
        if part.exists() and not part.is_file():
            # Opening a pipe would block.
            raise ShelfError(f"{path} is not a shelf: {part.name} is not a regular file")
    kind = _kind(path)
    if kind == "dbm.sqlite3":
        yield from _sqlite_items(path)
        return
    if kind == "dbm.dumb" and not path.with_name(path.name + ".dir").exists():
        # dbm.dumb writes the index when the shelf is closed.
        if path.with_name(path.name + ".dat").stat().st_size == 0:
            return
        missing = f"the index {path.name}.dir of the shelf {path} is missing"
        raise ShelfError(f"{missing}; errbot was killed before it wrote it")
    try:
        module = import_module(kind)
    except ImportError:
        remedy = "run this command with a Python that has it, such as the one that errbot used"
        raise ShelfError(f"the shelf {path} needs {kind}, and this Python has no module {kind}; {remedy}") from None
    with closing(module.open(str(path), "r")) as opened:
        for key in opened.keys():  # noqa: SIM118 - an object of dbm.gnu is not iterable
            yield bytes(key), bytes(opened[key])


def _kind(path: Path) -> str:
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) == _SQLITE:
                return "dbm.sqlite3"
    if path.with_name(path.name + ".dat").is_file():
        return "dbm.dumb"
    kind = dbm.whichdb(str(path))
    if kind:
        return kind
    if any(path.with_name(path.name + suffix).is_file() for suffix in (".db", ".pag")):
        return "dbm.ndbm"
    raise ShelfError(f"{path} is not a shelf, or it is damaged")


_IS_TABLE = "SELECT 1 FROM sqlite_master WHERE name = 'Dict' AND type = 'table' AND rootpage > 0"


def _sqlite_items(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the items of a copy of the shelf. SQLite writes files beside a database in WAL mode, even when it only reads."""
    with tempfile.TemporaryDirectory(prefix="errklein-shelf-") as directory:
        copy = Path(directory) / "shelf"
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            if source.is_file():
                shutil.copyfile(source, f"{copy}{suffix}")
        with closing(sqlite3.connect(copy)) as connection:
            # A view may be endless, and a virtual table, which has no root page, executes the code of its module.
            if not connection.execute(_IS_TABLE).fetchone():
                raise NotAShelf(f"{path} is not a shelf, since it has no table Dict")
            for key, data in connection.execute("SELECT CAST(key AS BLOB), CAST(value AS BLOB) FROM Dict"):
                if not (isinstance(key, bytes) and isinstance(data, bytes)):
                    raise ShelfError(f"{path} is not a shelf: a key or value is NULL")
                yield key, data


@dataclass
class ImportPlan:
    """The plan of an import of shelves, made without unpickling a value. `imported` shelves are skipped, and `present`
    values, by namespace and key, are not replaced, unless `force`. A value that uses a name that is neither allowed by
    `judge` nor `trusted` stays in its shelf."""

    imported: Collection[str]
    present: Mapping[tuple[str, str], bytes]
    force: bool
    judge: Judge
    trusted: Collection[str] = ()
    rows: list[Row] = field(default_factory=list, init=False)  # the values to store
    replaced: set[tuple[str, str]] = field(default_factory=set, init=False)
    """The present values that are replaced, by namespace and key."""
    done: list[str] = field(default_factory=list, init=False)
    """The namespaces of the shelves that are imported completely."""
    notes: list[str] = field(default_factory=list, init=False)  # lines for the operator that need no action
    problems: list[str] = field(default_factory=list, init=False)
    """Lines for the operator about values that stay in their shelves, each with the reason."""

    def add(self, shelf: Shelf) -> None:
        namespace = shelf.namespace
        if namespace in self.imported and not self.force:
            self.notes.append(f"{namespace}: already imported; use --force to import it again")
            return
        try:
            values = read_shelf(shelf)
        except NotAShelf as error:
            self.notes.append(f"{namespace}: {error}; it is ignored")
        except ShelfError as error:
            self.problems.append(f"{namespace}: {error}; nothing was imported from it")
        else:
            if values:
                self._add_values(shelf, values)

    def _add_values(self, shelf: Shelf, values: Mapping[str, bytes]) -> None:
        namespace = shelf.namespace
        rows_before, problems_before = len(self.rows), len(self.problems)
        kept = []
        for key, data in sorted(values.items()):
            stored = self.present.get((namespace, key))
            if stored is None or self.force:
                self._add_value(shelf, key, data)
            elif not _is_same(stored, data):
                kept.append(repr(key))
        if kept:
            why = "because the bot has stored other values under these keys; use --force to replace them"
            self.problems.append(f"{namespace}: {', '.join(kept)} not imported from {shelf.path}, {why}")
        count = len(self.rows) - rows_before
        self.notes.append(f"{namespace}: {count} {'value' if count == 1 else 'values'} imported")
        if len(self.problems) == problems_before:
            self.done.append(namespace)

    def _add_value(self, shelf: Shelf, key: str, data: bytes) -> None:
        namespace = shelf.namespace
        try:
            refusal, warning = check_value(namespace, key, data, self.judge, self.trusted)
        except DamagedPickle as error:
            self.problems.append(f"{namespace}: {key!r} is damaged in {shelf.path} ({error}); it stays there")
            return
        if refusal:
            self.problems.append(f"{refusal}; the value stays in {shelf.path}")
            return
        if warning:
            self.notes.append(warning)
        if (namespace, key) in self.present:
            self.replaced.add((namespace, key))
        self.rows.append((namespace, key, data))


def is_settled(storage: Storage) -> bool:
    """Return whether the bot has started once, with all shelves imported or with `--no-import`."""
    return _value(storage, SETTLED) is True


def settle(storage: Storage) -> None:
    namespace, key = SETTLED
    with closing(storage.open(namespace)) as store:
        store.set(key, True)


def imported_shelves(storage: Storage) -> list[str]:
    names = _value(storage, MARK)
    # `errklein storage set` can store any value under this key.
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def unimported(directory: Path, imported: Collection[str]) -> list[str]:
    """Return the escaped namespaces of the shelves in the directory that have values and aren't `imported`. A directory
    that can't be read has none. May block."""
    try:
        shelves = find_shelves(directory)
    except StorageError:
        return []
    return [escape(shelf.namespace) for shelf in shelves if shelf.namespace not in imported and may_have_values(shelf)]


def _value(storage: Storage, name: tuple[str, str]) -> object:
    namespace, key = name
    with closing(storage.open(namespace)) as store:
        try:
            value: object = store.get(key)
        except (KeyError, UnreadableValue):
            return None
    return value


def _is_same(stored: bytes, data: bytes) -> bool:
    """Return whether both pickles have the same value, as far as that can be determined without unpickling them."""
    if stored == data:
        return True
    try:
        return bool(plain_value(stored) == plain_value(data))
    except (ValueError, RecursionError):
        return False


def write_shelves(
    directory: Path, shelves: Mapping[str, Mapping[str, bytes]], replaced: Iterable[Shelf]
) -> Path | None:
    """Write a shelf for each namespace, and move `replaced` ones to a new directory, which is returned; raises StorageError."""
    parts = (shelf.path.with_name(shelf.path.name + part) for shelf in replaced for part in PARTS)
    moved = [path for path in parts if path.is_file()]
    kept = next(path for number in count(1) if not (path := directory / f"before-export-{number}").exists())
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".shelves-", dir=directory) as temporary:
            for namespace, values in shelves.items():
                with dumb.open(f"{temporary}/{namespace}.db", "n", 0o600) as opened:
                    for key, data in values.items():
                        opened[key.encode()] = data
            for path in moved:
                kept.mkdir(mode=0o700, exist_ok=True)
                path.rename(kept / path.name)
            for path in Path(temporary).iterdir():
                path.rename(directory / path.name)
    except OSError as error:
        raise StorageError(f"can't write shelves to {directory}: {error.strerror}") from error
    return kept if moved else None
