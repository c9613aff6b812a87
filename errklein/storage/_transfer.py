"""Values out of a storage of any kind and into it, and the checks of values from outside before they are stored."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from errklein.ports import Storage
from errklein.storage._errors import UnreadableValue, UnstorableValue
from errklein.storage._restricted_pickling import DEFAULT_READER, DamagedPickle, ValueReader, names_in
from errklein.storage._sqlite import Row, SQLiteStorage
from errklein.storage.pickling import dumps


def rows_of(storage: Storage, names: Iterable[str] = ()) -> Iterator[Row]:
    """All values, of the namespaces that the storage knows of and of `names`; may block.

    Of a file these are the bytes in it at one moment, also of values that can't be read. Raises StorageError.
    """
    if isinstance(storage, SQLiteStorage):
        yield from storage.rows()
        return
    for namespace in sorted({*storage.namespaces(), *names}):
        with closing(storage.open(namespace)) as store:
            for key in sorted(set(store.keys())):
                try:
                    value = store.get(key)
                except KeyError:
                    # Removed since the keys were listed.
                    continue
                try:
                    data = dumps(value)
                except Exception as error:
                    raise UnstorableValue(namespace, key, value, error) from error
                yield namespace, key, data


def put_rows(
    storage: Storage,
    rows: Iterable[Row],
    instead_of: Iterable[str] = (),
    *,
    trusted: Collection[str] | None = (),
    values: ValueReader = DEFAULT_READER,
) -> None:
    """Keep the rows; the namespaces `instead_of` lose what they have. May block.

    In errklein's own file this is one transaction, and each value is marked as restored, with the names that are `trusted`;
    None is for values of the bot's own, which aren't restricted. Other storages have no place for such a mark and store
    objects, so `values` unpickles all values first, with the same restrictions; the classes that they name must be importable.
    Raises UnreadableValue before anything is changed.
    """
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
    """Whether a restored value may use a name."""

    ALLOWED = enum.auto()
    MISSING = enum.auto()
    """The name belongs to a plugin that isn't installed, or that doesn't define it now; allowed when it does."""
    REFUSED = enum.auto()


Judge = Callable[[str, str, str], NameStatus]
"""Judges a name by the namespace of the value, the module and the name in it."""


@dataclass(frozen=True)
class CheckedValue:
    """The names in a value that are refused, and those that are missing, each as "module.qualname", sorted."""

    namespace: str
    key: str
    refused: list[str]
    missing: list[str]

    @property
    def refusal(self) -> str:
        """A line that names the refused classes and functions, and the option that allows them."""
        options = " ".join(f"--trust {name}" for name in self.refused)
        return (
            f"{self.namespace}: {self.key!r} uses {' and '.join(self.refused)}, which values from outside may not use; "
            f"to allow that, add {options}"
        )

    @property
    def warning(self) -> str:
        """A line that names the missing classes."""
        return (
            f"{self.namespace}: {self.key!r} is kept as it is, and can be read when the plugin defines "
            f"{' and '.join(self.missing)}"
        )


def check_value(namespace: str, key: str, data: bytes, judge: Judge, trusted: Collection[str]) -> CheckedValue:
    """Judge each name in the pickle `data` that isn't `trusted`; raises DamagedPickle."""
    checked = CheckedValue(namespace, key, [], [])
    for module, name in sorted(names_in(data)):
        path = f"{module}.{name}"
        status = NameStatus.ALLOWED if path in trusted else judge(namespace, module, name)
        if status is NameStatus.REFUSED:
            checked.refused.append(path)
        elif status is NameStatus.MISSING:
            checked.missing.append(path)
    return checked


def check_rows(rows: Iterable[Row], judge: Judge, trusted: Collection[str]) -> tuple[list[str], list[str]]:
    """Refusals, a line for each value with a refused name, and warnings, a line for each that can't be read otherwise."""
    refusals: list[str] = []
    warnings: list[str] = []
    for namespace, key, data in rows:
        try:
            checked = check_value(namespace, key, data, judge, trusted)
        except DamagedPickle as error:
            # Reading it only raises an error, and the operator may be able to repair it.
            warnings.append(f"{namespace}: {key!r} is kept as it is, and can't be read: {error}")
            continue
        if checked.refused:
            refusals.append(checked.refusal)
        if checked.missing:
            warnings.append(checked.warning)
    return refusals, warnings
