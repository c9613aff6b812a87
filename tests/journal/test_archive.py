"""The journal's file, as other processes than the bot use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from errklein.database import Access, DatabaseError
from errklein.journal import JournalArchive, SQLiteJournal
from errklein.ports.journal import Journal
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState
from tests.clocks import ThreadClock
from tests.journal.contract import ERROR, OK, JournalCase
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

    def test_replay_while_the_bot_runs(self) -> None:
        """The bot runs deliveries again that were requested, after `wake_up` was called."""
        dead, waiting, done = self.record(lease=5), self.record(), self.record(lease=5)
        self.result_of(self.journal.bury(dead, ERROR))
        self.result_of(self.journal.finish(done, OK))
        archive = self.open()
        self.assertEqual(archive.replay([99, dead, waiting]), [dead])
        self.assertEqual(archive.replay([dead]), [dead])
        self.assertEqual(self.state(dead), DeliveryState.DEAD)
        calls: list[None] = []
        self.journal.wake_up(lambda: calls.append(None))
        self.assertFalse(self.sqlite_journal.maintain())
        self.assertEqual(len(calls), 1)
        self.assertEqual((self.get(dead).state, self.get(dead).origin), (DeliveryState.RECEIVED, "replay"))
        self.assertEqual(self.state(done), DeliveryState.DONE)
        self.assertFalse(self.sqlite_journal.maintain())
        self.assertEqual(len(calls), 1)

    def test_pauses_while_the_bot_runs(self) -> None:
        """The bot looks at its webhooks again when another process has paused or resumed one, also one without deliveries."""
        calls: list[None] = []
        self.journal.wake_up(lambda: calls.append(None))
        archive = self.open()
        for paused, found, number in ((True, ["New:hook"], 1), (True, ["New:hook"], 1), (False, [], 2)):
            archive.set_paused("New:hook", paused)
            self.assertFalse(self.sqlite_journal.maintain())
            self.assertEqual((self.result_of(self.journal.paused()), archive.paused()), (found, found))
            self.assertEqual(len(calls), number)

    def test_who_has_requested_a_replay(self) -> None:
        """The bot logs who has requested which replays. Superseded deliveries are replayed only by force."""
        first = self.record(lease=5, key="k")
        self.result_of(self.journal.bury(first, ERROR))
        again = self.record(lease=5, key="k")
        self.result_of(self.journal.bury(again, ERROR))
        archive = self.open()
        self.assertEqual(archive.replay([first, again], user="bob"), [again])
        self.assertEqual(archive.replay([first], force=True, user="alice"), [first])
        with capturedLogs() as events:
            self.sqlite_journal.maintain()
        self.assertEqual(
            [(event["log_namespace"], formatEvent(event)) for event in events],
            [
                ("errklein.audit", f"alice replays the deliveries {first}"),
                ("errklein.audit", f"bob replays the deliveries {again}"),
            ],
        )
        self.assertEqual([self.state(first), self.state(again)], [DeliveryState.RECEIVED] * 2)
        self.assertEqual(archive.webhooks(), ["Builds:build"])

    def test_many_replays(self) -> None:
        """Many deliveries are replayed in several transactions."""
        ids = [self.log(DeliveryState.FAILED) for _ in range(300)]
        self.result_of(self.journal.close())
        self.make_again()
        self.assertEqual(sorted(self.open().replay(ids)), ids)
        self.assertTrue(self.sqlite_journal.maintain())
        self.assertEqual(self.result_of(self.journal.depth())[0], 256)
        self.assertFalse(self.sqlite_journal.maintain())
        self.assertEqual(self.result_of(self.journal.depth())[0], 300)

    def make_again(self) -> None:
        """Open the journal's file again."""
        self.journal = self.sqlite_journal = SQLiteJournal(self.path, InlineReactor(), lambda: self.time, runs=INLINE)

    def test_replay_without_a_bot(self) -> None:
        """A replay is requested while no bot runs, and begins when the bot looks for it."""
        number = self.record(lease=5)
        self.result_of(self.journal.finish(number, ERROR))
        self.result_of(self.journal.close())
        self.assertEqual(self.open().replay([number]), [number])
        self.make_again()
        self.sqlite_journal.maintain()
        self.assertEqual(self.leased_ids(), [number])

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


class RunningBotTests(SynchronousTestCase):
    def test_noticed_within_seconds(self) -> None:
        """A bot with threads notices the replays of another process by itself."""
        clock = ThreadClock()
        path = Path(self.mktemp())
        journal = SQLiteJournal(path, clock, lambda: 1000.0)
        calls: list[None] = []
        journal.wake_up(lambda: calls.append(None))
        case = JournalCase()
        case.time, case.journal = 1000.0, journal
        journal.log(case.delivery(ack="after")._replace(state=DeliveryState.FAILED))
        clock.advance(1)
        self.assertTrue(clock.turn())
        archive = JournalArchive(path, Access.SHARE)
        self.addCleanup(archive.close)
        self.assertEqual(archive.replay([1]), [1])
        self.assertTrue(clock.turn())
        self.assertEqual(len(calls), 1)
        closed = journal.close()
        while not closed.called:
            self.assertTrue(clock.turn())
