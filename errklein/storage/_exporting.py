"""The export of values to shelves that errbot reads: their pickles, and files of dbm.dumb, which every Python reads."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from dbm import dumb
from io import BytesIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from errklein.storage._errors import StorageError
from errklein.storage._restricted_pickling import PickledName, PickledObject, RecordingUnpickler
from errklein.storage._shelves import PARTS, Shelf
from errklein.storage.pickling import FindClass
from errklein.text.errors import one_line


class NotExportable(Exception):
    """errbot couldn't read the value; `str()` is the reason."""


def rewritten(data: bytes, find: FindClass, reduce: Callable[[object], tuple[Any, ...] | None]) -> bytes:
    """Return the pickle with other names; raises NotExportable. No code of a plugin is imported or executed.

    `find` returns the PickledName to write for a module and a name, or a class. `reduce` returns how to write instances of
    such a class, as `object.__reduce__` does, and None for any other object.
    """
    buffer = BytesIO()
    try:
        # Protocol 4 writes names of nested classes as they are.
        pickler = _RenamingPickler(buffer, 4)
        pickler.reduce = reduce
        pickler.dump(RecordingUnpickler(BytesIO(data), find).load())
    except NotExportable:
        raise
    except Exception as error:
        raise NotExportable(one_line(error)) from error
    return buffer.getvalue()


def write_shelves(
    directory: Path, shelves: Mapping[str, Mapping[str, bytes]], replaced: Iterable[Shelf]
) -> Path | None:
    """Write a shelf for each namespace, and move `replaced` ones to a new directory, which is returned; raises StorageError."""
    parts = (shelf.path.with_name(shelf.path.name + part) for shelf in replaced for part in PARTS)
    moved = [path for path in parts if path.is_file()]
    kept = next(path for number in count(1) if not (path := directory / f"before-export-{number}").exists())
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".shelves-", dir=directory) as temporary:
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


class _RenamingPickler(pickle._Pickler):
    """Python's implementation, since `save_global` can't be overridden in C."""

    reduce: Callable[[object], tuple[Any, ...] | None]
    save: Callable[[object], None]
    write: Callable[[bytes], None]
    memoize: Callable[[object], None]

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, PickledName):
            return value.name
        if isinstance(value, PickledObject):
            return value.function, value.args, value.state, iter(value.items), iter(value.pairs)
        return self.reduce(value) or NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if not isinstance(obj, PickledName):
            raise NotExportable(f"it contains {obj!r}")
        self.save(obj.module)
        self.save(obj.name)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)
