"""The file of outgoing messages: when they are written, deliveries that wait for them, full disks, crashes and threads."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat.handles import Handle, MessageRef
from errklein.chat.outgoing import MessageRecord, MessageState, OutgoingMessage, waiting_record
from errklein.database import Database, DatabaseError
from errklein.journal import JournalArchive, SQLiteJournal, _outbox_store, _sqlite
from errklein.journal._outbox_store import FLUSH_INTERVAL
from errklein.ports.journal import JournalError
from errklein.webhooks.deliveries import DeliveryState, StoredDelivery
from tests import takes_long
from tests.clocks import ThreadClock
from tests.journal.contract import ERROR, OK, REQUEST
from tests.journal.crash import kill_during_messages
from tests.journal.inline import INLINE, InlineReactor, WaitingThreads

SIDE_FILES = ("", "-wal", "-shm")


def sent(number: int) -> MessageRecord:
    """Return the record of a message that was sent."""
    return MessageRecord(number, "IRC", "#builds", 0, MessageState.SENT, 1000.0, key=f"k{number}")


def refs(number: int) -> list[MessageRef]:
    """Return the ids of a message that was sent."""
    return [MessageRef("IRC", "#builds", f"m{number}"), MessageRef("IRC", "#builds", f"m{number}", "thread")]


class StoreCase(SynchronousTestCase):
    """A store whose thread works when the test calls `turn`, on a disk that can be full."""

    now = 1000.0

    def setUp(self) -> None:
        """Open a journal with a new file, and observe its statements and the log."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.path = directory / "journal.sqlite"
        self.reactor = InlineReactor()
        self.connections: list[sqlite3.Connection] = []
        self.statements: list[str] = []
        self.on_statement: Callable[[str], None] = self.statements.append
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        self.open()
        self.addCleanup(self.close)

    def observe(self, event: dict[str, Any]) -> None:
        """Record a line of the store's log."""
        if event["log_namespace"] == _outbox_store.__name__:
            self.lines.append(event["log_format"].format(**event))
            if event["log_level"] is LogLevel.error:
                self.flushLoggedErrors()

    def open(self) -> None:
        """Open the journal."""
        self.threads = WaitingThreads()
        connect = sqlite3.connect

        def observed(*args: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*args, **options)
            connection.set_trace_callback(lambda sql: self.on_statement(sql))
            self.connections.append(connection)
            return connection

        self.connections.clear()
        with mock.patch.object(sqlite3, "connect", observed):
            self.journal = SQLiteJournal(self.path, self.reactor, lambda: self.now, runs=self.threads.runs)
        self.store = self.journal.outbox
        self.statements.clear()

    def close(self) -> None:
        """Close the journal."""
        closed = self.journal.close()
        self.threads.turn()
        self.successResultOf(closed)

    def wait(self, seconds: float) -> None:
        """Let time pass, and the thread work."""
        self.reactor.advance(seconds)
        self.threads.turn()

    def add(self, body: str = "hi", delivery: int = 0) -> OutgoingMessage:
        """Add a message, and return it."""
        return self.store.add(OutgoingMessage(0, "IRC", "#builds", body, delivery=delivery))

    def lease(self) -> Sequence[OutgoingMessage]:
        """Return what the store leases."""
        leased = self.store.lease()
        self.threads.turn()
        return self.successResultOf(leased)

    def end(self, state: MessageState = MessageState.SENT, reason: str = "", delivery: int = 0) -> MessageRecord:
        """Add a message that has ended at once, and return its record."""
        record = waiting_record(self.add())._replace(state=state, at=1000.0, reason=reason, delivery=delivery)
        self.store.end(record)
        return record

    def recorded(self, delivery: int) -> Sequence[MessageRecord]:
        """Return the records of a delivery's messages that another program sees in the file."""
        with closing(JournalArchive(self.path)) as archive:
            return archive.messages(delivery)

    def written(self) -> list[int]:
        """Return the ids of the messages that another program sees in the file."""
        with closing(sqlite3.connect(self.path)) as connection:
            return [number for (number,) in connection.execute("SELECT id FROM outbox ORDER BY id")]

    def refs_of(self, number: int) -> list[MessageRef]:
        """Return the ids of a message."""
        return list(self.successResultOf(self.store.refs_of(Handle(f"IRC/k{number}"))))

    def stored_ids(self) -> list[str]:
        """Return the keys of the messages whose ids another program sees in the file."""
        with closing(sqlite3.connect(self.path)) as connection:
            return [key.decode() for (key,) in connection.execute("SELECT key FROM sent_ids ORDER BY key")]

    def is_on_disk(self, text: bytes) -> bool:
        """Return whether one of the files contains the text."""
        files = [Path(f"{self.path}{end}") for end in SIDE_FILES]
        return any(text in file.read_bytes() for file in files if file.exists())

    def set_disk_full(self, full: bool) -> None:
        """Let the file not grow, or grow again."""
        for connection in self.connections:
            connection.execute(f"PRAGMA max_page_count = {1 if full else 2**30}")

    def record(self) -> int:
        """Record a delivery that runs, and return its id."""
        number = self.journal.next_id()
        delivery = StoredDelivery(number, "A:a", DeliveryState.RECEIVED, 1000.0, ack="now", request=REQUEST)
        recorded = self.journal.record(delivery, lease=60.0)
        self.threads.turn()
        self.successResultOf(recorded)
        return number

    def state(self, number: int) -> DeliveryState:
        """Return the state of a delivery."""
        delivery = self.successResultOf(self.journal.get(number))
        assert delivery is not None
        return delivery.state


class WritingTests(StoreCase):
    def test_written_within_15_ms(self) -> None:
        """A message is written 15 ms after the first one that isn't; those that are added meanwhile are written with it."""
        first = self.add()
        self.assertTrue(self.store.unwritten)
        self.wait(0.01)
        second = self.add()
        self.assertEqual(self.written(), [])
        self.wait(0.005)
        self.assertEqual(self.written(), [first.id, second.id])
        self.assertFalse(self.store.unwritten)
        third = self.add()
        self.wait(0.015)
        self.assertEqual(self.written(), [first.id, second.id, third.id])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_sent_at_once(self) -> None:
        """A message that is sent before its transaction begins, part by part, is never written, and causes no transaction."""
        message = self.add("at once")
        self.store.advance(message.id, 0.5)
        self.store.end(sent(message.id))
        self.assertFalse(self.store.unwritten)
        self.wait(1)
        self.assertEqual(self.statements, [])
        message = self.add("while another transaction runs")
        self.reactor.advance(0.015)
        self.store.end(sent(message.id))
        self.threads.turn()
        self.wait(1)
        self.assertFalse(self.is_on_disk(b"at once"))
        self.assertFalse(self.is_on_disk(b"while another"))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_ids_of_a_message_sent_at_once(self) -> None:
        """Of a message that is sent before its transaction begins, only the ids are written, within 50 ms."""
        message = self.add("at once")
        self.store.end(sent(message.id), refs(message.id))
        self.assertEqual(self.refs_of(message.id), refs(message.id))
        self.wait(0.051)
        self.assertEqual((self.written(), self.stored_ids()), ([], [f"k{message.id}"]))
        self.assertFalse(self.is_on_disk(b"at once"))
        self.assertEqual(self.refs_of(message.id), refs(message.id))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_ids_and_removal_are_one_transaction(self) -> None:
        """Another process finds a message or its ids, never both or neither."""
        message = self.add()
        self.wait(0.015)
        self.store.end(sent(message.id), refs(message.id))
        seen = []

        def look(statement: str) -> None:
            seen.append((self.written(), self.stored_ids()))

        self.on_statement = look
        self.wait(0.05)
        self.on_statement = self.statements.append
        before, after = ([message.id], []), ([], [f"k{message.id}"])
        self.assertEqual([pair for pair in seen if pair not in (before, after)], [])
        self.assertIn(before, seen)
        self.assertEqual((self.written(), self.stored_ids()), after)

    def test_changed_while_it_is_written(self) -> None:
        """A message that is changed within its transaction is changed by the next one, which `flush` waits for."""
        message = self.add("before")
        flushed = []

        def change(statement: str) -> None:
            if statement.startswith("INSERT INTO outbox"):
                self.store.change(message.id, "after")
                flushed.append(self.store.flush())

        self.on_statement = change
        self.wait(0.015)
        self.on_statement = self.statements.append
        self.successResultOf(flushed[0])
        self.close()
        self.open()
        self.assertEqual([one.body for one in self.lease()], ["after"])

    def test_sent_while_it_is_written(self) -> None:
        """A message that is removed within its transaction is deleted soon."""
        message, kept = self.add("removed"), self.add("kept")

        def remove(statement: str) -> None:
            if statement.startswith("INSERT INTO outbox"):
                self.store.end(sent(message.id))

        self.on_statement = remove
        self.wait(0.015)
        self.on_statement = self.statements.append
        self.wait(0.05)
        self.assertEqual(self.written(), [kept.id])

    def test_sent_while_a_transaction_fails(self) -> None:
        """A message that is sent while its transaction fails is neither written nor removed later."""
        message = self.add("x" * 200_000)
        self.store.advance(message.id, 0.5)

        def end(statement: str) -> None:
            if statement.startswith("INSERT INTO outbox"):
                self.store.end(sent(message.id))

        self.on_statement = end
        self.set_disk_full(True)
        self.wait(0.015)
        self.set_disk_full(False)
        self.on_statement = self.statements.append
        self.assertFalse(self.store.unwritten)
        self.wait(3)
        self.assertEqual((self.statements, self.reactor.getDelayedCalls()), ([], []))

    def test_removals_are_grouped(self) -> None:
        """Messages and parts that were sent are written together, 50 ms later, or with a new message."""
        messages = [self.add() for _ in range(4)]
        self.wait(0.015)
        self.statements.clear()
        self.store.end(sent(messages[0].id))
        self.wait(0.02)
        self.store.end(sent(messages[1].id))
        self.store.advance(messages[2].id, 0.75)
        self.assertEqual(len(self.written()), 4)
        self.wait(0.031)
        self.assertEqual(self.written(), [messages[2].id, messages[3].id])
        self.assertEqual(self.statements.count("BEGIN IMMEDIATE"), 1)
        self.store.end(sent(messages[2].id))
        new = self.add()
        self.wait(0.015)
        self.assertEqual(self.written(), [messages[3].id, new.id])

    def test_flush(self) -> None:
        """`flush` fires when what was added before it is on disk, also if a transaction has taken it already."""
        self.add()
        self.reactor.advance(0.015)
        self.add()
        flushed = self.store.flush()
        self.assertNoResult(flushed)
        self.threads.turn()
        self.successResultOf(flushed)
        self.assertEqual(len(self.written()), 2)

    def test_flushes_share_a_transaction(self) -> None:
        """Flushes that follow another one wait for each other, and write nothing that was sent meanwhile."""
        self.add()
        flushes = [self.store.flush()]
        self.threads.turn()
        sent = self.add()
        flushes.append(self.store.flush())
        added = self.add()
        flushes.append(self.store.flush())
        self.threads.turn()
        self.successResultOf(flushes[0])
        self.assertNoResult(flushes[1])
        self.statements.clear()
        self.store.end(waiting_record(sent)._replace(state=MessageState.SENT))
        self.wait(FLUSH_INTERVAL)
        for flushed in flushes[1:]:
            self.successResultOf(flushed)
        self.assertEqual(self.statements.count("COMMIT"), 1)
        self.assertEqual(self.written()[1:], [added.id])

    def test_clock_that_is_set_back(self) -> None:
        """A flush doesn't wait for the time that the clock has lost, nor does one that has waited already."""
        self.add()
        self.store.flush()
        self.threads.turn()
        self.add()
        waiting = self.store.flush()
        self.reactor.rightNow -= 3600.0
        flushed = self.store.flush()
        self.threads.turn()
        self.successResultOf(waiting)
        self.successResultOf(flushed)
        self.assertEqual(len(self.written()), 2)

    def test_flush_after_everything_was_sent(self) -> None:
        """A flush that waits for others doesn't write if there is nothing left to write."""
        self.add()
        self.store.flush()
        self.threads.turn()
        sent = self.add()
        flushed = self.store.flush()
        self.statements.clear()
        self.store.end(waiting_record(sent)._replace(state=MessageState.SENT))
        self.wait(FLUSH_INTERVAL)
        self.successResultOf(flushed)
        self.assertEqual(self.statements, [])

    def test_close_during_a_flush(self) -> None:
        """Closing the journal doesn't wait for the next flush."""
        self.add()
        self.store.flush()
        self.threads.turn()
        added = self.add()
        flushed = self.store.flush()
        self.close()
        self.successResultOf(flushed)
        self.assertEqual(self.written()[1:], [added.id])
        self.open()

    def test_flush_during_a_transaction(self) -> None:
        """`flush` doesn't fire before the end of the transaction that writes the messages."""
        self.add()
        flushed: list[tuple[Deferred[None], bool]] = []

        def flush(statement: str) -> None:
            if statement.startswith("INSERT INTO outbox"):
                done = self.store.flush()
                flushed.append((done, done.called))

        self.on_statement = flush
        self.wait(0.015)
        ((done, was_called),) = flushed
        self.assertFalse(was_called)
        self.successResultOf(done)

    def test_many_messages_of_one_process(self) -> None:
        """A process may accept a billion messages, none of them stored, before an id is used a second time."""
        first = self.add().id
        self.close()
        self.open()
        self.assertGreater(self.add().id - first, 1_000_000_000)

    def test_upgrade(self) -> None:
        """A file without the table of messages is upgraded, and keeps its deliveries; other processes name the version."""
        self.close()
        self.path.unlink()
        Database(self.path, _sqlite.MIGRATIONS[:1]).close()
        self.assertIn("has schema 1", str(self.assertRaises(DatabaseError, JournalArchive, self.path)))
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("INSERT INTO routes (name) VALUES ('A:a')")
            connection.execute(
                "INSERT INTO deliveries VALUES (7, 1, 4, 1000.0, '', 1, 1, 0, '', '', 1000.0, 500, '', 0, 1)"
            )
            connection.commit()
        self.open()
        self.assertEqual(self.state(7), DeliveryState.DEAD)
        message = self.add()
        self.wait(0.015)
        self.assertEqual(self.written(), [message.id])
        JournalArchive(self.path).close()

    def totals(self) -> list[tuple[int, ...]]:
        """Return the numbers of messages by hour that another program sees: accepted, sent, dropped, rejected, and the ids of the ledger."""
        with closing(sqlite3.connect(self.path)) as connection:
            ids = [number for (number,) in connection.execute("SELECT id FROM message_ledger ORDER BY id")]
            self.assertEqual(ids, self.written())
            return connection.execute("SELECT * FROM message_totals ORDER BY at").fetchall()

    def test_totals(self) -> None:
        """Each message is counted once when it was accepted and once at its end, whether it was on disk or not."""
        waits, stored = self.add(), self.add()
        self.store.change(waits.id, body="later")
        self.wait(0.015)
        self.assertEqual(self.totals(), [(0, 2, 0, 0, 0)])
        # Twice, as after a connection that broke.
        for _ in range(2):
            self.store.end(sent(stored.id))
        self.end(MessageState.REJECTED, "no")
        self.store.end(sent(0)._replace(at=7300.0))
        self.wait(0.05)
        self.assertEqual(self.totals(), [(0, 3, 1, 0, 1), (7200, 1, 1, 0, 0)])
        self.store.end(sent(stored.id))
        self.store.end(sent(waits.id)._replace(state=MessageState.DROPPED))
        self.wait(0.05)
        self.assertEqual(self.totals(), [(0, 3, 1, 1, 1), (7200, 1, 1, 0, 0)])

    def test_totals_of_what_was_never_on_disk(self) -> None:
        """The numbers of messages that were sent at once are written by maintenance, within a minute, and when the journal is closed."""
        for _ in range(3):
            self.end()
        self.wait(10)
        self.assertEqual(self.totals(), [])
        for _ in range(60):
            self.journal.maintain()
        self.assertEqual(self.totals(), [(0, 3, 3, 0, 0)])
        self.end()
        self.close()
        self.assertEqual(self.totals(), [(0, 4, 4, 0, 0)])

    def test_totals_on_a_full_disk(self) -> None:
        """Nothing is counted twice, or not at all, when a transaction is undone and a message is sent meanwhile."""
        self.set_disk_full(True)
        message = self.add("x" * 100_000)
        self.wait(0.015)
        self.store.end(sent(message.id))
        self.set_disk_full(False)
        self.end()
        self.wait(60)
        self.add()
        self.wait(0.015)
        self.assertEqual(self.totals(), [(0, 3, 2, 0, 0)])

    def test_records_share_a_transaction(self) -> None:
        """Records are written a second after the first one, or with what else is written, and cost no transaction of their own."""
        first = self.end(delivery=7)
        self.wait(0.9)
        self.assertEqual((self.recorded(7), self.statements.count("BEGIN IMMEDIATE")), ([], 0))
        second = self.end(delivery=7)
        self.wait(0.1)
        self.assertEqual(self.recorded(7), [first, second])
        third = self.end(delivery=7)
        self.record()
        self.add()
        self.wait(0.015)
        self.assertEqual(self.recorded(7), [first, second, third])
        transactions = self.statements.count("BEGIN IMMEDIATE")
        self.wait(60)
        self.assertEqual(self.statements.count("BEGIN IMMEDIATE"), transactions)

    def test_record_of_a_message_that_was_sent_at_once(self) -> None:
        """A record is written after a second, although the message was to be written before."""
        record = self.end(delivery=7)
        self.wait(0.02)
        self.assertEqual(self.recorded(7), [])
        self.wait(0.98)
        self.assertEqual(self.recorded(7), [record])

    def test_records_that_are_written_during_a_read(self) -> None:
        """A message that waits, or ends, while records are read is found all the same."""
        waits, record = self.add(), self.end(MessageState.REJECTED, "no")
        read: Deferred[list[MessageRecord]] = Deferred()
        self.patch(self.store, "read", lambda *_: read)
        found = self.store.find(recipient="#builds")
        self.wait(1)
        self.assertEqual(self.written(), [waits.id])
        read.callback([])
        self.assertEqual(self.successResultOf(found), [waiting_record(waits), record])

    def test_burst_of_records(self) -> None:
        """Of a burst of messages, no more than 1000 records wait for the disk, and all of those that weren't sent."""
        for _ in range(1010):
            self.end(delivery=7)
        self.end(MessageState.REJECTED, delivery=8)
        self.wait(1)
        with closing(sqlite3.connect(self.path)) as connection:
            [(number,)] = connection.execute("SELECT count(*) FROM ended_messages")
        self.assertEqual(number, 1001)

    def test_reason_of_a_record(self) -> None:
        """A reason is stored on one line, of limited size and without secrets."""
        self.end(MessageState.REJECTED, f"no\nhttps://me:pw@host {'x' * 1000}", delivery=7)
        self.wait(1)
        [record] = self.recorded(7)
        self.assertEqual((record.reason[:22], len(record.reason)), ("no https://•••@host xx", 500))

    def test_rows_that_are_no_messages(self) -> None:
        """Rows that another program has written wrongly are logged and removed. The others are loaded."""
        good = self.add()
        self.wait(0.015)
        self.close()
        with closing(sqlite3.connect(self.path)) as connection:
            for number, (body, accepted_at, share) in enumerate(
                [(b"\xff", 0.0, 0), (5, 0.0, 0), (b"hi", b"noon", 0), (b"hi", 0.0, "several")], good.id + 1
            ):
                row = (number, b"IRC", b"#builds", body, b"", 0, accepted_at, share, b"")
                columns = "id, network, recipient, body, origin, priority, accepted_at, sent, details"
                connection.execute(f"INSERT INTO outbox ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            connection.commit()
        self.open()
        self.assertEqual(self.lease(), [good])
        self.assertEqual(len(self.lines), 4)
        self.wait(0.05)
        self.assertEqual(self.written(), [good.id])


class LeaseTests(StoreCase):
    """A file with messages of an earlier process."""

    def add_of_another(self) -> OutgoingMessage:
        """Add a message, and let it belong to another process."""
        message = self.store.add(OutgoingMessage(0, "IRC", "#builds", "hi"))
        self.wait(0.015)
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("UPDATE outbox SET owner = 7 WHERE id = ?", (message.id,))
            connection.commit()
        return message

    def test_lease_on_a_full_disk(self) -> None:
        """Messages of an earlier process are sent while the file can't be written, and removed later."""
        message = self.add_of_another()
        with mock.patch.object(self.store, "submit", lambda *_: fail(JournalError("the disk is full"))):
            self.assertEqual(self.lease(), [message])
        self.store.end(sent(message.id))
        self.wait(0.05)
        self.assertEqual(self.written(), [])

    def test_messages_are_leased_once(self) -> None:
        """A process gets the messages of an earlier one once, since they belong to it afterwards."""
        message = self.add_of_another()
        self.assertEqual((self.lease(), self.lease()), ([message], []))
        self.close()
        self.open()
        self.assertEqual(self.lease(), [message])

    def test_changes_that_could_not_be_written(self) -> None:
        """Messages of a transaction that was undone are written later."""
        self.add()

        def fails(connection: sqlite3.Connection, arguments: Sequence[None]) -> Sequence[None]:
            raise ValueError("no")

        failed = self.journal._commits.submit(self.store.before(fails, lambda _: ()), None)
        self.threads.turn()
        self.failureResultOf(failed, ValueError)
        self.assertEqual(self.written(), [])
        self.wait(0.015)
        self.assertEqual(len(self.written()), 1)


class DeliveryTests(StoreCase):
    def test_delivery_and_messages_in_one_transaction(self) -> None:
        """The end of an attempt and the messages of its handler are one transaction, whatever the order of the operations is."""
        for end in (
            lambda number: self.journal.finish(number, OK),
            lambda number: self.journal.bury(number, ERROR),
            lambda number: self.journal.retry_at(number, 2000.0, ERROR),
        ):
            number = self.record()
            before = self.written()
            self.statements.clear()
            message = self.add()
            ended = end(number)
            self.assertEqual((self.state(number), self.written()), (DeliveryState.RUNNING, before))
            self.threads.turn()
            self.successResultOf(ended)
            self.assertNotEqual(self.state(number), DeliveryState.RUNNING)
            self.assertEqual(self.written(), [*before, message.id])
            self.assertEqual(self.statements.count("BEGIN IMMEDIATE"), 1)

    def test_end_of_another_delivery(self) -> None:
        """Messages of a delivery that runs aren't written with the end of another one: after a crash, they would be sent twice."""
        first, second = self.record(), self.record()
        of_first, of_second = (self.add(delivery=number) for number in (first, second))
        self.journal.finish(first, OK)
        self.threads.turn()
        self.assertEqual(self.written(), [of_first.id])
        self.journal.finish(second, OK)
        self.threads.turn()
        self.assertEqual(self.written(), [of_first.id, of_second.id])

    def test_delivery_that_runs_on(self) -> None:
        """A message of a delivery that runs for longer is written within 15 ms, also after the end of another one."""
        first, second = self.record(), self.record()
        message = self.add(delivery=second)
        self.store.advance(message.id, 0.5)
        self.journal.finish(first, OK)
        self.threads.turn()
        self.assertEqual(self.written(), [])
        self.wait(0.015)
        self.assertEqual(self.written(), [message.id])
        self.close()
        self.open()
        self.assertEqual([one.sent for one in self.lease()], [0.5])

    def test_message_after_the_timer(self) -> None:
        """A message that is added while a transaction of others is about to begin waits for the end of its delivery."""
        number = self.record()
        early = self.add()
        self.reactor.advance(0.015)
        late = self.add(delivery=number)
        self.threads.turn()
        self.assertEqual(self.written(), [early.id])
        self.journal.finish(number, OK)
        self.threads.turn()
        self.assertEqual(self.written(), [early.id, late.id])

    def test_delivery_is_not_done_without_its_messages(self) -> None:
        """If messages can't be written, the end of a delivery fails, too; later, both are written."""
        number = self.record()
        message = self.add("x" * 200_000)
        self.set_disk_full(True)
        ended = self.journal.finish(number, OK)
        self.threads.turn()
        self.assertIn("disk is full", self.failureResultOf(ended, JournalError).getErrorMessage())
        self.assertEqual((self.state(number), self.written()), (DeliveryState.RUNNING, []))
        self.set_disk_full(False)
        ended = self.journal.finish(number, OK)
        self.threads.turn()
        self.successResultOf(ended)
        self.assertEqual((self.state(number), self.written()), (DeliveryState.DONE, [message.id]))


class FullDiskTests(StoreCase):
    def test_full_disk_without_messages(self) -> None:
        """When what could not be written was sent, the next message is written as soon as others; the log has one line."""
        message = self.add("x" * 200_000)
        self.set_disk_full(True)
        self.wait(0.015)
        self.store.end(sent(message.id))
        self.wait(3)
        self.set_disk_full(False)
        self.wait(60)
        self.assertEqual(len(self.lines), 1)
        new = self.add()
        self.wait(0.015)
        self.assertEqual(self.written(), [new.id])
        self.assertEqual(len(self.lines), 2)

    def test_records_wait_for_space(self) -> None:
        """While the disk is full, what has become of messages is known all the same; later it is written, without a line in the log."""
        records = [self.end(MessageState.REJECTED, "x" * 500, delivery=7) for _ in range(300)]
        self.set_disk_full(True)
        self.wait(1)
        self.wait(3)
        self.assertEqual(self.successResultOf(self.store.find(7)), records[-100:])
        self.assertEqual((self.recorded(7), self.lines), ([], []))
        self.set_disk_full(False)
        self.wait(3)
        self.assertEqual(self.recorded(7), records[-100:])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_most_records_that_wait_for_space(self) -> None:
        """While the disk is full, the latest 10,000 records are kept, with reasons as they are stored."""
        self.set_disk_full(True)
        for delivery in (7, 8, *(9,) * 9_999):
            self.end(MessageState.REJECTED, "two\nlines", delivery=delivery)
        self.assertEqual(self.successResultOf(self.store.find(7)), [])
        self.assertEqual([one.reason for one in self.successResultOf(self.store.find(8))], ["two lines"])

    def test_messages_wait_for_space(self) -> None:
        """While the disk is full, messages are kept, with one line in the log; later they are written, with another line."""
        gone, kept = self.add("x" * 200_000), self.add("y" * 200_000)
        self.set_disk_full(True)
        self.wait(0.015)
        self.assertEqual(len(self.lines), 1)
        self.assertIn("can't be stored", self.lines[0])
        self.assertIn("the disk is full", self.lines[0])
        self.store.end(sent(gone.id))
        added = self.add("z" * 200_000)
        self.wait(6)
        self.assertEqual((self.written(), self.store.unwritten, len(self.lines)), ([], True, 1))
        self.set_disk_full(False)
        self.wait(3)
        self.assertEqual((self.written(), self.store.unwritten), ([kept.id, added.id], False))
        self.assertEqual(self.lines[1:], ["Messages that wait to be sent are stored again."])
        self.assertFalse(self.is_on_disk(b"x" * 100))

    def test_few_attempts(self) -> None:
        """While the disk is full, it is tried every three seconds, however many messages are added, and `flush` doesn't wait."""
        self.add("x" * 200_000)
        self.set_disk_full(True)
        self.wait(0.015)
        self.statements.clear()
        for _ in range(110):
            self.reactor.advance(0.06)
            self.add()
            self.successResultOf(self.store.flush())
            self.threads.turn()
        self.assertEqual(self.statements.count("BEGIN IMMEDIATE"), 2)
        self.set_disk_full(False)

    def test_removals_wait_for_space(self) -> None:
        """What was removed and advanced while the disk was full is written later."""
        removed, advanced, again = self.add(), self.add(), self.add()
        self.wait(0.015)
        self.add("x" * 200_000)
        self.store.end(sent(removed.id))
        for message in (advanced, again):
            self.store.advance(message.id, 0.5)
        self.set_disk_full(True)
        self.wait(0.015)
        self.store.advance(again.id, 0.75)
        self.set_disk_full(False)
        self.wait(3)
        self.close()
        self.open()
        loaded = self.lease()
        self.assertEqual([message.sent for message in loaded], [0.5, 0.75, 0.0])
        self.assertEqual(loaded[0].id, advanced.id)

    def test_changes_and_ids_wait_for_space(self) -> None:
        """Changes and ids that could not be written are known meanwhile, and written later, in their order."""
        changed, ended = self.add("a"), self.add("b")
        self.wait(0.015)
        self.add("x" * 200_000)
        added = self.add("c")
        self.set_disk_full(True)
        self.store.change(changed.id, "a1")
        self.store.change(added.id, "c1")
        self.store.end(sent(ended.id), refs(1))
        self.wait(0.05)
        self.assertEqual((self.stored_ids(), self.refs_of(ended.id)), ([], refs(1)))
        self.store.change(changed.id, "a2")
        self.store.change(added.id, "c2")
        self.store.end(sent(0)._replace(key=f"k{ended.id}"), refs(2))
        self.wait(3)
        self.assertEqual(self.refs_of(ended.id), refs(2))
        self.set_disk_full(False)
        self.wait(3)
        self.assertEqual((self.stored_ids(), self.refs_of(ended.id)), ([f"k{ended.id}"], refs(2)))
        self.close()
        self.open()
        self.assertEqual([one.body for one in self.lease() if len(one.body) < 10], ["a2", "c2"])

    def test_most_ids_that_wait_for_space(self) -> None:
        """While the disk is full, the ids of the latest 10,000 messages are kept."""
        self.set_disk_full(True)
        for number in range(1, 10_002):
            self.store.end(sent(0)._replace(key=f"k{number}"), refs(number))
        self.assertEqual((self.refs_of(1), self.refs_of(2)), ([], refs(2)))
        self.set_disk_full(False)

    def test_deleted_directory(self) -> None:
        """If the journal's directory is deleted, nothing is recorded, and the log says that messages aren't stored and are lost."""
        number = self.record()
        shutil.rmtree(self.path.parent)
        self.add()
        recorded = self.journal.record(StoredDelivery(number + 1, "A:a", DeliveryState.RECEIVED, 1000.0), lease=60.0)
        ended = self.journal.finish(number, OK)
        self.wait(0.015)
        for failed in (recorded, ended):
            self.assertIn("was deleted or replaced", self.failureResultOf(failed, JournalError).getErrorMessage())
        self.assertIn("was deleted", str(self.assertRaises(DatabaseError, self.journal.check_files)))
        self.close()
        self.assertEqual(len(self.lines), 2)
        self.assertIn("was deleted or replaced", self.lines[0])
        self.assertIn("are lost: 1 (", self.lines[1])
        self.path.parent.mkdir()
        self.open()
        message = self.add()
        self.wait(0.015)
        self.assertEqual(self.written(), [message.id])

    def test_lost_messages_are_logged(self) -> None:
        """If the disk is still full at the end, one line of the log has the number of lost messages."""
        self.add("x" * 200_000)
        self.add()
        self.set_disk_full(True)
        self.close()
        self.assertEqual(len(self.lines), 1)
        self.assertIn("are lost: 2 (", self.lines[0])
        self.open()


NUMBER = st.integers(0, 7)
STEP = st.one_of(
    st.just(("add",)),
    st.just(("add",)),
    st.tuples(st.just("remove"), st.lists(NUMBER, max_size=3)),
    st.tuples(st.just("send"), NUMBER),
    st.tuples(st.just("change"), NUMBER, st.sampled_from([("a", None), (None, '{"thread": "7"}'), ("b", "")])),
    st.tuples(st.just("advance"), NUMBER, st.integers(1, 5)),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.015, 0.25])),
    st.just(("flush",)),
    st.just(("restart",)),
    st.just(("crash",)),
)


class ModelTests(SynchronousTestCase):
    @settings(max_examples=60)
    @given(st.lists(STEP, max_size=25))
    def test_same_messages(self, steps: Sequence[tuple[Any, ...]]) -> None:
        """After any sequence of calls, a restart loads the messages of a dict. A crash loses none that was flushed, and finds either it or its ids."""
        shared = Path("/dev/shm")
        with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as directory:
            self.path = Path(directory) / "0.sqlite"
            self.model: dict[int, OutgoingMessage] = {}
            self.added: list[int] = []
            self.flushed: set[int] = set()
            self.sent: set[int] = set()
            self.open()
            try:
                for name, *arguments in steps:
                    getattr(self, name)(*arguments)
                self.restart()
            finally:
                self.successResultOf(self.journal.close())

    def open(self) -> None:
        """Open the file."""
        self.reactor = InlineReactor()
        self.journal = SQLiteJournal(self.path, self.reactor, lambda: 1000.0, runs=INLINE)
        self.store = self.journal.outbox

    def last(self, numbers: Sequence[int]) -> list[int]:
        """Return the ids of the last messages, by their place from the end."""
        return [self.added[-number - 1] for number in numbers if number < len(self.added)]

    def add(self) -> None:
        """Add a message."""
        message = self.store.add(OutgoingMessage(0, "IRC", "#a", "hi"))
        self.model[message.id] = message
        self.added.append(message.id)

    def remove(self, numbers: Sequence[int]) -> None:
        """Remove messages, but not those of which the network has ids: a message ends once."""
        for number in set(self.last(numbers)) - self.sent:
            self.store.end(sent(number))
            self.model.pop(number, None)
            self.flushed.discard(number)

    def advance(self, number: int, sent: float) -> None:
        """Advance a message."""
        for each in self.last([number]):
            self.store.advance(each, sent)
            if each in self.model:
                self.model[each] = self.model[each]._replace(sent=sent)

    def send(self, number: int) -> None:
        """End a message to which the network has given ids."""
        for each in self.last([number]):
            if each in self.model:
                self.store.end(sent(each), refs(each))
                del self.model[each]
                self.sent.add(each)

    def change(self, number: int, fields: tuple[str | None, str | None]) -> None:
        """Change a message."""
        for each in self.last([number]):
            self.store.change(each, *fields)
            if each in self.model:
                given = {name: text for name, text in zip(("body", "wanted"), fields, strict=True) if text is not None}
                self.model[each] = self.model[each]._replace(**given)  # type: ignore[arg-type]

    def has_ids(self, number: int) -> bool:
        """Return whether the ids of a message are known, which are never wrong."""
        found = list(self.successResultOf(self.store.refs_of(Handle(f"IRC/k{number}"))))
        assert found in ([], refs(number))
        return bool(found)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.reactor.advance(seconds)

    def flush(self) -> None:
        """Flush the store."""
        flushed = self.store.flush()
        self.reactor.advance(FLUSH_INTERVAL)
        self.successResultOf(flushed)
        self.flushed = set(self.model)

    def loaded(self) -> list[OutgoingMessage]:
        """Return what the next process loads."""
        self.open()
        return list(self.successResultOf(self.store.lease()))

    def restart(self) -> None:
        """Restart, and compare what is loaded."""
        self.successResultOf(self.journal.close())
        self.assertEqual(self.loaded(), [self.model[number] for number in sorted(self.model)])
        self.flushed = set(self.model)
        self.assertEqual({number for number in self.added if self.has_ids(number)}, self.sent)

    def crash(self) -> None:
        """Let the next process begin with the files as they are; removals since the last transaction may be lost, too."""
        crashed, self.path = self.path, self.path.with_name(f"{int(self.path.stem) + 1}.sqlite")
        for end in SIDE_FILES:
            shutil.copyfile(f"{crashed}{end}", f"{self.path}{end}")
        self.successResultOf(self.journal.close())
        loaded = {message.id: message for message in self.loaded()}
        with_ids = {number for number in self.added if self.has_ids(number)}
        self.assertLessEqual(with_ids, self.sent)
        self.assertLessEqual(self.flushed, loaded.keys() | with_ids)
        self.assertFalse(with_ids & loaded.keys())
        self.sent = with_ids
        self.model = loaded


class UnwrittenTests(StoreCase):
    def test_unwritten_while_a_transaction_begins_and_is_undone(self) -> None:
        """A message that a transaction takes, or gives back, counts as unwritten for other threads at any time."""
        self.add()
        seen: list[bool] = []
        readers: list[threading.Thread] = []
        followed_by = _outbox_store._Changes.followed_by

        def read_meanwhile(changes: Any, later: Any) -> Any:
            readers.append(threading.Thread(target=lambda: seen.append(self.store.unwritten)))
            readers[-1].start()
            readers[-1].join(0.05)
            self.assertNotIn(False, seen)
            return followed_by(changes, later)

        def fails(connection: sqlite3.Connection, arguments: Sequence[None]) -> Sequence[None]:
            raise ValueError("no")

        with mock.patch.object(_outbox_store._Changes, "followed_by", read_meanwhile):
            failed = self.journal._commits.submit(self.store.before(fails, lambda _: ()), None)
            self.threads.turn()
        self.failureResultOf(failed, ValueError)
        for reader in readers:
            reader.join()
        self.assertEqual(seen, [True, True])


class KillTests(SynchronousTestCase):
    def test_kill_9_loses_nothing_that_was_stored(self) -> None:
        """After SIGKILL, each stored message is there with its file and its last text, or its ids are, never both."""
        takes_long()
        for kill_after in (50, 400):
            path = Path(self.mktemp())
            said = kill_during_messages(path, kill_after)
            journal = SQLiteJournal(path, InlineReactor(), lambda: 1000.0, runs=INLINE)
            left = {int(one.key[1:]): one for one in self.successResultOf(journal.outbox.lease())}
            ids = {
                number
                for number in said["stored"]
                if self.successResultOf(journal.outbox.refs_of(Handle(f"Net/k{number}")))
            }
            self.assertEqual((ids & left.keys(), said["stored"] - left.keys() - ids), (set(), set()))
            self.assertLessEqual(said["sent"], ids)
            self.assertEqual({left[number].body for number in said["changed"]}, {"after"})
            for number, message in left.items():
                self.assertEqual(message.file, b"%d" % number * (number * 37 % 3000))
            self.successResultOf(journal.close())


class ThreadTests(SynchronousTestCase):
    def test_threads_and_the_reactor(self) -> None:
        """Threads add messages while the reactor removes some and the journal's thread writes: exactly the others are stored."""
        clock = ThreadClock()
        path = Path(self.mktemp())
        journal = SQLiteJournal(path, clock, lambda: 1000.0)
        store = journal.outbox
        added: list[int] = []
        removed: set[int] = set()

        def work() -> None:
            for _ in range(1000):
                added.append(store.add(OutgoingMessage(0, "IRC", "#a", "hi")).id)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        seen = 0
        while any(thread.is_alive() for thread in threads) or seen < len(added):
            clock.turn(0.001)
            clock.advance(0.015)
            some = added[seen:]
            seen += len(some)
            for number in some:
                if number % 3:
                    store.end(sent(number))
                    removed.add(number)
        closed = journal.close()
        while not closed.called:
            self.assertTrue(clock.turn())
        with closing(sqlite3.connect(path)) as connection:
            stored = {number for (number,) in connection.execute("SELECT id FROM outbox")}
        self.assertEqual(len(added), 3000)
        self.assertEqual(stored, set(added) - removed)
