"""The export of values to shelves that errbot reads: their pickles, and files of dbm.dumb, which every Python reads."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from dbm import dumb
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from errklein.storage._errors import StorageError
from errklein.storage._restricted_pickling import RestrictedUnpickler
from errklein.storage._shelves import PARTS, Shelf
from errklein.storage.pickling import FindClass
from errklein.text.errors import one_line


class NotExportable(Exception):
    """errbot couldn't read the value; `str()` is the reason."""


@dataclass(frozen=True)
class PickledName:
    """A class or function in a pickle. It is never imported, and written by its name alone."""

    module: str
    name: str

    def __call__(self, *args: object) -> PickledObject:
        """Record a call."""
        return PickledObject(self, args)


@dataclass(eq=False)
class PickledObject:
    """An object in a pickle, as the call that creates it and what is added to it afterwards."""

    function: PickledName | PickledObject
    args: tuple[object, ...]
    state: object = None
    items: list[object] = field(default_factory=list)
    pairs: list[tuple[object, object]] = field(default_factory=list)

    def __call__(self, *args: object) -> PickledObject:
        """Record a call."""
        return PickledObject(self, args)

    def __setstate__(self, state: object) -> None:
        """Record the state."""
        self.state = state

    def append(self, item: object) -> None:
        """Record an item of a list."""
        self.items.append(item)

    def __setitem__(self, key: object, value: object) -> None:
        """Record an item of a mapping."""
        self.pairs.append((key, value))


Reduction = tuple[PickledName, tuple[object, ...]] | tuple[PickledName, tuple[object, ...], object]
"""The call that creates an object, and its state, as `object.__reduce__` returns them."""


def rewritten(data: bytes, find: FindClass, reduce: Callable[[object], Reduction | None]) -> bytes:
    """Return the pickle with other names. No code of a plugin is imported or executed.

    :param find: Takes a module and a name in the pickle; returns the PickledName to write instead, or a class whose
        instances are created and passed to `reduce`.
    :param reduce: Returns how to write such an instance; None for any other object.
    :raises NotExportable: if the pickle is damaged, or nested too deeply. Errors of `find` and `reduce` are raised as they are.
    """
    buffer = BytesIO()
    try:
        _RenamingPickler(buffer, reduce).dump(_RecordingUnpickler(BytesIO(data), find).load())
    except NotExportable:
        raise
    except Exception as error:
        raise NotExportable(one_line(error)) from error
    return buffer.getvalue()


def write_shelves(
    directory: Path, shelves: Mapping[str, Mapping[str, bytes]], replaced: Iterable[Shelf]
) -> Path | None:
    """Write the pickles by namespace and key, each namespace to a shelf in the directory.

    :param replaced: Shelves that are moved to a new directory first.
    :return: That directory, or None if there was nothing to move.
    :raises StorageError: if a file can't be written.
    """
    moved = [
        path for shelf in replaced for part in PARTS if (path := shelf.path.with_name(shelf.path.name + part)).is_file()
    ]
    kept = None
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".shelves-", dir=directory) as temporary:
            for namespace, values in shelves.items():
                with dumb.open(f"{temporary}/{namespace}.db", "n", 0o600) as opened:
                    for key, data in values.items():
                        opened[key.encode()] = data
            if moved:
                kept = _new_directory(directory)
                for path in moved:
                    path.rename(kept / path.name)
            for path in Path(temporary).iterdir():
                path.rename(directory / path.name)
    except OSError as error:
        raise StorageError(f"can't write shelves to {directory}: {error.strerror}") from error
    return kept


def _new_directory(directory: Path) -> Path:
    """Create a directory for the replaced shelves, which never replaces those of an earlier export."""
    number = 1
    while True:
        path = directory / f"before-export-{number}"
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
        else:
            return path


class _RecordingUnpickler(RestrictedUnpickler):
    """An unpickler that records the calls of the names for which it gets a PickledName."""

    def _new(self) -> None:
        args = self.stack.pop()
        self._create(self.stack.pop(), args)

    def _new_with_options(self) -> None:
        options = self.stack.pop()
        args = self.stack.pop()
        self._create(self.stack.pop(), args, options)

    def _create(self, cls: Any, args: tuple[object, ...], options: dict[str, object] | None = None) -> None:
        if isinstance(cls, type):
            self.stack.append(cls.__new__(cls, *args, **(options or {})))
        elif options is None:
            self.stack.append(PickledObject(PickledName("copyreg", "__newobj__"), (cls, *args)))
        else:
            self.stack.append(PickledObject(PickledName("copyreg", "__newobj_ex__"), (cls, args, options)))

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **RestrictedUnpickler.dispatch,
        pickle.NEWOBJ[0]: _new,
        pickle.NEWOBJ_EX[0]: _new_with_options,
    }


class _RenamingPickler(pickle._Pickler):
    """A pickler that writes recorded names and calls. Python's implementation, since `save_global` can't be overridden in C."""

    save: Callable[[object], None]
    write: Callable[[bytes], None]
    memoize: Callable[[object], None]

    def __init__(self, file: BytesIO, reduce: Callable[[object], Reduction | None]) -> None:
        # Protocol 4 writes names of nested classes as they are.
        super().__init__(file, 4)
        self._reduce = reduce

    def reducer_override(self, value: object) -> Any:
        """Return how to write the object. Called by pickle."""
        if isinstance(value, PickledName):
            return value.name
        if isinstance(value, PickledObject):
            return value.function, value.args, value.state, iter(value.items), iter(value.pairs)
        return self._reduce(value) or NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write a name. Called by pickle."""
        if not isinstance(obj, PickledName):
            raise NotExportable(f"it contains {obj!r}")
        for text in (obj.module, obj.name):
            self.save(text)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)
