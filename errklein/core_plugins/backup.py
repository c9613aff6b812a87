"""The command `!backup`."""

from __future__ import annotations

from errklein.chat import Message
from errklein.commands import botcmd
from errklein.core_plugins import CorePlugin
from errklein.dispatch import DetailedError
from errklein.storage import StorageError
from errklein.text import code


class Backup(CorePlugin):
    """Write backups, which `errklein restore` reads."""

    @botcmd(admin_only=True)
    def backup(self, msg: Message, args: str) -> str:
        """Back up all stored data, secrets included, to files.

        The files are backup.jsonl and backup.journal.sqlite in BOT_DATA_DIR. `errklein restore` reads them.
        """
        try:
            path, count = self.host.process.back_up(self.actor(msg))
        except StorageError as error:
            summary = "The backup failed"
            raise DetailedError(f"{summary}: {code(str(error))}", summary) from error
        return f"Backup of {count} values written to {code(str(path))}. It contains their secrets."
