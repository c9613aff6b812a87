"""The journal's file for other processes than the bot, such as the command line, also while the bot runs, and its backups."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from errklein.chat.outgoing import PAUSED, MessageRecord
from errklein.database import Access, Database, DatabaseError, upgrade_of, write_copy
from errklein.journal._outbox_store import find_messages
from errklein.journal._reading import JournalReader
from errklein.journal._redaction import Redaction
from errklein.journal._sqlite import DATABASE, MIGRATIONS
from errklein.journal._writing import JournalWriter
from errklein.webhooks.deliveries import REMOVED_WEBHOOK, Action, Balance


class JournalArchive(JournalReader):
    """The journal in a file, which exists and has this schema. All methods wait for the disk, and raise DatabaseError."""

    def __init__(self, path: Path | None, access: Access = Access.READ) -> None:
        super().__init__(Database(path, MIGRATIONS, access))
        self._writer = JournalWriter(time.time, Redaction(), 0.0)

    def messages(self, delivery: int = 0, recipient: str = "") -> Sequence[MessageRecord]:
        """Return the records of messages that `OutboxStore.find` returns, without those of the last second."""
        return find_messages(self._database, delivery, recipient, self.queries)

    def waiting_messages(self) -> dict[str, int]:
        rows = self._database.read("SELECT network, count(*) FROM outbox GROUP BY network")
        return {network.decode("utf-8", "surrogatepass"): number for network, number in rows}

    def replay(self, ids: Sequence[int], force: bool = False, user: str = "", spacing: float = 0.0) -> Sequence[int]:
        """Let the bot, which doesn't run, run deliveries once more after its next start. Return the ids of those; see `Journal.replay`."""
        with self._database.transaction() as connection:
            return self._writer.replay(connection, ids, force, spacing)

    def set_paused(self, webhook: str, paused: bool) -> None:
        """Let the deliveries of the webhook wait or run after the next start of the bot, which doesn't run."""
        with self._database.transaction() as connection:
            self._writer.pause(connection, webhook, paused)

    def note(self, who: str, operation: str, arguments: str) -> None:
        """Store what somebody does in the shell while no bot runs."""
        with self._database.transaction() as connection:
            self._writer.note(connection, Action(time.time(), who, "shell", operation, arguments))

    def balances(self, since: float, until: float) -> Sequence[Balance]:
        """Return what has become of the deliveries and messages that were accepted in a period, which is rounded to
        whole hours. It begins later if the numbers of its first hours aren't kept any more."""
        period = {"since": since // 3600 * 3600, "until": -(-until // 3600 * 3600), "removed": REMOVED_WEBHOOK}
        rows = self._database.read(self.queries["balances"], period)
        return [Balance(kind, first, accepted, *map(json.loads, others)) for kind, first, accepted, *others in rows]

    def release_messages(self) -> int:
        """Let the next start of the bot send the messages that `restore_paused` has paused, and return their number."""
        count, change = 0, "UPDATE outbox SET network = ? WHERE network = ?"
        with self._database.transaction() as connection:
            for (network,) in connection.execute("SELECT DISTINCT network FROM outbox").fetchall():
                if network.startswith(PAUSED.encode()):
                    count += connection.execute(change, (network.removeprefix(PAUSED.encode()), network)).rowcount
        return count

    def nodes(self) -> Sequence[str] | None:
        """Return the names of the processes of the bot; None if they aren't known, since the journal is a file."""
        return None

    def close(self) -> None:
        self._database.close()


def backup_of(values: Path) -> Path:
    """Return the path of the journal's backup that belongs to a backup of values: backup.journal.sqlite to backup.jsonl."""
    return values.with_name(f"{values.stem}.{DATABASE}")


def back_up(directory: Path | None, values: Path) -> Path | None:
    """Copy the journal in the data directory as of one moment, for a backup of values. Return the path; None without a
    journal there. Raises DatabaseError if the journal can't be read, or the copy can't be written."""
    backup = backup_of(values)
    if directory is None or not (journal := directory / DATABASE).exists():
        # A copy from before would belong to other values.
        backup.unlink(missing_ok=True)
        return None
    write_copy(journal, backup)
    return backup


def check_backup(backup: Path) -> None:
    """Raise DatabaseError if the backup of a journal is missing, or can't be restored by this errklein."""
    if not backup.exists():
        raise DatabaseError(f"{backup} is missing, so there are no deliveries to restore")
    upgrade_of(backup, MIGRATIONS)


def restore_paused(directory: Path, backup: Path) -> tuple[int, int]:
    """Replace the journal in the data directory by a backup. Return the numbers of deliveries and messages that wait.
    Nothing that waits in it is run or sent: webhooks with such deliveries are paused, and the messages wait for
    `JournalArchive.release_messages`. A copy of the earlier journal is kept as `journal.sqlite.before-restore`. If the journal can't
    be written, it is unchanged, and DatabaseError is raised."""
    journal = directory / DATABASE
    restored = journal.with_name(f"{DATABASE}.restored")
    try:
        write_copy(backup, restored)
        with closing(Database(restored, MIGRATIONS)) as database:
            with database.transaction() as connection:
                connection.execute(
                    "UPDATE routes SET paused = 1 WHERE id IN (SELECT route FROM deliveries WHERE state < 3)"
                )
                marked = (
                    "UPDATE outbox SET network = CAST(? || network AS BLOB) WHERE instr(network, CAST(? AS BLOB)) != 1"
                )
                connection.execute(marked, (PAUSED, PAUSED))
            ((deliveries, messages),) = database.read(
                "SELECT (SELECT count(*) FROM deliveries WHERE state < 3), (SELECT count(*) FROM outbox)"
            )
        if journal.exists():
            write_copy(journal, journal.with_name(f"{DATABASE}.before-restore"))
        write_copy(restored, journal)
    finally:
        # With the copy from before the upgrade of an older backup.
        for file in directory.glob(f"{restored.name}*"):
            file.unlink()
    return deliveries, messages
