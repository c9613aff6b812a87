"""The command `!backup`."""

from __future__ import annotations

from errklein.chat import Message
from errklein.commands import botcmd
from errklein.core_plugins import CorePlugin
from errklein.storage import StorageError
from errklein.text import code


class Backup(CorePlugin):
    """Write backups, which `errklein restore` reads."""

    refusals, failure = (StorageError,), "The backup failed"

    @botcmd(admin_only=True)
    def backup(self, msg: Message, args: str) -> str:
        """Back up all stored data, secrets included, to files.

        The files are backup.jsonl and backup.journal.sqlite in BOT_DATA_DIR. `errklein restore` reads them.
        """
        path, count = self.host.process.back_up(self.actor(msg))
        return f"Backup of {count} values written to {code(str(path))}. It contains their secrets."
