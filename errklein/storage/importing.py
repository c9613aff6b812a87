"""errbot's shelves into errklein's own file: what is taken, what stays, and what has to be said about it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from errklein.storage.errors import StorageError
from errklein.storage.pickle_names import DamagedPickle, names_in
from errklein.storage.shelves import Shelf, ShelfError, find_shelves, read_shelf
from errklein.storage.sqlite import Row

IsThere = Callable[[str, str, str], bool]
"""Whether a class is there that a value names: by namespace, module and name."""


@dataclass
class Import:
    """What an import does: the rows it keeps, the namespaces they replace, and a line for each thing to know.

    `told` is what went as it should or can wait; `problems` are values that were left behind.
    """

    rows: list[Row] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def plan_import(shelves: Iterable[Shelf], present: Collection[str], force: bool, is_there: IsThere) -> Import:
    """Read the shelves. A namespace that is `present` keeps what it has, unless `force`; values are taken as they are."""
    plan = Import()
    for shelf in shelves:
        try:
            values = read_shelf(shelf)
        except ShelfError as error:
            plan.problems.append(f"{shelf.namespace}: {error}; nothing of it was imported")
            continue
        if not values:
            continue
        if shelf.namespace in present and not force:
            plan.told.append(f"{shelf.namespace}: has values already, which stay; --force replaces them")
            continue
        _take(plan, shelf, values, is_there)
    return plan


def unimported(directory: Path, present: Collection[str]) -> list[str]:
    """The namespaces of shelves in the directory that have values, and aren't `present`. May block."""
    try:
        shelves = find_shelves(directory)
    except StorageError:
        return []
    return [shelf.namespace for shelf in shelves if shelf.namespace not in present and _has_values(shelf)]


def _take(plan: Import, shelf: Shelf, values: dict[str, bytes], is_there: IsThere) -> None:
    taken = 0
    for key, data in values.items():
        try:
            names = names_in(data)
        except DamagedPickle as error:
            plan.problems.append(f"{shelf.namespace}: {key!r} is damaged in {shelf.path} ({error}); it was left there")
            continue
        plan.rows.append((shelf.namespace, key, data))
        taken += 1
        gone = sorted(f"{module}.{name}" for module, name in names if not is_there(shelf.namespace, module, name))
        if gone:
            plan.told.append(
                f"{shelf.namespace}: {key!r} is kept as it is, and can be read when there is {' and '.join(gone)}"
            )
    if taken:
        plan.replaced.append(shelf.namespace)
        plan.told.append(f"{shelf.namespace}: {taken} {'value' if taken == 1 else 'values'} imported")


def _has_values(shelf: Shelf) -> bool:
    try:
        return bool(read_shelf(shelf))
    except ShelfError:
        return True
