"""What errbot's bootstrap has for storages: the plugin that STORAGE names, and a backup restored into a bot."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from errklein.compat import core_storage
from errklein.compat.storages.base import StoragePluginBase
from errklein.compat.storages.bundled import MemoryStoragePlugin, ShelfStoragePlugin
from errklein.compat.storages.finding import load_storage_class
from errklein.compat.stored_classes import STORED_VALUES
from errklein.compat.stored_names import NameJudge, plugs_of
from errklein.storage import StorageError
from errklein.storage.errbot_backup import read_any_backup
from errklein.storage.restoring import check_rows
from errklein.storage.transfer import put_rows

CORE_STORAGE = str(Path(core_storage.__file__).parent)
"""The directory with the .plug files of the storages that errklein includes."""


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
    """Store the values of a backup, errklein's or errbot's, in the bot's storage; nothing in the file is run.

    Values that are left out are logged. Raises StorageError, and restores nothing, if a value uses a name that restored values
    may not use; use `errklein restore --trust` for such a backup.
    """
    path = Path(backup_filename)
    read = read_any_backup(path)
    refusals, warnings = check_rows(read.rows, NameJudge(plugs_of(bot.bot_config)), ())
    if refusals:
        raise StorageError(f"{path}: nothing was restored: {'; '.join(refusals)}")
    put_rows(bot.storage, read.rows, values=STORED_VALUES)
    for problem in [*warnings, *read.problems]:
        (log or logging.getLogger("errbot")).error("%s", problem)
