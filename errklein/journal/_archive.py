"""The journal's file for other processes than the bot, such as the command line, also while the bot runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from errklein.chat.outgoing import MessageRecord
from errklein.database import Access, Database
from errklein.journal import _reading
from errklein.journal._outbox_store import find_messages
from errklein.journal._sqlite import MIGRATIONS
from errklein.journal._writing import replayable
from errklein.webhooks.deliveries import DeliveryQuery, StoredDelivery


class JournalArchive:
    """The deliveries in a file. All methods wait for the disk, and raise DatabaseError if the file can't be read or written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, query: DeliveryQuery) -> Sequence[StoredDelivery]:
        """Return the deliveries of a query, newest first, without their requests."""
        return _reading.find(self._database, query)

    def counted(self, query: DeliveryQuery) -> int:
        """Return the number of deliveries that were only counted; see `Journal.counted`."""
        return _reading.counted(self._database, query)

    def get(self, id: int) -> StoredDelivery | None:
        """Return a delivery with its request, as `Journal.get` does; None if it is unknown."""
        return _reading.get(self._database, id)

    def paused(self) -> Sequence[str]:
        """Return the webhooks that are paused."""
        return _reading.paused(self._database)

    def messages(self, delivery: int = 0, recipient: str = "") -> Sequence[MessageRecord]:
        """Return the records of messages that `OutboxStore.find` returns, without those of the last second."""
        return find_messages(self._database, delivery, recipient)

    def webhooks(self) -> Sequence[str]:
        """Return the webhooks that have or had deliveries, or were paused."""
        return _reading.webhooks(self._database)

    def replay(self, ids: Sequence[int], force: bool = False, user: str = "") -> Sequence[int]:
        """Let the bot run deliveries once more: a running bot within about a second, otherwise when it is started.

        :param force: Replay also those that are superseded.
        :param user: Who requests it, for the bot's log.
        :returns: The ids of those that can be replayed; see `Journal.replay`.
        """
        with self._database.transaction() as connection:
            found = replayable(connection, ids, force)
            connection.execute(
                "INSERT OR REPLACE INTO replays SELECT value, ?, ? FROM json_each(?)",
                (force, user, _reading.as_ids(found)),
            )
            return found

    def pause(self, webhook: str) -> None:
        """Let the deliveries of the webhook wait: for a running bot within about a second, and after its next start."""
        self._set_paused(webhook, True)

    def resume(self, webhook: str) -> None:
        """Run the deliveries of a paused webhook again."""
        self._set_paused(webhook, False)

    def _set_paused(self, webhook: str, paused: bool) -> None:
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO routes (name) VALUES (?)", (webhook,))
            connection.execute("UPDATE routes SET paused = ? WHERE name = ?", (paused, webhook))

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def open_archive(path: Path | None, access: Access = Access.READ) -> JournalArchive:
    """Open the file of a journal, which must exist and have the schema of this errklein; None for an archive without deliveries.

    :param access: `SHARE` for replays and pauses.
    :raises DatabaseError: The file is missing, can't be read, or has another schema.
    """
    return JournalArchive(Database(path, MIGRATIONS, access))
