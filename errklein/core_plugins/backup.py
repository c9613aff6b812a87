"""`!backup`."""

from __future__ import annotations

from pathlib import Path

from errklein.chat import Message
from errklein.commands import botcmd
from errklein.core_plugins import CorePlugin
from errklein.dispatch import DetailedError
from errklein.storage import BACKUP_NAME, StorageError, rows_of, write_backup
from errklein.text import code


class Backup(CorePlugin):
    """Writes backups, which `errklein restore` reads."""

    @botcmd(admin_only=True)
    def backup(self, msg: Message, args: str) -> str:
        """Write all that plugins have stored, configurations and passwords included, into a file in BOT_DATA_DIR."""
        bot = self._bot
        path = Path(bot.bot_config.BOT_DATA_DIR) / BACKUP_NAME
        # A storage that isn't errklein's can't tell what namespaces it has.
        backends = (f"{backend.mode}_backend" for backend in bot.backends.values())
        names = {"core", "repomgr", *backends, *(plugin.name for plugin in bot.plugin_manager.found)}
        try:
            count = write_backup(path, rows_of(bot.storage, names))
        except StorageError as error:
            summary = "There is no new backup"
            raise DetailedError(f"{summary}: {code(str(error))}", summary) from error
        return f"The backup is in {code(str(path))}: {count} values, and with them whatever is secret in them."
