"""What errbot's bootstrap has for storages: the plugin that STORAGE names, and a backup restored into a bot."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from errklein.compat import core_storage
from errklein.plugins.storages import load_storage_class
from errklein.storage.backup import is_backup, read_backup
from errklein.storage.base import StoragePluginBase
from errklein.storage.bundled import MemoryStoragePlugin, ShelfStoragePlugin
from errklein.storage.errbot_backup import read_errbot_backup
from errklein.storage.transfer import put_rows

CORE_STORAGE = str(Path(core_storage.__file__).parent)
"""The directory with the .plug files of the storages that errklein brings."""


def get_storage_plugin(config: Any) -> StoragePluginBase:
    """The storage that the configuration names, as errbot has them; raises ConfigError or StorageError of one line."""
    name = getattr(config, "STORAGE", "Shelf")
    if name == "Memory":
        return MemoryStoragePlugin(config)
    if name == "Shelf":
        return ShelfStoragePlugin(config)
    made: StoragePluginBase = load_storage_class(config)(config)
    return made


def restore_bot_from_backup(backup_filename: str | Path, *, bot: Any, log: logging.Logger | None = None) -> None:
    """Put the values of a backup, errklein's or errbot's, into the bot's storage; nothing in the file is run.

    What is left out is logged. Raises StorageError.
    """
    path = Path(backup_filename)
    if is_backup(path):
        put_rows(bot.storage, read_backup(path))
        return
    read = read_errbot_backup(path)
    put_rows(bot.storage, read.rows)
    for problem in read.problems:
        (log or logging.getLogger("errbot")).error("%s", problem)
