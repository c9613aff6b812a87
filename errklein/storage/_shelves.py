"""Reader for errbot's shelves: dbm files named `<namespace>.db` in its data directory. It changes none.

A shelf is of the dbm kind that errbot's Python used, and may consist of several files: `.db.dat` and `.db.dir` (dumb),
`.db.db` or `.db.pag` (ndbm), `.db` (GNU or SQLite). Each value is a pickle, which is returned as bytes.
"""

from __future__ import annotations

import dbm
import errno
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from errklein.storage._errors import StorageError
from errklein.text.errors import one_line

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
    """Return the shelves in the directory, sorted by namespace; raises ShelfError if it can't be read."""
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
        raise ShelfError(
            f"the index {path.name}.dir of the shelf {path} is missing; errbot was killed before it wrote it"
        )
    try:
        module = import_module(kind)
    except ImportError:
        raise ShelfError(
            f"the shelf {path} needs {kind}, and this Python has no module {kind}; "
            "run this command with a Python that has it, such as the one that errbot used"
        ) from None
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
    """Yield the items of a copy of the shelf.

    SQLite writes files beside a database in WAL mode, even when it only reads.
    """
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
