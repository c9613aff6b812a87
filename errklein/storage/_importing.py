"""The import of errbot's shelves into errklein's database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from errklein.logs import escape
from errklein.ports.values import Storage
from errklein.storage._errors import StorageError, UnreadableValue
from errklein.storage._restricted_pickling import DamagedPickle
from errklein.storage._shelves import NotAShelf, Shelf, ShelfError, find_shelves, may_have_values, read_shelf
from errklein.storage._sqlite import Row
from errklein.storage._transfer import Judge, check_value
from errklein.storage.pickling import plain_value

MARK = ("core", "imported_shelves")
"""The namespace and key of the list of shelves that were imported completely. Later imports skip them, so they don't
restore values that plugins have removed since."""

SETTLED = ("core", "import_settled")
"""The namespace and key of the flag `is_settled`, which is True or missing."""


@dataclass
class ImportPlan:
    """The plan of an import of shelves, made without unpickling a value.

    `imported` shelves are skipped, and `present` values, by namespace and key, are not replaced, unless `force`. A
    value that uses a name that is neither allowed by `judge` nor `trusted` stays in its shelf.
    """

    imported: Collection[str]
    present: Mapping[tuple[str, str], bytes]
    force: bool
    judge: Judge
    trusted: Collection[str] = ()
    rows: list[Row] = field(default_factory=list, init=False)
    """The values to store."""
    replaced: set[tuple[str, str]] = field(default_factory=set, init=False)
    """The present values that are replaced, by namespace and key."""
    done: list[str] = field(default_factory=list, init=False)
    """The namespaces of the shelves that are imported completely."""
    notes: list[str] = field(default_factory=list, init=False)
    """Lines for the operator that need no action."""
    problems: list[str] = field(default_factory=list, init=False)
    """Lines for the operator about values that stay in their shelves, each with the reason."""

    def add(self, shelf: Shelf) -> None:
        """Read the shelf and add its values to the plan."""
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
            self.problems.append(
                f"{namespace}: {', '.join(kept)} not imported from {shelf.path}, because the bot has stored other "
                "values under these keys; use --force to replace them"
            )
        count = len(self.rows) - rows_before
        self.notes.append(f"{namespace}: {count} {'value' if count == 1 else 'values'} imported")
        if len(self.problems) == problems_before:
            self.done.append(namespace)

    def _add_value(self, shelf: Shelf, key: str, data: bytes) -> None:
        namespace = shelf.namespace
        try:
            checked = check_value(namespace, key, data, self.judge, self.trusted)
        except DamagedPickle as error:
            self.problems.append(f"{namespace}: {key!r} is damaged in {shelf.path} ({error}); it stays there")
            return
        if checked.refused:
            self.problems.append(f"{checked.refusal}; the value stays in {shelf.path}")
            return
        if checked.missing:
            self.notes.append(checked.warning)
        if (namespace, key) in self.present:
            self.replaced.add((namespace, key))
        self.rows.append((namespace, key, data))


def is_settled(storage: Storage) -> bool:
    """Return whether the bot has started once, with all shelves imported or with `--no-import`."""
    return _value(storage, SETTLED) is True


def settle(storage: Storage) -> None:
    """Set the flag that `is_settled` returns, so that later starts don't look for shelves."""
    namespace, key = SETTLED
    with closing(storage.open(namespace)) as store:
        store.set(key, True)


def imported_shelves(storage: Storage) -> list[str]:
    """Return the namespaces whose shelves were imported into the storage."""
    names = _value(storage, MARK)
    # `errklein storage set` can store any value under this key.
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def unimported(directory: Path, imported: Collection[str]) -> list[str]:
    """Return the escaped namespaces of the shelves in the directory that have values and aren't `imported`.

    A directory that can't be read has none. May block.
    """
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
