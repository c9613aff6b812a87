"""Copying of values out of and into any storage, and checks of outside values before they are stored."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing

from errklein.ports.values import Storage
from errklein.storage._restricted_pickling import DEFAULT_READER, DamagedPickle, ValueReader, names_in
from errklein.storage._sqlite import Row, SQLiteStorage
from errklein.storage.pickling import UnreadableValue, pickled


def rows_of(storage: Storage, names: Iterable[str] = ()) -> Iterator[Row]:
    """Yield all values of the storage's namespaces and of `names`. May block. A SQLiteStorage yields the stored bytes
    of one moment, even of values that can't be unpickled. Raises StorageError."""
    if isinstance(storage, SQLiteStorage):
        yield from storage.rows()
        return
    for namespace in sorted({*storage.namespaces(), *names}):
        with closing(storage.open(namespace)) as store:
            for key in sorted(set(store.keys())):
                try:
                    value = store.get(key)
                except KeyError:
                    # It was removed after the keys were listed.
                    continue
                yield namespace, key, pickled(namespace, key, value)


def put_rows(
    storage: Storage,
    rows: Iterable[Row],
    instead_of: Iterable[str] = (),
    *,
    trusted: Collection[str] | None = (),
    values: ValueReader = DEFAULT_READER,
) -> None:
    """Store the rows, after removing all values of the namespaces in `instead_of`. May block. In a SQLiteStorage this
    is one transaction that marks each value as restored, see `SQLiteStorage.put`. Other storages store objects and have
    no such mark. For them, `values` first unpickles all values with the same restrictions, so the classes that the
    values use must be importable. Raises UnreadableValue before anything is changed."""
    if isinstance(storage, SQLiteStorage):
        storage.put(rows, instead_of, trusted)
        return

    def value_of(namespace: str, key: str, data: bytes) -> object:
        try:
            return values.load(namespace, data, trusted)
        except Exception as error:
            raise UnreadableValue(namespace, key, error) from error

    read = [(namespace, key, value_of(namespace, key, data)) for namespace, key, data in rows]
    for namespace in instead_of:
        with closing(storage.open(namespace)) as store:
            for key in list(store.keys()):
                store.remove(key)
    for namespace, key, value in read:
        with closing(storage.open(namespace)) as store:
            store.set(key, value)


class NameStatus(enum.Enum):
    """The status of a class or function name that a restored value uses."""

    ALLOWED = enum.auto()
    MISSING = enum.auto()
    """The name belongs to a plugin that isn't installed or doesn't define it. It becomes allowed when the plugin
    defines it."""
    REFUSED = enum.auto()


Judge = Callable[[str, str, str], NameStatus]
"""Returns the status of a name. Arguments: the namespace of the value, the module, and the name in the module."""


def check_value(
    namespace: str, key: str, data: bytes, judge: Judge, trusted: Collection[str]
) -> tuple[str | None, str | None]:
    """Check each name in the pickle `data` that isn't `trusted`; raises DamagedPickle. Returns a line with the refused
    names and the options that allow them, and a line with the missing ones; None if there are none."""
    refused, missing = [], []
    for module, name in sorted(names_in(data)):
        path = f"{module}.{name}"
        status = NameStatus.ALLOWED if path in trusted else judge(namespace, module, name)
        if status is NameStatus.REFUSED:
            refused.append(path)
        elif status is NameStatus.MISSING:
            missing.append(path)
    refusal = (
        f"{namespace}: {key!r} uses {' and '.join(refused)}, which values from outside may not use; "
        f"to allow that, add {' '.join(f'--trust {path}' for path in refused)}"
    )
    warning = f"{namespace}: {key!r} is kept as it is, and can be read when the plugin defines {' and '.join(missing)}"
    return refusal if refused else None, warning if missing else None


def check_rows(rows: Iterable[Row], judge: Judge, trusted: Collection[str]) -> tuple[list[str], list[str]]:
    """Check the rows and return two lists of lines. The first has a line for each value with a refused name, the second
    one for each value that can't be read for other reasons."""
    refusals: list[str] = []
    warnings: list[str] = []
    for namespace, key, data in rows:
        try:
            refusal, warning = check_value(namespace, key, data, judge, trusted)
        except DamagedPickle as error:
            # Such a value is harmless, since reading it raises an error, and the operator may be able to repair it.
            warnings.append(f"{namespace}: {key!r} is kept as it is, and can't be read: {error}")
            continue
        if refusal:
            refusals.append(refusal)
        if warning:
            warnings.append(warning)
    return refusals, warnings
