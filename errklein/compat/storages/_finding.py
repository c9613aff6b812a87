"""The storage that STORAGE names: errklein's own, or one that was written for errbot and is found by its .plug file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from errklein.compat.storages._shelves import database_of
from errklein.compat.storages._third_party import ThirdPartyStorage
from errklein.compat.storages.base import StoragePluginBase
from errklein.compat.stored_classes import STORED_VALUES
from errklein.config import STORAGES, Config, ConfigError
from errklein.plugins.discovery import entry_point_roots, load_plug_files
from errklein.plugins.imports import load_module, plugin_class
from errklein.plugins.load_errors import PluginLoadError
from errklein.plugins.plug_file import PlugFile
from errklein.ports import Storage
from errklein.storage import MemoryStorage, SQLiteStorage, StorageError

GROUPS = ("errbot.backend_plugins", "errklein.storages")
"""The entry points of distributions that bring storages. errbot's is for backends too."""


def make_storage(config: Config) -> Storage:
    """The storage of the configuration, opened; may block. Raises ConfigError, or StorageError, of one line."""
    if config.STORAGE == "Memory":
        return MemoryStorage()
    if config.STORAGE == "Shelf":
        return SQLiteStorage(database_of(config), STORED_VALUES)
    cls = load_storage_class(config)
    try:
        opener: Any = cls(config)
    except Exception as error:
        # The message may hold what STORAGE_CONFIG does; the type and the place have to do.
        raise StorageError(
            f"STORAGE: {config.STORAGE}: {type(error).__name__} when {cls.__name__} was made of STORAGE_CONFIG"
        ) from error
    return ThirdPartyStorage(config.STORAGE, opener, config.STORAGE_CONFIG)


def load_storage_class(config: Config) -> type[Any]:
    """The class of the storage that STORAGE names, if that isn't errklein's own; raises ConfigError or StorageError."""
    plug = storage_plug(config)
    try:
        # A plugin may have the same name, and its modules must not be taken for these.
        module = load_module(replace(plug, name=f"storage {plug.name}"))
        cls, _ = plugin_class(module, StoragePluginBase)
    except PluginLoadError as error:
        raise StorageError(f"STORAGE: {error}") from error
    return cls


def check_storage(config: Config) -> None:
    """Raise ConfigError if STORAGE names nothing that there is; no code of a storage is run."""
    if config.STORAGE not in STORAGES:
        storage_plug(config)


def storage_plug(config: Config) -> PlugFile:
    """The .plug file of the storage that the configuration names; raises ConfigError that lists what there is."""
    found = list(_plugs(config))
    for plug in found:
        if plug.name == config.STORAGE:
            refusal = plug.refusal()
            if refusal is not None:
                raise ConfigError(f"STORAGE: {plug.name}: {refusal}")
            return plug
    names = ", ".join(dict.fromkeys([*STORAGES, *(plug.name for plug in found)]))
    where = config.BOT_EXTRA_STORAGE_PLUGINS_DIR or "BOT_EXTRA_STORAGE_PLUGINS_DIR"
    raise ConfigError(
        f"STORAGE: there is no storage {config.STORAGE!r} in {where} or installed; expected one of {names}"
    )


def _plugs(config: Config) -> Iterator[PlugFile]:
    extra = config.BOT_EXTRA_STORAGE_PLUGINS_DIR
    for plug in load_plug_files([*([extra] if extra else []), *entry_point_roots(GROUPS)]):
        # A module that can't be read is no storage; if it is the one that is wanted, the error says that there is none.
        with suppress(OSError):
            if b"StoragePluginBase" in plug.module_path.read_bytes():
                yield plug
