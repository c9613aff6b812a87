"""The journal's file, as other processes than the bot use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.database import Access, DatabaseError
from errklein.journal import JournalArchive, SQLiteJournal
from errklein.ports.journal import Journal
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState
from tests.journal.contract import ERROR, JournalCase
from tests.journal.inline import INLINE, InlineReactor


class ArchiveTests(JournalCase, SynchronousTestCase):
    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return the journal of a running bot."""
        self.path = Path(self.mktemp())
        self.sqlite_journal = SQLiteJournal(self.path, InlineReactor(), now, runs=INLINE)
        return self.sqlite_journal

    def open(self) -> JournalArchive:
        """Open the file while the bot runs."""
        archive = JournalArchive(self.path, Access.SHARE)
        self.addCleanup(archive.close)
        return archive

    def test_same_deliveries(self) -> None:
        """Lists and deliveries are those of the journal."""
        number = self.record(lease=5)
        self.result_of(self.journal.finish(number, ERROR))
        self.record(webhook="A:a")
        archive = self.open()
        for query in (DeliveryQuery(), DeliveryQuery(states=[DeliveryState.FAILED])):
            self.assertEqual(archive.find(query), self.result_of(self.journal.find(query)))
        self.assertEqual(archive.get(number), self.get(number))
        self.assertIsNone(archive.get(99))

    def test_replay(self) -> None:
        """Without a bot, deliveries that have ended run again after its next start; superseded ones only by force."""
        first, waiting = self.record(lease=5, key="k"), self.record()
        self.result_of(self.journal.bury(first, ERROR))
        again = self.record(lease=5, key="k")
        self.result_of(self.journal.bury(again, ERROR))
        self.result_of(self.journal.close())
        archive = self.open()
        self.assertEqual(archive.replay([99, first, waiting, again]), [again])
        self.assertEqual(archive.replay([first], force=True), [first])
        self.assertEqual(archive.replay([first], force=True), [])
        archive.close()
        self.make_again()
        self.assertEqual((self.get(again).state, self.get(again).origin), (DeliveryState.RECEIVED, "replay"))
        self.assertEqual(sorted(self.leased_ids()), [first, waiting, again])

    def test_pauses(self) -> None:
        """Without a bot, webhooks are paused and resumed, also one without deliveries."""
        self.result_of(self.journal.close())
        archive = self.open()
        for paused, found in ((True, ["New:hook"]), (True, ["New:hook"]), (False, []), (True, ["New:hook"])):
            archive.set_paused("New:hook", paused)
            self.assertEqual(archive.paused(), found)
        archive.close()
        self.make_again()
        self.assertEqual(self.result_of(self.journal.paused()), ["New:hook"])

    def make_again(self) -> None:
        """Open the journal's file again."""
        self.journal = self.sqlite_journal = SQLiteJournal(self.path, InlineReactor(), lambda: self.time, runs=INLINE)

    def test_unusable_files(self) -> None:
        """A missing file is an error and isn't created; neither are a damaged file and a closed archive readable."""
        missing = Path(self.mktemp())
        self.assertIn("doesn't exist", str(self.assertRaises(DatabaseError, JournalArchive, missing)))
        self.assertFalse(missing.exists())
        damaged = Path(self.mktemp())
        damaged.write_bytes(b"x" * 5000)
        self.assertIn("damaged", str(self.assertRaises(DatabaseError, JournalArchive, damaged)))
        archive = self.open()
        archive.close()
        for call in (lambda: archive.get(1), lambda: archive.find(DeliveryQuery()), lambda: archive.replay([1])):
            self.assertRaises(DatabaseError, call)
