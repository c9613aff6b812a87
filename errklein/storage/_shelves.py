"""errbot's shelves, `<namespace>.db` in its data directory: found and read, never written or run.

A shelf is a dbm file of whatever kind Python had there, which may be several files: `.db.dat` and `.db.dir` (dumb),
`.db.db` or `.db.pag` (ndbm), `.db` (GNU's or SQLite). Each value is a pickle, which is taken as it is.
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

_PARTS = ("", ".dat", ".dir", ".db", ".pag")
"""Suffixes of a shelf's files after `.db`, of all kinds of dbm."""

_FILE = re.compile(r"(.+?)\.db(?:\.dat|\.db|\.pag)?", re.DOTALL)
"""The name of a file that only a shelf has, after the namespace; each kind of dbm has one."""

_SQLITE = b"SQLite format 3\0"


class ShelfError(StorageError):
    """A shelf can't be read; `str()` is one line."""


class NotAShelf(ShelfError):
    """The file is a database but not a shelf, such as a plugin's own; `str()` is one line."""


@dataclass(frozen=True)
class Shelf:
    """The shelf of a namespace; `path` is what errbot calls its file, to which dbm may have added an ending."""

    namespace: str
    path: Path


def find_shelves(directory: Path) -> list[Shelf]:
    """The shelves that lie in the directory, by namespace; raises ShelfError if it can't be read."""
    try:
        names = [path.name for path in directory.iterdir() if path.is_file()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ShelfError(f"{directory}: {error.strerror}") from error
    found = {match[1] for match in map(_FILE.fullmatch, names) if match}
    return [Shelf(namespace, directory / f"{namespace}.db") for namespace in sorted(found)]


def read_shelf(shelf: Shelf) -> dict[str, bytes]:
    """The pickles in the shelf by their keys; raises ShelfError. The shelf is opened for reading only."""
    try:
        return {_decoded(shelf.path, key): data for key, data in _items(shelf.path)}
    except ShelfError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) == errno.EAGAIN:
            # Only GNU's kind has locks.
            raise ShelfError(f"{shelf.path}: another program holds the shelf: stop errbot first") from None
        # A damaged index of the dumb kind raises whatever Python does with nonsense; errors of dbm are of many types.
        raise ShelfError(
            f"{shelf.path}: the shelf can't be read ({type(error).__name__}: {one_line(error)})"
        ) from error


def may_have_values(shelf: Shelf) -> bool:
    """Whether there is anything in the shelf; also true of one that can't be read. No more is read than it takes."""
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
        raise ShelfError(f"{path}: {key!r} is no key of a shelf's; expected UTF-8") from None


def _items(path: Path) -> Generator[tuple[bytes, bytes], None, None]:
    for part in (path.with_name(path.name + suffix) for suffix in _PARTS):
        if part.exists() and not part.is_file():
            # To open a pipe would be to wait for ever.
            raise ShelfError(f"{path}: {part.name} is no regular file, so this is no shelf")
    kind = _kind(path)
    if kind == "dbm.sqlite3":
        yield from _sqlite_items(path)
        return
    if kind == "dbm.dumb" and not path.with_name(path.name + ".dir").exists():
        # The index of this kind is written when the shelf is closed.
        if path.with_name(path.name + ".dat").stat().st_size == 0:
            return
        raise ShelfError(
            f"{path}: the shelf's index, {path.name}.dir, isn't there; errbot was killed before it wrote it"
        )
    try:
        module = import_module(kind)
    except ImportError:
        raise ShelfError(
            f"{path}: this Python has no module {kind}, which the shelf was made with: run this with a Python that has it, "
            "such as the one that errbot ran with"
        ) from None
    with closing(module.open(str(path), "r")) as opened:
        for key in opened.keys():  # noqa: SIM118 - a dbm of GNU's is no mapping
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
    raise ShelfError(f"{path}: this is no shelf, or a damaged one")


_IS_TABLE = "SELECT 1 FROM sqlite_master WHERE name = 'Dict' AND type = 'table' AND rootpage > 0"


def _sqlite_items(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Read a copy: SQLite writes beside a file that is in WAL mode even if it only reads it."""
    with tempfile.TemporaryDirectory(prefix="errklein-shelf-") as directory:
        copy = Path(directory) / "shelf"
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            if source.is_file():
                shutil.copyfile(source, f"{copy}{suffix}")
        with closing(sqlite3.connect(copy)) as connection:
            # A view may have no end, and a virtual table, which has no page of its own, does what its module wants.
            if not connection.execute(_IS_TABLE).fetchone():
                raise NotAShelf(f"{path}: not a shelf, since it has no table Dict")
            for key, data in connection.execute("SELECT CAST(key AS BLOB), CAST(value AS BLOB) FROM Dict"):
                if not (isinstance(key, bytes) and isinstance(data, bytes)):
                    raise ShelfError(f"{path}: this is no shelf: a key or value in it is NULL")
                yield key, data
