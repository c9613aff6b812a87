"""The storage that STORAGE names, the check that errbot's shelves are imported first, and the content of `errbot.storage.base`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred

from errklein import storage as stored
from errklein.compat.stored_classes import STORED_VALUES
from errklein.config import STORAGES, Config, ConfigError
from errklein.config.databases import find_databases
from errklein.database import Access, Run
from errklein.plugins.discovery import entry_point_roots, load_plug_files
from errklein.plugins.imports import PluginLoadError, load_module, plugin_class
from errklein.plugins.plug_file import PlugFile
from errklein.ports.nodes import SharedDatabase
from errklein.ports.values import Storage, Store
from errklein.text.suggestions import did_you_mean

GROUPS = ("errbot.backend_plugins", "errklein.storages")  # entry points of storages; errbot's has backends, too


def database_of(config: Config) -> Path:
    """Return the database of the storage Shelf, in the `basedir` of STORAGE_CONFIG, by default in BOT_DATA_DIR."""
    return Path(config.STORAGE_CONFIG.get("basedir", config.BOT_DATA_DIR)) / stored.DATABASE


def shelves_to_import(config: Config, storage: Storage, data_dir: str | None = None) -> str | None:
    """Return an error message with the errbot shelves that must be imported first; None if there are none. `data_dir`
    is the command line's option. After the first start this is always None; see `settle_shelves`. May block."""
    if config.STORAGE != "Shelf" or stored.is_settled(storage):
        return None
    directory = database_of(config).parent
    namespaces = stored.unimported(directory, stored.imported_shelves(storage))
    if not namespaces:
        return None
    return (
        f"{directory} has errbot values that were not imported ({', '.join(namespaces)}); import them with "
        f"`{command_for(config, data_dir, 'import-errbot')}`, or start once without them: `errklein run --no-import` or "
        "`twistd errklein --no-import`"
    )


def check_shelves(config: Config, data_dir: str | None) -> None:
    """Raise stored.StorageError if shelves must be imported first. The database isn't created if it doesn't exist."""
    if config.STORAGE != "Shelf" or config.ERRKLEIN_DATABASE or not stored.unimported(database_of(config).parent, ()):
        return
    database = database_of(config)
    with closing(
        stored.SQLiteStorage(database, STORED_VALUES) if database.exists() else stored.MemoryStorage()
    ) as storage:
        reason = shelves_to_import(config, storage, data_dir)
    if reason is not None:
        raise stored.StorageError(reason)


def settle_shelves(config: Config, storage: Storage, data_dir: str | None, no_import: bool) -> None:
    """Record that the bot has started. Raises StorageError if shelves must be imported first, unless `no_import`."""
    if config.STORAGE != "Shelf" or stored.is_settled(storage):
        return
    reason = shelves_to_import(config, storage, data_dir)
    if reason is not None and not no_import:
        raise stored.StorageError(reason)
    stored.settle(storage)


def command_for(config: Config, data_dir: str | None, *words: str) -> str:
    """Return a command line of errklein for the bot of this configuration, with absolute paths."""
    options = [] if config.path is None else ["--config", str(config.path)]
    if data_dir is not None or config.path is None:
        options += ["--data-dir", config.BOT_DATA_DIR]
    return shlex.join(["errklein", *words, *options])


def _left_out(name: str) -> Any:
    def method(self: object, *args: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} doesn't implement {name}()")

    return method


class StorageBase:
    """The values of one namespace of a third-party storage. Methods that a subclass lacks raise NotImplementedError."""

    set, get, remove, len, keys, close = map(_left_out, ("set", "get", "remove", "len", "keys", "close"))


class StoragePluginBase:
    """The base class of the storage that STORAGE names. A subclass implements `open`; `_storage_config` has STORAGE_CONFIG. The
    guide "Storage" has an example, and the test that a storage must pass."""

    def __init__(self, bot_config: Any) -> None:
        self._storage_config: Any = getattr(bot_config, "STORAGE_CONFIG", None) or {}
        super().__init__()

    open = _left_out("open")


_MEMORY = stored.MemoryStorage()  # the values of every MemoryStoragePlugin, until the process ends


class MemoryStoragePlugin(StoragePluginBase):
    """A storage in memory, which keeps references to values until the process ends. All instances share their values."""

    def open(self, namespace: str) -> Store:
        return _MEMORY.open(namespace)


class ShelfStoragePlugin(StoragePluginBase):
    """A storage in the bot's own database: in the `basedir` of STORAGE_CONFIG, by default in BOT_DATA_DIR."""

    def __init__(self, bot_config: Any) -> None:
        super().__init__(bot_config)
        self._storage_config = {"basedir": bot_config.BOT_DATA_DIR, **self._storage_config}

    def open(self, namespace: str) -> Store:
        storage = stored.SQLiteStorage(Path(self._storage_config["basedir"]) / stored.DATABASE)
        store = storage.open(namespace)
        # Each store has its own connection to the database, which is closed with it.
        store.close = storage.close  # type: ignore[method-assign]
        return store


def moved_mark(config: Config) -> Path:
    """Return the file that `errklein storage move` writes so that no bot starts on data that is elsewhere, or incomplete."""
    return Path(config.BOT_DATA_DIR) / "errklein.moved"


def shared_database(config: Config) -> SharedDatabase | None:
    """Return the database that ERRKLEIN_DATABASE names; None without the setting. May block. Raises ConfigError or
    StorageError, also if the data in the data directory can't be used instead."""
    if (address := config.ERRKLEIN_DATABASE) is not None:
        return find_databases(address).open_database(address)
    if (mark := moved_mark(config)).exists():
        raise stored.StorageError(f"{mark}: {mark.read_text('utf-8').strip()}")
    return None


def make_storage(
    config: Config, access: Access = Access.OWN, run: Run = maybeDeferred, database: SharedDatabase | None = None
) -> Storage:
    """Create and open the storage of the configuration; may block. Raises ConfigError or StorageError. With `COPY`, it is a copy of
    the storage Shelf, empty if there is no file. `run` calls functions of `in_background`, by default at once. `database` is that of
    ERRKLEIN_DATABASE, if it is open already."""
    if shared := database or shared_database(config):
        return shared.storage(values=STORED_VALUES, access=access, run=run)
    if config.STORAGE == "Shelf":
        path = database_of(config)
        if access is Access.OWN or path.exists():
            return stored.SQLiteStorage(path, STORED_VALUES, access, run)
    if config.STORAGE in STORAGES:
        return stored.MemoryStorage()
    cls = load_storage_class(config)
    try:
        opener: Any = cls(config)
    except Exception as error:
        # The error's message may contain secrets of STORAGE_CONFIG, so only its type is reported.
        raise stored.StorageError(
            f"STORAGE: {config.STORAGE!r} failed to start ({cls.__name__} raised {type(error).__name__}); "
            "check STORAGE_CONFIG"
        ) from error
    return stored.AdaptedStorage(config.STORAGE, opener.open, config.STORAGE_CONFIG, run)


def load_storage_class(config: Config) -> type[Any]:
    """Return the class of the third-party storage that STORAGE names; raises ConfigError or StorageError."""
    plug = storage_plug(config)
    try:
        # A plugin may have the same name, so the storage's modules get a separate package.
        cls, _ = plugin_class(load_module(replace(plug, name=f"storage {plug.name}")), StoragePluginBase)
    except PluginLoadError as error:
        raise stored.StorageError(f"STORAGE: {error}") from error
    return cls


def check_storage(config: Config) -> None:
    """Raise ConfigError if STORAGE or ERRKLEIN_DATABASE name an unknown storage. No code of a storage is executed."""
    if config.ERRKLEIN_DATABASE is not None:
        find_databases(config.ERRKLEIN_DATABASE)
        if config.STORAGE != "Shelf":
            text = f"STORAGE: expected 'Shelf', not {config.STORAGE!r}, since values are in ERRKLEIN_DATABASE"
            raise ConfigError(text)
    if config.STORAGE not in STORAGES:
        storage_plug(config)


def storage_plug(config: Config) -> PlugFile:
    """Return the `.plug` file of the storage that STORAGE names; raises ConfigError, which lists the known storages."""
    found = list(_plugs(config))
    for plug in found:
        if plug.name == config.STORAGE:
            if (refusal := plug.refusal()) is not None:
                raise ConfigError(f"STORAGE: {plug.name!r} can't be used ({refusal})")
            return plug
    names = list(dict.fromkeys([*STORAGES, *(plug.name for plug in found)]))
    meant = did_you_mean(config.STORAGE, names) or "."
    where = config.BOT_EXTRA_STORAGE_PLUGINS_DIR or "BOT_EXTRA_STORAGE_PLUGINS_DIR"
    raise ConfigError(
        f"STORAGE: unknown storage {config.STORAGE!r}{meant} Available: {', '.join(names)}; others are found in "
        f"installed packages and {where}"
    )


def _plugs(config: Config) -> Iterator[PlugFile]:
    extra = config.BOT_EXTRA_STORAGE_PLUGINS_DIR
    for plug in load_plug_files([*([extra] if extra else []), *entry_point_roots(GROUPS)]):
        # A module that can't be read is skipped. If it is the one that STORAGE names, the error reports it as unknown.
        with suppress(OSError):
            if b"StoragePluginBase" in plug.module_path.read_bytes():
                yield plug
