"""The location of the storage Shelf, and the check that errbot's shelves are imported before the first start."""

from __future__ import annotations

import shlex
from contextlib import closing
from pathlib import Path

from errklein.compat.stored_classes import STORED_VALUES
from errklein.config import Config
from errklein.ports.values import Storage
from errklein.storage import (
    DATABASE,
    MemoryStorage,
    SQLiteStorage,
    StorageError,
    imported_shelves,
    is_settled,
    settle,
    unimported,
)


def database_of(config: Config) -> Path:
    """Return the path of the database of the storage Shelf.

    It is in the `basedir` of STORAGE_CONFIG, by default in BOT_DATA_DIR.
    """
    return Path(config.STORAGE_CONFIG.get("basedir", config.BOT_DATA_DIR)) / DATABASE


def shelves_to_import(config: Config, storage: Storage, data_dir: str | None = None) -> str | None:
    """Return an error message with the errbot shelves that must be imported first; None if there are none.

    `data_dir` is the command line's option. After the first start this is always None; see `settle_shelves`. May block.
    """
    if config.STORAGE != "Shelf" or is_settled(storage):
        return None
    directory = database_of(config).parent
    namespaces = unimported(directory, imported_shelves(storage))
    if not namespaces:
        return None
    return (
        f"{directory} has errbot values that were not imported ({', '.join(namespaces)}); import them with "
        f"`{command_for(config, data_dir, 'import-errbot')}`, or start once without them: `errklein run --no-import` or "
        "`twistd errklein --no-import`"
    )


def check_shelves(config: Config, data_dir: str | None) -> None:
    """Raise StorageError if shelves must be imported first. The database isn't created if it doesn't exist."""
    if config.STORAGE != "Shelf" or not unimported(database_of(config).parent, ()):
        return
    database = database_of(config)
    with closing(SQLiteStorage(database, STORED_VALUES) if database.exists() else MemoryStorage()) as storage:
        reason = shelves_to_import(config, storage, data_dir)
    if reason is not None:
        raise StorageError(reason)


def settle_shelves(config: Config, storage: Storage, data_dir: str | None, no_import: bool) -> None:
    """Record in the storage that the bot has started, so that later starts don't look for shelves.

    Raises StorageError if shelves must be imported first, unless `no_import`. May block.
    """
    if config.STORAGE != "Shelf" or is_settled(storage):
        return
    reason = shelves_to_import(config, storage, data_dir)
    if reason is not None and not no_import:
        raise StorageError(reason)
    settle(storage)


def command_for(config: Config, data_dir: str | None, *words: str) -> str:
    """Return a command line of errklein for the bot of this configuration, with absolute paths."""
    options = [] if config.path is None else ["--config", str(config.path)]
    if data_dir is not None or config.path is None:
        options += ["--data-dir", config.BOT_DATA_DIR]
    return shlex.join(["errklein", *words, *options])
