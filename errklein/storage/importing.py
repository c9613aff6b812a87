"""errbot's shelves into errklein's own file: what is taken, what stays, and what has to be said about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from errklein.logs import escape
from errklein.ports import Storage
from errklein.storage.errors import StorageError, UnreadableValue
from errklein.storage.pickling import plain_value
from errklein.storage.restricted_pickling import DamagedPickle
from errklein.storage.shelves import NotAShelf, Shelf, ShelfError, find_shelves, may_have_values, read_shelf
from errklein.storage.sqlite import Row
from errklein.storage.transfer import Judge, check_value

MARK = ("core", "imported_shelves")
"""The namespace and key of the names of shelves that were imported completely. Another import skips these, so it doesn't
restore what plugins have removed since."""

SETTLED = ("core", "import_settled")
"""The namespace and key of the flag `is_settled`, which is True or missing."""


@dataclass
class Import:
    """The plan of an import: the rows to store, and the shelves of which nothing is left afterwards.

    `replaced` are the values to be replaced, by namespace and key. `told` are lines that need no action; `problems` name the
    values that are left in their shelves, and why.
    """

    rows: list[Row] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    replaced: set[tuple[str, str]] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def plan_import(
    shelves: Iterable[Shelf],
    imported: Collection[str],
    present: Mapping[tuple[str, str], bytes],
    force: bool,
    judge: Judge,
    trusted: Collection[str] = (),
) -> Import:
    """Read the shelves and plan the import of their values, without unpickling them.

    Shelves that are `imported` are skipped, and values that are `present`, by namespace and key, are not replaced, unless
    `force`. A value with a name that is neither allowed by `judge` nor `trusted` is left in its shelf.
    """
    plan = Import()
    for shelf in shelves:
        if shelf.namespace in imported and not force:
            plan.told.append(f"{shelf.namespace}: was imported before; --force does it again")
            continue
        try:
            values = read_shelf(shelf)
        except NotAShelf as error:
            plan.told.append(f"{shelf.namespace}: {error}; it is ignored")
            continue
        except ShelfError as error:
            plan.problems.append(f"{shelf.namespace}: {error}; nothing of it was imported")
            continue
        if values:
            _take(plan, shelf, values, present, force, judge, trusted)
    return plan


def is_settled(storage: Storage) -> bool:
    """Whether the bot has started with all shelves imported, or without them on purpose."""
    namespace, key = SETTLED
    with closing(storage.open(namespace)) as store:
        try:
            return store.get(key) is True
        except (KeyError, UnreadableValue):
            return False


def settle(storage: Storage) -> None:
    """Set the flag `is_settled`, so that later starts don't look for shelves."""
    namespace, key = SETTLED
    with closing(storage.open(namespace)) as store:
        store.set(key, True)


def imported_shelves(storage: Storage) -> list[str]:
    """The namespaces whose shelves were imported into the storage."""
    namespace, key = MARK
    with closing(storage.open(namespace)) as store:
        try:
            names = store.get(key)
        except (KeyError, UnreadableValue):
            return []
    # `errklein storage set` lets anything be there.
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def unimported(directory: Path, imported: Collection[str]) -> list[str]:
    """The namespaces, as they can be shown, of shelves in the directory that have values, and aren't `imported`.

    May block. Raises nothing, whatever lies there.
    """
    try:
        shelves = find_shelves(directory)
    except StorageError:
        return []
    waiting = (shelf.namespace for shelf in shelves if shelf.namespace not in imported and may_have_values(shelf))
    return [escape(namespace) for namespace in waiting]


def _take(
    plan: Import,
    shelf: Shelf,
    values: Mapping[str, bytes],
    present: Mapping[tuple[str, str], bytes],
    force: bool,
    judge: Judge,
    trusted: Collection[str],
) -> None:
    namespace = shelf.namespace
    taken, kept = 0, []
    problems_before = len(plan.problems)
    for key, data in sorted(values.items()):
        stored = present.get((namespace, key))
        if stored is not None and not force:
            if not _is_same(stored, data):
                kept.append(repr(key))
            continue
        try:
            checked = check_value(namespace, key, data, judge, trusted)
        except DamagedPickle as error:
            plan.problems.append(f"{namespace}: {key!r} is damaged in {shelf.path} ({error}); it was left there")
            continue
        if checked.refused:
            plan.problems.append(f"{checked.refusal}; the value was left in {shelf.path}")
            continue
        if stored is not None:
            plan.replaced.add((namespace, key))
        plan.rows.append((namespace, key, data))
        taken += 1
        if checked.missing:
            plan.told.append(checked.warning)
    if kept:
        plan.problems.append(
            f"{namespace}: {', '.join(kept)} left in {shelf.path}, since the bot has stored other values there: --force "
            "replaces them"
        )
    plan.told.append(f"{namespace}: {taken} {'value' if taken == 1 else 'values'} imported")
    if len(plan.problems) == problems_before:
        plan.done.append(namespace)


def _is_same(stored: bytes, data: bytes) -> bool:
    """Whether the pickles are of the same value, as far as that can be determined without unpickling them."""
    if stored == data:
        return True
    try:
        return bool(plain_value(stored) == plain_value(data))
    except (ValueError, RecursionError):
        return False
