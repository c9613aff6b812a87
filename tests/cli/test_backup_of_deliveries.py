"""`errklein backup` and `restore` with the journal: deliveries of webhooks, and messages that wait."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

from twisted.internet.defer import Deferred

from errklein.bot._sending import restore_outboxes
from errklein.chat.handles import Handle, MessageRef
from errklein.chat.outgoing import MessageRecord, MessageState, OutgoingMessage
from errklein.database import Access, Database
from errklein.journal import DATABASE, JournalArchive, SQLiteJournal
from errklein.journal._sqlite import MIGRATIONS
from errklein.service import DataDirectory
from tests.cli.test_data import DataCase
from tests.journal.contract import OK, JournalCase
from tests.journal.inline import INLINE, InlineReactor


class DeliveriesCase(JournalCase, DataCase):
    """A bot with a waiting delivery, one that is done, a message that waits, and the ids of one that was sent."""

    def setUp(self) -> None:
        """Store them, and leave the bot running."""
        DataCase.setUp(self)
        self.time = 1000.0
        self.journal = self.open_journal()
        self.waiting, done = self.record(), self.record(webhook="Other:done", lease=5)
        self.result_of(self.journal.finish(done, OK))
        outbox = self.journal.outbox
        outbox.add(OutgoingMessage(0, "irc", "#ops", "Build 7 failed", accepted_at=self.time))
        sent = MessageRecord(0, "irc", "#ops", 0, MessageState.SENT, self.time, key="sent")
        outbox.end(sent, [MessageRef("irc", "#ops", "m1")])
        self.result_of(outbox.flush())
        self.store("Greeter", count=1)

    def open_journal(self) -> SQLiteJournal:
        """Open the journal as the bot does."""
        return SQLiteJournal(self.data / DATABASE, InlineReactor(), lambda: self.time, runs=INLINE)

    def back_up(self) -> None:
        """Write a backup, and stop the bot."""
        self.assertEqual(self.run_command("backup"), 0)
        self.result_of(self.journal.close())

    def lose_data(self) -> None:
        """Remove everything except the backup."""
        for path in self.data.iterdir():
            if not path.name.startswith("backup."):
                path.unlink()

    def networks(self) -> list[str]:
        """Return the networks of the messages that wait, as the next start reads them, and close the journal."""
        self.journal = self.open_journal()
        networks = [message.network for message in self.result_of(self.journal.outbox.lease())]
        self.result_of(self.journal.close())
        return networks


class BackupTests(DeliveriesCase):
    """The backup."""

    def test_backup_of_a_running_bot(self) -> None:
        """The copy of the journal has the latest deliveries and messages, and the bot's files are unchanged."""
        lock = DataDirectory(self.data)
        lock.lock()
        self.addCleanup(lock.unlock)
        before = {path.name: path.read_bytes() for path in self.data.iterdir()}
        self.assertEqual(self.run_command("backup"), 0)
        self.assertEqual(
            {name: (self.data / name).read_bytes() for name in before if "shm" not in name},
            {name: contents for name, contents in before.items() if "shm" not in name},
        )
        self.assertIn("backup.jsonl: 1 value\n", self.out.getvalue())
        copy = Database(self.data / "backup.journal.sqlite", MIGRATIONS, Access.READ)
        self.addCleanup(copy.close)
        self.assertEqual(copy.read("SELECT id FROM deliveries ORDER BY id"), [(1,), (2,)])
        self.assertEqual(copy.read("SELECT recipient FROM outbox"), [(b"#ops",)])
        self.assertEqual((self.data / "backup.journal.sqlite").stat().st_mode & 0o777, 0o600)
        self.result_of(self.journal.close())

    def test_backup_without_a_journal(self) -> None:
        """A copy of an earlier backup isn't left beside the new one."""
        self.back_up()
        (self.data / DATABASE).unlink()
        self.assertEqual(self.run_command("backup"), 0)
        self.assertFalse((self.data / "backup.journal.sqlite").exists())


class RestoreTests(DeliveriesCase):
    """The restoration."""

    def test_restore_of_values_only(self) -> None:
        """Deliveries and messages aren't restored unasked."""
        self.back_up()
        self.lose_data()
        self.assertEqual(self.run_command("restore"), 0)
        self.assertEqual(self.stored(), {("Greeter", "count"): 1})
        self.assertFalse((self.data / DATABASE).exists())

    def test_restore_is_paused(self) -> None:
        """With --with-deliveries, webhooks with waiting deliveries are paused, and messages belong to no network."""
        self.back_up()
        self.lose_data()
        self.assertEqual(self.run_command("restore", "--with-deliveries"), 0)
        self.assertIn("1 of which wait", self.out.getvalue())
        self.journal = self.open_journal()
        self.assertEqual(self.result_of(self.journal.paused()), ["Builds:build"])
        self.assertEqual(self.get(self.waiting).request.body, b'{"status": "ok"}')
        self.assertEqual(self.find(), [2, 1])
        refs = self.result_of(self.journal.outbox.refs_of(Handle("irc/sent")))
        self.assertEqual(refs, [MessageRef("irc", "#ops", "m1")])
        self.result_of(self.journal.close())
        self.assertEqual(self.networks(), ["paused:irc"])
        self.assertEqual(
            {path.name for path in self.data.iterdir()} - {"errklein.lock"},
            {"backup.jsonl", "backup.journal.sqlite", "errklein.sqlite", DATABASE},
        )

    def test_release_of_messages(self) -> None:
        """After `release-messages`, the next start sends the messages."""
        self.back_up()
        self.lose_data()
        self.run_command("restore", "--with-deliveries")
        self.assertEqual(self.run_command("release-messages"), 0)
        self.assertIn("OUTBOX_MAX_AGE: 1\n", self.out.getvalue())
        self.assertEqual(self.networks(), ["irc"])
        with closing(JournalArchive(self.data / DATABASE)) as archive:
            self.assertEqual([one.operation for one in archive.actions()], ["release-messages", "restore"])

    def test_old_messages(self) -> None:
        """Restored messages that are older than OUTBOX_MAX_AGE are dropped with a notice, released or not."""
        self.back_up()
        self.lose_data()
        self.run_command("restore", "--with-deliveries")
        self.time += 4000
        self.journal = self.open_journal()
        notices: list[str] = []
        stored = restore_outboxes(
            self.journal.outbox, [], lambda key, text: notices.append(text), lambda network: 3600.0, lambda: self.time
        )
        self.successResultOf(Deferred.fromCoroutine(stored))
        self.result_of(self.journal.close())
        self.assertIn("not sent within OUTBOX_MAX_AGE", notices[0])
        self.assertEqual(self.networks(), [])

    def test_earlier_journal_is_kept(self) -> None:
        """What was in the journal before the restoration is in a copy."""
        self.back_up()
        self.journal = self.open_journal()
        self.record(webhook="New:one")
        self.result_of(self.journal.close())
        self.assertEqual(self.run_command("restore", "--with-deliveries", "--force"), 0)
        copy = Database(self.data / "journal.sqlite.before-restore", MIGRATIONS, Access.READ)
        self.addCleanup(copy.close)
        self.assertEqual(copy.read("SELECT count(*) FROM deliveries"), [(3,)])
        self.assertEqual(self.networks(), ["paused:irc"])

    def test_missing_and_unusable_backups(self) -> None:
        """Without a usable copy of the journal, nothing is restored."""
        self.back_up()
        self.lose_data()
        shutil.copy(self.data / "backup.jsonl", self.directory / "other.jsonl")
        error = self.refused("restore", str(self.directory / "other.jsonl"), "--with-deliveries")
        self.assertIn("other.journal.sqlite is missing", error)
        (self.data / "backup.journal.sqlite").write_bytes(b"nonsense" * 1000)
        self.assertIn("damaged", self.refused("restore", "--with-deliveries"))
        self.assertEqual({Path(path).name for path in self.data.iterdir()}, {"backup.jsonl", "backup.journal.sqlite"})
