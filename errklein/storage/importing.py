"""errbot's shelves into errklein's own file: what is taken, what stays, and what has to be said about it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from errklein.logs import escape
from errklein.ports import Storage
from errklein.storage.errors import StorageError, UnreadableValue
from errklein.storage.pickle_names import DamagedPickle, names_in
from errklein.storage.shelves import Shelf, ShelfError, find_shelves, may_have_values, read_shelf
from errklein.storage.sqlite import Row

IsThere = Callable[[str, str, str], bool]
"""Whether a class is there that a value names: by namespace, module and name."""


MARK = ("core", "imported_shelves")
"""The namespace and key under which the names of shelves are kept that were imported. What a plugin has removed since
then isn't missed by the hint to import, nor brought back by another import."""


@dataclass
class Import:
    """What an import does: the rows it keeps, the shelves that are done with it, and a line for each thing to know.

    `replaced` are the values that others take the place of, by namespace and key. `told` is what went as it should or can
    wait; `problems` are values that were left behind.
    """

    rows: list[Row] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    replaced: set[tuple[str, str]] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def plan_import(
    shelves: Iterable[Shelf],
    imported: Collection[str],
    present: Collection[tuple[str, str]],
    force: bool,
    is_there: IsThere,
) -> Import:
    """Read the shelves, and take the values as they are.

    Shelves that are `imported`, and values that are `present`, by namespace and key, stay as they are, unless `force`.
    """
    plan = Import()
    for shelf in shelves:
        if shelf.namespace in imported and not force:
            plan.told.append(f"{shelf.namespace}: was imported before; --force does it again")
            continue
        try:
            values = read_shelf(shelf)
        except ShelfError as error:
            plan.problems.append(f"{shelf.namespace}: {error}; nothing of it was imported")
            continue
        if values:
            _take(plan, shelf, values, present, force, is_there)
    return plan


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
    values: dict[str, bytes],
    present: Collection[tuple[str, str]],
    force: bool,
    is_there: IsThere,
) -> None:
    namespace = shelf.namespace
    taken, kept, damaged = 0, [], 0
    for key, data in sorted(values.items()):
        if (namespace, key) in present:
            if not force:
                kept.append(repr(key))
                continue
            plan.replaced.add((namespace, key))
        try:
            names = names_in(data)
        except DamagedPickle as error:
            plan.problems.append(f"{namespace}: {key!r} is damaged in {shelf.path} ({error}); it was left there")
            damaged += 1
            continue
        plan.rows.append((namespace, key, data))
        taken += 1
        gone = sorted(f"{module}.{name}" for module, name in names if not is_there(namespace, module, name))
        if gone:
            plan.told.append(
                f"{namespace}: {key!r} is kept as it is, and can be read when there is {' and '.join(gone)}"
            )
    if kept:
        plan.told.append(f"{namespace}: {', '.join(kept)} had values already, which stay; --force replaces them")
    plan.told.append(f"{namespace}: {taken} {'value' if taken == 1 else 'values'} imported")
    if not damaged:
        plan.done.append(namespace)
