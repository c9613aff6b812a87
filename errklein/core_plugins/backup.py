"""The command `!backup`."""

from __future__ import annotations

from pathlib import Path

from errklein.chat import Message
from errklein.commands import botcmd
from errklein.core_plugins import CorePlugin
from errklein.database import DatabaseError
from errklein.dispatch import DetailedError
from errklein.journal import back_up
from errklein.storage import BACKUP_NAME, StorageError, rows_of, write_backup
from errklein.text import code


class Backup(CorePlugin):
    """Write backups, which `errklein restore` reads."""

    @botcmd(admin_only=True)
    def backup(self, msg: Message, args: str) -> str:
        """Back up all stored data, secrets included, to files.

        The files are backup.jsonl and backup.journal.sqlite in BOT_DATA_DIR. `errklein restore` reads them.
        """
        bot = self._bot
        path = Path(bot.bot_config.BOT_DATA_DIR) / BACKUP_NAME
        # Third-party storages can't list their namespaces.
        backends = (f"{backend.mode}_backend" for backend in bot.backends.values())
        names = {"core", "repomgr", *backends, *(plugin.name for plugin in bot.plugin_manager.found)}
        try:
            count = write_backup(path, rows_of(bot.storage, names))
            if bot.bot_config.STORAGE != "Memory":
                back_up(path.parent, path)
        except (DatabaseError, StorageError) as error:
            summary = "The backup failed"
            raise DetailedError(f"{summary}: {code(str(error))}", summary) from error
        return f"Backup of {count} values written to {code(str(path))}. It contains their secrets."
