"""Commands for a bot's data while the bot doesn't run: import, back up, restore, show and change it.

Each function returns the exit status: 0, or 1 if some values were left out. ConfigError, DataDirectoryError or StorageError
means that nothing was changed.
"""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from errklein.compat.storages import check_storage, database_of, make_storage
from errklein.compat.stored_classes import STORED_VALUES
from errklein.compat.stored_names import NameJudge, plugs_of
from errklein.config import Config
from errklein.logs import escape
from errklein.ports import Storage
from errklein.service import DataDirectory
from errklein.storage import (
    BACKUP_NAME,
    MARK,
    SETTLED,
    ImportPlan,
    Row,
    SQLiteStorage,
    StorageError,
    UnreadableValue,
    check_rows,
    dumps,
    find_shelves,
    imported_shelves,
    plain_value,
    put_rows,
    read_any_backup,
    rows_of,
    write_backup,
)

ERRBOT_BACKUP_NAME = "backup.py"

_CORE_NAMESPACES = ("core", "repomgr")
"""The namespaces of a bot without plugins."""

_REQUIRED_TYPES: Mapping[tuple[str, str], type | tuple[type, ...]] = {
    ("core", "configs"): dict,
    ("core", "bl_plugins"): (list, tuple, set),
    ("core", "requirements"): dict,
    ("repomgr", "installed_repos"): dict,
    ("repomgr", "repo_index"): dict,
}
"""The types of the bot's own values, by namespace and key. The bot can't start with values of other types."""

_SET_BY_THE_BOT = {("core", "requirements"), ("repomgr", "repo_index"), MARK, SETTLED}
"""Values that the bot stores by itself at its first start, by namespace and key. A bot with no others is empty."""


def import_errbot(config: Config, force: bool = False, trusted: Sequence[str] = ()) -> int:
    """Import the values of errbot's shelves in the data directory; the shelves are not changed. Returns the exit status.

    `trusted` are further names, as "module.qualname", that the values may use.
    """
    if config.STORAGE != "Shelf":
        raise StorageError(f"errbot's shelves can be imported into the storage Shelf only; STORAGE is {config.STORAGE}")
    directory = database_of(config).parent
    shelves = find_shelves(directory)
    if not shelves:
        raise StorageError(f"{directory}: there are no shelves of errbot's here")
    with _locked_storage(config) as storage:
        assert isinstance(storage, SQLiteStorage)
        imported = set(imported_shelves(storage))
        present = {(namespace, key): data for namespace, key, data in storage.rows()}
        plan = ImportPlan(imported, present, force, NameJudge(plugs_of(config)), trusted)
        for shelf in shelves:
            plan.add(shelf)
        if plan.replaced:
            _back_up_first(config, storage, "before-import.jsonl")
        storage.put([*plan.rows, (*MARK, dumps(sorted(imported.union(plan.done))))], trusted=trusted)
    _print_lines(plan.notes)
    return _print_errors(plan.problems)


def backup(config: Config) -> int:
    """Write a backup into the data directory, as !backup does."""
    path = Path(config.BOT_DATA_DIR) / BACKUP_NAME
    with _locked_storage(config) as storage:
        count = write_backup(path, rows_of(storage, _namespaces(config)))
    _print_lines([f"{path}: {_values(count)}"])
    return 0


def restore(config: Config, file: Path | None = None, force: bool = False, trusted: Sequence[str] = ()) -> int:
    """Store the values of a backup, errklein's or errbot's, in an empty bot. Returns the exit status.

    With `force`, values that the bot has are replaced. Without a file, the one in the data directory is read. `trusted` are
    further names, as "module.qualname", that the values may use; nothing is restored if one uses a forbidden name.
    """
    file = _default_backup(config) if file is None else file
    read = read_any_backup(file)
    refusals, warnings = check_rows(read.rows, NameJudge(plugs_of(config)), trusted)
    if refusals:
        return _print_errors([*refusals, f"{file}: nothing was restored"])
    with _locked_storage(config) as storage:
        present = sum(1 for row in rows_of(storage, _namespaces(config)) if row[:2] not in _SET_BY_THE_BOT)
        if present and not force:
            raise StorageError(
                f"{config.BOT_DATA_DIR}: the bot has {_values(present)} already, nothing was changed: restore into an "
                "empty BOT_DATA_DIR, or say --force to have the backup's values in place of those of the same name"
            )
        if present:
            _back_up_first(config, storage, "before-restore.jsonl")
        _put(storage, read.rows, trusted=trusted)
    _print_lines([*warnings, f"{_values(len(read.rows))} restored from {file}"])
    return _print_errors(read.problems)


def storage_get(config: Config, namespace: str, missing_ok: bool = False) -> int:
    """Print the values of the namespace as a Python dict, which `storage_set` accepts. Returns the exit status.

    Values that aren't literals are left out and reported. A namespace without values that isn't the name of a plugin raises
    StorageError, or prints an empty dict with `missing_ok`.
    """
    literals: dict[str, Any] = {}
    problems: list[str] = []
    with _locked_storage(config) as storage, closing(storage.open(namespace)) as store:
        keys = list(store.keys())
        if not keys and not missing_ok:
            _check_namespace(config, storage, namespace)
        for key in keys:
            try:
                value = store.get(key)
            except UnreadableValue:
                problems.append(f"{namespace}: the value of {key!r} can't be read without its plugin and is left out")
                continue
            if _is_literal(value):
                literals[key] = value
            else:
                problems.append(f"{namespace}: the value of {key!r} is no Python literal and is left out")
    sys.stdout.write(f"{literals!r}\n")
    return _print_errors(problems)


def storage_set(config: Config, namespace: str, text: str, merge: bool = False) -> int:
    """Let the namespace have the values of the Python dict in the text, and no others.

    With `merge` the values are added, and a dict is merged with the dict that is there.
    """
    values = _parsed(text)
    with _locked_storage(config) as storage:
        with closing(storage.open(namespace)) as store:
            for key in values.keys() & store.keys() if merge else ():
                before = store.get(key)
                if isinstance(before, dict) and isinstance(values[key], dict):
                    values[key] = {**before, **values[key]}
        rows = [(namespace, key, dumps(value)) for key, value in values.items()]
        _put(storage, rows, () if merge else [namespace])
    return 0


@contextmanager
def _locked_storage(config: Config) -> Iterator[Storage]:
    """The bot's storage, while no bot can use it; raises DataDirectoryError while one does."""
    check_storage(config)
    if config.STORAGE == "Memory":
        raise StorageError("STORAGE is Memory: the bot keeps nothing, so there is nothing to work on")
    data = DataDirectory(Path(config.BOT_DATA_DIR))
    data.check()
    data.prepare()
    data.lock()
    try:
        with closing(make_storage(config)) as storage:
            yield storage
    finally:
        data.unlock()


def _default_backup(config: Config) -> Path:
    for name in (BACKUP_NAME, ERRBOT_BACKUP_NAME):
        path = Path(config.BOT_DATA_DIR) / name
        if path.is_file():
            return path
    raise StorageError(f"{config.BOT_DATA_DIR}: there is no {BACKUP_NAME} or {ERRBOT_BACKUP_NAME} here; name the file")


def _back_up_first(config: Config, storage: Storage, name: str) -> None:
    path = Path(config.BOT_DATA_DIR) / name
    write_backup(path, rows_of(storage, _namespaces(config)))
    _print_lines([f"{path}: what the bot had before"])


def _put(
    storage: Storage, rows: Sequence[Row], instead_of: Iterable[str] = (), trusted: Collection[str] | None = None
) -> None:
    """Store the rows in place of the namespaces' values; raises StorageError if the bot couldn't use one of them.

    With None for `trusted` the values are the bot's own and not restricted; see `put_rows`.
    """
    for namespace, key, data in rows:
        if (namespace, key) not in _REQUIRED_TYPES:
            continue
        try:
            value = plain_value(data)
        except ValueError:
            # There are instances of plugins' classes in it.
            continue
        if not isinstance(value, _REQUIRED_TYPES[namespace, key]):
            kind = type(value).__name__
            raise StorageError(
                f"{namespace}: the bot can't use a value of type {kind} as its {key!r}; nothing was changed"
            )
    put_rows(storage, rows, instead_of, trusted=trusted, values=STORED_VALUES)


def _namespaces(config: Config) -> list[str]:
    """What a storage that can't tell may have: the namespaces of the bot itself, its networks and its plugins."""
    backends = (f"{view.BACKEND.lower()}_backend" for view in config.networks.values())
    return sorted({*_CORE_NAMESPACES, *backends, *(plug.name for plug in plugs_of(config))})


def _check_namespace(config: Config, storage: Storage, namespace: str) -> None:
    """Raise StorageError, with a suggestion, if the namespace belongs to no plugin and isn't stored."""
    stored = sorted(storage.namespaces())
    known = {*stored, *_namespaces(config)}
    if namespace in known:
        return
    by_lower_case = {name.lower(): name for name in sorted(known, reverse=True)}
    similar = difflib.get_close_matches(namespace.lower(), by_lower_case, 1)
    suggestion = f"; did you mean {by_lower_case[similar[0]]!r}?" if similar else "."
    raise StorageError(
        f"unknown namespace {namespace!r}{suggestion} Namespaces with values: {', '.join(stored) or 'none'}"
    )


def _parsed(text: str) -> dict[str, Any]:
    try:
        value = ast.literal_eval(text.strip())
    except SyntaxError as error:
        raise StorageError(f"standard input, line {error.lineno}: {error.msg}; expected a Python dict") from None
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise StorageError("standard input: expected a Python dict of literals; nothing was changed") from None
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise StorageError("standard input: expected a Python dict whose keys are strings; nothing was changed")
    return dict(value)


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except Exception:
        # It is no literal, or of a class that can't be shown or compared.
        return False


def _values(count: int) -> str:
    return f"{count} value" + ("" if count == 1 else "s")


def _print_lines(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{escape(line)}\n" for line in lines))


def _print_errors(problems: Iterable[str]) -> int:
    lines = list(problems)
    sys.stderr.write("".join(f"errklein: {escape(line)}\n" for line in lines))
    return 1 if lines else 0
