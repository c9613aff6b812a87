"""The interfaces between the bot and its adapters, as Protocols: one module for each adapter. The adapters
(`networks/`, `storage/`, `journal/`, `web/`) implement or call these, and never each other. The errors here are those
that plugins catch."""

from errklein.ports.journal import JournalError
from errklein.ports.outbox import OutboxExpired, OutboxFull, RoomUnavailable, SentLater

__all__ = ["JournalError", "OutboxExpired", "OutboxFull", "RoomUnavailable", "SentLater"]
