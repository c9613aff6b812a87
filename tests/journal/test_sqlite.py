"""The journal's file: crashes, restarts, secrets, full disks, threads and errors."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from errklein.database import Access, Database, DatabaseError
from errklein.journal import JournalArchive, Redaction, Retention, SQLiteJournal, _sqlite
from errklein.journal._writing import head_of
from errklein.ports.journal import Journal, JournalError
from errklein.webhooks.deliveries import Attempt, DeliveryQuery, DeliveryState, Outcome, StoredDelivery, StoredRequest
from tests import takes_long
from tests.clocks import ThreadClock
from tests.journal.contract import ERROR, LOGGED, OK, REQUEST, JournalCase
from tests.journal.crash import kill_during_deliveries
from tests.journal.inline import INLINE, InlineReactor, WaitingThreads


class FileCase(JournalCase, SynchronousTestCase):
    journal: SQLiteJournal
    redaction = Redaction()
    retention = Retention()

    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a journal with a new file in an empty directory."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "journal.sqlite"
        self.reactor = InlineReactor()
        self.warnings: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        return self.open()

    def observe(self, event: dict[str, Any]) -> None:
        """Record a line of the log."""
        if event["log_level"] in (LogLevel.warn, LogLevel.info) and event["log_namespace"] == _sqlite.__name__:
            self.warnings.append(event["log_format"].format(**event))

    def open(self) -> SQLiteJournal:
        """Return a journal on the file."""
        self.journal = SQLiteJournal(self.path, self.reactor, lambda: self.time, self.redaction, self.retention, INLINE)
        return self.journal

    def settle(self) -> None:
        """Let the log be written."""
        self.reactor.advance(1)

    def restart(self) -> None:
        """Close the journal, and open it again."""
        self.result_of(self.journal.close())
        self.open()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query of another program."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    def total(self, column: str) -> int:
        """Return the sum of a column of the totals."""
        ((number,),) = self.rows(f"SELECT coalesce(sum({column}), 0) FROM totals")
        return int(number)

    def check_balance(self) -> None:
        """Check that each accepted delivery has a row, or was counted as removed, and that each row is in the ledger."""
        ((rows,),) = self.rows("SELECT count(*) FROM deliveries WHERE state < 6")
        self.assertEqual(self.total("accepted"), rows + self.total("aged") + self.total("evicted"))
        self.assertEqual(self.rows("SELECT id FROM ledger"), self.rows("SELECT id FROM deliveries ORDER BY id"))


class RestartTests(FileCase):
    def test_kept_over_a_restart(self) -> None:
        """Deliveries, keys, pauses and `once` are the same after a restart, and new ids are higher."""
        number = self.record(key="k", window=60)
        self.result_of(self.journal.pause("A:a", True))
        self.result_of(self.journal.once(number, "mail"))
        stored = self.get(number)
        self.restart()
        self.assertEqual(self.get(number), stored)
        self.assertEqual(self.journal.next_id(), number + 1)
        self.assertIsNotNone(self.result_of(self.journal.record(self.delivery(key="k"), window=60)))
        self.assertEqual(self.result_of(self.journal.paused()), ["A:a"])
        self.assertFalse(self.result_of(self.journal.once(number, "mail")))
        self.assertEqual(self.lease()[0].request, REQUEST)

    def test_running_deliveries_of_an_earlier_process(self) -> None:
        """After a restart, a RUNNING delivery with `ack="now"` is due at once, and its attempt counts; others have FAILED."""
        now, after = self.record(lease=60), self.record(ack="after", lease=60)
        waiting = self.record()
        self.restart()
        self.assertEqual(self.result_of(self.journal.next_due("Builds:build")), 0.0)
        stored = self.get(after)
        ended = Outcome(0, "the process ended")
        self.assertEqual((stored.state, stored.outcome, stored.request), (DeliveryState.FAILED, ended, LOGGED))
        self.assertEqual([(one.id, one.attempt) for one in self.lease()], [(now, 2), (waiting, 1)])
        self.assertEqual(self.get(now).attempts, [Attempt(1, 1000.0, ended)])
        self.assertEqual(self.result_of(self.journal.replay([after])), [after])

    def test_what_ends_the_process_runs_alone(self) -> None:
        """Deliveries during which two processes have ended are due at different times, so that not each ends with the culprit."""
        for _ in range(20):
            self.record(lease=60)
        self.restart()
        self.assertEqual(len(self.lease(count=100)), 20)
        self.restart()
        self.assertLess(len(self.lease(count=100)), 3)
        alone = []
        for _ in range(100):
            self.time += 0.1
            alone.append(len(self.lease(count=100)))
        self.assertEqual((sum(alone) >= 18, max(alone) <= 3), (True, True), alone)

    def test_ids_of_a_lost_log_are_not_used_again(self) -> None:
        """A delivery that a crash keeps from the log may have used `once`, so its id isn't given to another one."""
        number = self.journal.next_id()
        self.assertTrue(self.result_of(self.journal.once(number, "mail")))
        self.restart()
        self.assertTrue(self.result_of(self.journal.once(self.journal.next_id(), "mail")))

    def test_logged_deliveries_are_written_on_close(self) -> None:
        """What was logged is in the file when the journal is closed, without a delayed call; a closed journal is an error."""
        delivery = self.delivery()._replace(state=DeliveryState.FAILED)
        self.journal.log(delivery)
        with closing(JournalArchive(self.path)) as archive:
            self.assertEqual(archive.find(DeliveryQuery()), [])
        self.restart()
        self.assertEqual(self.find(), [delivery.id])
        self.result_of(self.journal.close())
        self.journal.log(delivery)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        for call in (
            self.journal.finish(1, OK),
            self.journal.depth(),
            self.journal.check(),
            self.journal.find(DeliveryQuery()),
        ):
            self.assertIn("is closed", self.failureResultOf(call, JournalError).getErrorMessage())
        self.open()


class CrashTests(SynchronousTestCase):
    def test_kill_9_loses_nothing_that_was_acknowledged(self) -> None:
        """After SIGKILL, each recorded delivery is there and due with its request, unless its end was acknowledged."""
        takes_long()
        for kill_after in (50, 400):
            path = Path(self.mktemp())
            acknowledged = kill_during_deliveries(path, kill_after)
            self.assertEqual(acknowledged.integrity, "ok")
            self.assertGreaterEqual(len(acknowledged.recorded) + len(acknowledged.ended), kill_after)
            reactor = InlineReactor()
            journal = SQLiteJournal(path, reactor, lambda: 2e9, retention=Retention(seconds=1e9), runs=INLINE)
            due = self.successResultOf(journal.lease("A:a", 100_000, 60.0))
            states = {
                delivery.id: delivery.state
                for delivery in self.successResultOf(journal.find(DeliveryQuery(limit=10**6)))
            }
            self.assertLessEqual(acknowledged.recorded, set(states))
            self.assertEqual({delivery.id for delivery in due} & acknowledged.ended, set())
            self.assertLessEqual(
                acknowledged.recorded - acknowledged.ended - {delivery.id for delivery in due},
                {number for number, state in states.items() if state in (DeliveryState.DONE, DeliveryState.DEAD)},
            )
            for delivery in due:
                self.assertEqual((delivery.attempt, delivery.request.headers), (2, [(b"authorization", b"5ecre7")]))
                self.assertEqual(len(delivery.request.body), int(delivery.request.target[1:]) * 37 % 3000)
            self.successResultOf(journal.close())


class SecretsTests(FileCase):
    def in_file(self, secret: bytes) -> bool:
        """Return whether the closed file contains the bytes."""
        self.result_of(self.journal.close())
        found = secret in self.path.read_bytes()
        self.open()
        return found

    def test_removed_secrets_are_overwritten(self) -> None:
        """The secrets of a delivery are in the file until it is done, and no bytes of them afterwards."""
        number = self.record(lease=60)
        self.assertTrue(self.in_file(b"5ecre7"))
        self.lease()
        self.result_of(self.journal.finish(number, OK))
        self.assertFalse(self.in_file(b"5ecre7"))
        self.assertFalse(self.in_file(b"T0k3n"))
        self.assertEqual(self.get(number).request, LOGGED)

    def test_side_files_have_no_removed_secrets(self) -> None:
        """When nothing was written for a second, removed secrets aren't in the side files either, while the journal is open."""
        self.result_of(self.journal.finish(self.record(lease=60), OK))
        with closing(sqlite3.connect(self.path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT 1 FROM deliveries").fetchall()
            self.assertEqual([self.journal.maintain() for _ in range(3)], [False] * 3)
        self.journal.maintain()
        files = {path.name: path.read_bytes() for path in self.directory.iterdir()}
        self.assertEqual({name for name, content in files.items() if b"5ecre7" in content}, set())
        self.assertIn("journal.sqlite-wal", files)

    def contained(self, text: str) -> set[str]:
        """Return the names of the files that contain the text, while the journal is open."""
        return {path.name for path in self.directory.iterdir() if text.encode() in path.read_bytes()}

    def test_forgotten_deliveries_are_overwritten(self) -> None:
        """No file has a byte of a forgotten request, whatever was recorded, forgotten and removed around it."""
        chance, live = Random(7), list[tuple[int, str]]()
        for step in range(400):
            text = f"<secret {step}>"
            body = text.encode() + b"x" * chance.choice([0, 100, 1_000, 3_000, 20_000])
            outcome = ERROR._replace(reason=text)
            live.append((self.log(DeliveryState.FAILED, outcome, request=REQUEST._replace(body=body)), text))
            if step % 10 == 9:
                chosen = [live.pop(chance.randrange(len(live))) for _ in range(chance.randrange(8))]
                self.result_of(self.journal.forget([number for number, _ in chosen]))
                for _, text in chosen:
                    self.assertEqual(self.contained(text), set())
        self.assertTrue(all(self.contained(text) for _, text in live))

    def test_forgotten_while_another_program_reads(self) -> None:
        """While another program reads the file, what was removed stays in the write-ahead log, until the next turn after that."""
        number = self.log(DeliveryState.FAILED)
        with closing(sqlite3.connect(self.path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT 1 FROM deliveries").fetchall()
            self.assertEqual(self.result_of(self.journal.forget([number])), [number])
            self.assertTrue(self.contained('"status": "ok"'))
        self.log(DeliveryState.FAILED, request=None)
        self.journal.maintain()
        self.assertEqual(self.contained('"status": "ok"'), set())

    def test_side_file_is_emptied_when_nothing_happens(self) -> None:
        """The write-ahead log is kept while deliveries arrive each second, and emptied when none has, each time."""
        log = self.directory / "journal.sqlite-wal"
        for _ in range(300):
            self.journal.log(self.delivery()._replace(state=DeliveryState.FAILED))
        self.settle()
        for _ in range(2):
            for _ in range(3):
                self.record()
                self.journal.maintain()
                self.assertGreater(log.stat().st_size, 0)
            self.journal.maintain()
            self.assertEqual(log.stat().st_size, 0)

    def test_logged_secrets_are_never_written(self) -> None:
        """Secrets of deliveries with `ack="after"`, and of refused requests, aren't in the file."""
        self.log(DeliveryState.FAILED)
        self.log(DeliveryState.REFUSED, ack="now")
        self.record(ack="after", lease=60)
        self.assertFalse(self.in_file(b"5ecre7"))
        self.assertFalse(self.in_file(b"T0k3n"))

    def test_one_secret(self) -> None:
        """A request with a secret only in its target, only in its headers, or only in its body is complete for its handler."""
        self.redaction = Redaction(mask_fields=frozenset({"pin"}))
        self.restart()
        requests = [
            LOGGED._replace(target="/build?token=T0k3n"),
            REQUEST._replace(target="/build"),
            LOGGED._replace(target="/build", headers=[(b"referer", b"https://a/?token=T0k3n")]),
            LOGGED._replace(target="/build", body=b'{"pin": 1}'),
        ]
        for request in requests:
            self.record(request=request)
        self.assertEqual([delivery.request for delivery in self.lease()], requests)

    def test_request_without_secrets_is_stored_once(self) -> None:
        """A request from which nothing is left out has no second copy, and is complete."""
        request = LOGGED._replace(target="/build")
        self.record(request=request)
        self.assertEqual(self.rows("SELECT count(*) FROM private"), [(0,)])
        self.assertEqual(self.lease()[0].request, request)

    def test_masked_fields(self) -> None:
        """Fields are masked in the log and after the end; the handler gets them."""
        self.redaction = Redaction(mask_fields=frozenset({"pin"}))
        self.restart()
        request = REQUEST._replace(body=b'{"pin": 1234}')
        number = self.record(request=request)
        stored = self.get(number).request
        assert stored is not None
        self.assertEqual(stored.body, b'{"pin": "***"}')
        self.assertEqual(self.lease()[0].request, request)
        self.result_of(self.journal.finish(number, ERROR))
        self.assertFalse(self.in_file(b"1234"))

    def test_heads(self) -> None:
        """With the level "heads", no body is stored after the end, and a dead delivery can still be replayed."""
        self.redaction = Redaction("heads")
        self.restart()
        logged = self.log(DeliveryState.FAILED)
        done, dead = self.record(lease=60), self.record(lease=60)
        self.result_of(self.journal.finish(done, ERROR))
        self.result_of(self.journal.bury(dead, ERROR))
        self.assertEqual(
            [self.get(number).request for number in (logged, done, dead)], [LOGGED._replace(body=None)] * 3
        )
        self.assertEqual(self.result_of(self.journal.replay([logged, done, dead])), [dead])
        self.assertEqual(self.lease()[0].request, REQUEST)

    def test_off(self) -> None:
        """With the level "off", nothing is logged; a delivery with `ack="now"` is kept without its request."""
        self.redaction = Redaction("off")
        self.restart()
        self.log(DeliveryState.FAILED)
        done = self.record(lease=60)
        waiting = self.record()
        self.result_of(self.journal.finish(done, ERROR))
        self.assertEqual(self.find(), [waiting, done])
        self.assertIsNone(self.get(done).request)
        self.assertEqual(self.lease()[0].request, REQUEST)


class ManyRoutesTests(FileCase):
    def test_pages_of_many_routes(self) -> None:
        """A page by state has the newest deliveries of all webhooks, however many there are."""
        deliveries = [
            self.delivery(webhook=f"Plugin{number % 3}:hook{number}")._replace(
                state=DeliveryState.FAILED, outcome=ERROR
            )
            for number in range(160)
        ]
        for delivery in deliveries:
            self.journal.log(delivery)
        ids = [delivery.id for delivery in reversed(deliveries)]
        self.settle()
        self.assertEqual(self.find(states=list(DeliveryState), limit=50), ids[:50])
        self.assertEqual(self.find(states=list(DeliveryState), limit=1000), ids)
        self.assertEqual(self.find(states=list(DeliveryState), limit=1000, webhook="Plugin0"), ids[::3])
        self.assertEqual(self.find(states=[DeliveryState.DONE, DeliveryState.RETRY]), [])


class ResponseTests(FileCase):
    """What the source was sent, and the tracebacks of attempts."""

    def answered(self) -> list[int]:
        """Return the statuses of responses, by id."""
        return [status for (status,) in self.rows("SELECT answered FROM deliveries ORDER BY id")]

    def test_status_of_the_response(self) -> None:
        """It is that of the record, or of the first outcome while the source waits; an attempt after the response doesn't change it."""
        now = self.record(answered=202, lease=60)
        waits = self.record(ack="after", lease=60, key="k", window=600)
        self.journal.record(self.delivery(ack="after", key="k"), window=600)
        self.assertEqual(self.answered(), [202, 0, 409])
        self.result_of(self.journal.bury(now, ERROR))
        self.result_of(self.journal.finish(waits, OK))
        self.journal.record(self.delivery(ack="after", key="k"), window=600)
        self.log(DeliveryState.REFUSED, Outcome(401), answered=401)
        self.assertEqual(self.answered(), [202, 200, 409, 200, 401])
        lost = self.record(ack="after", lease=60)
        self.restart()
        self.result_of(self.journal.replay([lost]))
        self.lease()
        self.result_of(self.journal.finish(lost, OK))
        self.assertEqual(self.answered()[-1], 0)

    def test_tracebacks(self) -> None:
        """Each attempt keeps the end of its own traceback, until the request is forgotten."""
        number = self.record(lease=60)
        for text in ("first", "", "x" * 5000 + "third"):
            self.result_of(self.journal.retry_at(number, 0.0, ERROR._replace(traceback=text)))
            self.lease()
        kept = self.rows("SELECT number, traceback FROM attempts")
        self.assertEqual([(one, text and text[-5:]) for one, text in kept], [(1, "first"), (2, None), (3, "third")])
        self.result_of(self.journal.retry_at(number, 0.0, None))
        self.assertEqual(len(self.rows("SELECT traceback FROM deliveries")[0][0]), 4000)
        self.lease()
        self.result_of(self.journal.bury(number, ERROR._replace(traceback="last \udc80")))
        self.assertEqual(self.rows("SELECT traceback FROM deliveries"), [("last ?",)])
        self.result_of(self.journal.forget([number]))
        query = "SELECT traceback FROM deliveries UNION SELECT traceback FROM attempts"
        self.assertEqual(self.rows(query), [(None,)])

    def test_process_ended(self) -> None:
        """An attempt during which the process ended has no traceback: an earlier one isn't its own."""
        number = self.record(lease=60)
        self.result_of(self.journal.retry_at(number, 0.0, ERROR._replace(traceback="first")))
        self.lease()
        self.restart()
        self.assertEqual(
            self.rows("SELECT traceback FROM deliveries UNION ALL SELECT traceback FROM attempts"),
            [(None,), ("first",)],
        )


class RunTests(FileCase):
    def runs(self) -> list[tuple[float, float | None]]:
        """Return when processes have begun and ended."""
        return self.rows("SELECT began, ended FROM runs ORDER BY id")  # type: ignore[return-value]

    def test_killed_processes_have_no_end(self) -> None:
        """Each process that uses the file is noted with its end, unless it was killed."""
        self.time = 1010.0
        self.restart()
        self.time = 1020.0
        # As if the process was killed.
        self.journal._database.close()
        self.open()
        self.assertEqual(self.runs(), [(1000.0, 1010.0), (1010.0, None), (1020.0, None)])

    def test_changes_are_told(self) -> None:
        """Whoever watches the journal is called after each transaction, until another one watches, or nobody."""
        told: list[int] = []
        self.journal.watch(lambda: told.append(1))
        number = self.record(lease=60)
        self.assertEqual(told, [1])
        self.result_of(self.journal.get(number))
        self.assertEqual(told, [1])
        self.result_of(self.journal.finish(number, OK))
        self.journal.count("Builds:build")
        self.settle()
        self.assertEqual(told, [1, 1, 1])
        self.journal.watch(None)
        self.record()
        self.assertEqual(told, [1, 1, 1])


class FilePermissionTests(FileCase):
    def test_private(self) -> None:
        """The file and its side files have mode 0600."""
        self.record()
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in self.directory.iterdir()}
        self.assertEqual(files, {f"journal.sqlite{end}": 0o600 for end in ("", "-wal", "-shm")})

    def test_unusable_files(self) -> None:
        """A damaged file, one of a newer errklein, and one of another program are errors that name the file."""
        self.result_of(self.journal.close())
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        self.assertIn("newer errklein (schema 99", str(self.assertRaises(DatabaseError, self.open)))
        self.path.write_bytes(b"x" * 10_000)
        self.assertIn(f"{self.path}: the file is damaged", str(self.assertRaises(DatabaseError, self.open)))
        self.path.unlink()
        self.open()


class UpgradeTests(FileCase):
    def test_earlier_format(self) -> None:
        """A file of the format before has its deliveries, and the copy of it can be used by the earlier errklein."""
        self.result_of(self.journal.close())
        for file in self.directory.iterdir():
            file.unlink()
        earlier = Database(self.path, _sqlite.MIGRATIONS[:2])
        earlier.write("INSERT INTO routes VALUES (1, 'Builds:build', 0)")
        for number, state in ((1, 0), (2, 4)):
            row = (number, 1, state, 1000.0, "r1", 1, 0, 0.0, "", f"k{number}", 0.0, None, None, None, 700)
            earlier.write(f"INSERT INTO deliveries VALUES ({', '.join('?' * len(row))})", row)
            head = head_of(REQUEST, REQUEST.target, REQUEST.headers)
            earlier.write("INSERT INTO contents VALUES (?, ?, ?)", (number, head, REQUEST.body))
        earlier.close()
        self.open()
        self.check_balance()
        self.assertEqual(self.rows("SELECT at, route, accepted FROM totals"), [(0, 1, 2)])
        found = self.result_of(self.journal.find(DeliveryQuery()))
        self.assertEqual([(one.id, one.verified, one.superseded_by) for one in found], [(2, True, 0), (1, True, 0)])
        self.assertEqual([one.request for one in self.lease()], [REQUEST])
        self.result_of(self.journal.finish(1, OK))
        self.assertEqual(self.result_of(self.journal.replay([2])), [2])
        copy = self.path.with_name("journal.sqlite.before-3")
        Database(copy, _sqlite.MIGRATIONS[:2], Access.READ).close()

    def test_totals(self) -> None:
        """What an earlier format has counted, and the rows that it has, are the totals of their hours."""
        self.result_of(self.journal.close())
        for file in self.directory.iterdir():
            file.unlink()
        earlier = Database(self.path, _sqlite.MIGRATIONS[:7])
        earlier.write("INSERT INTO routes VALUES (1, 'Builds:build', 0)")
        for number, state in enumerate((3, 3, 4, 6, 7), 1):
            row = (number, 1, state, 7000.0 + 100 * number, "", 0, 1, 0, "", "", 0.0, 200, "", 0.0, 200, 1, 0)
            earlier.write(f"INSERT INTO deliveries VALUES ({', '.join('?' * len(row))})", row)
        for minute, number in ((119, 3), (121, 4), (122, 5)):
            earlier.write("INSERT INTO counted VALUES (?, 1, ?)", (minute, number))
        earlier.close()
        self.open()
        self.check_balance()
        found = self.rows("SELECT at, accepted, repeated, refused, counted FROM totals")
        self.assertEqual(found, [(3600, 1, 0, 0, 3), (7200, 2, 1, 1, 9)])


class FullDiskTests(FileCase):
    def setUp(self) -> None:
        """Limit the size of the file."""
        connect = sqlite3.connect
        self.connections: list[sqlite3.Connection] = []

        def connect_to_small_disk(*args: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*args, **options)
            connection.execute("PRAGMA max_page_count = 60")
            self.connections.append(connection)
            return connection

        self.patch(sqlite3, "connect", connect_to_small_disk)
        super().setUp()

    def test_full_disk(self) -> None:
        """`record` fails and stores nothing, `log` writes one warning; both work when there is space again."""
        first = self.record()
        big = self.delivery(request=REQUEST._replace(body=b"x" * 500_000))
        small = self.delivery()
        results = [self.journal.record(big), self.journal.record(small)]
        self.assertIn("the disk is full", self.failureResultOf(results[0], JournalError).getErrorMessage())
        self.assertIsNone(self.result_of(results[1]))
        for _ in range(3):
            self.log(DeliveryState.FAILED, request=big.request)
        self.assertEqual(len(self.warnings), 1)
        self.assertIn("Deliveries of webhooks are not logged: ", self.warnings[0])
        self.assertIn("the disk is full", self.warnings[0])
        self.assertEqual(self.find(), [small.id, first])
        self.connections[0].execute("PRAGMA max_page_count = 100000")
        logged = self.log(DeliveryState.FAILED, request=big.request)
        self.assertEqual(self.warnings[1:], ["Deliveries of webhooks are logged again; 3 were not."])
        self.assertIsNone(self.result_of(self.journal.record(big)))
        self.assertEqual(self.find(), [logged, small.id, big.id, first])
        self.log(DeliveryState.FAILED)
        self.assertEqual(len(self.warnings), 2)

    def test_routes_after_an_error(self) -> None:
        """A webhook whose first delivery couldn't be stored can be used later."""
        big = REQUEST._replace(body=b"x" * 500_000)
        self.failureResultOf(self.journal.record(self.delivery(webhook="New:new", request=big)), JournalError)
        number = self.record(webhook="New:new")
        self.assertEqual(self.get(number).webhook, "New:new")


class LogTests(FileCase):
    def failed(self, size: int = 0) -> StoredDelivery:
        """Return a delivery to log."""
        return self.delivery(request=REQUEST._replace(body=b"x" * size))._replace(state=DeliveryState.FAILED)

    def test_written_after_a_moment(self) -> None:
        """Logged deliveries are written together, a quarter of a second after the first one."""
        self.journal.log(self.failed())
        self.reactor.advance(0.2)
        self.journal.log(self.failed())
        self.assertEqual(self.rows("SELECT count(*) FROM deliveries"), [(0,)])
        self.reactor.advance(0.05)
        self.assertEqual(self.rows("SELECT count(*) FROM deliveries"), [(2,)])
        self.journal.log(self.failed())
        self.reactor.advance(0.25)
        self.assertEqual(self.rows("SELECT count(*) FROM deliveries"), [(3,)])

    def test_many_are_written_at_once(self) -> None:
        """A megabyte of logged deliveries is written without a delay."""
        self.journal.log(self.failed(900_000))
        self.assertEqual(self.rows("SELECT count(*) FROM deliveries"), [(0,)])
        self.journal.log(self.failed(100_000))
        self.assertEqual(self.rows("SELECT count(*) FROM deliveries"), [(2,)])
        for _ in range(501):
            self.journal.log(self.failed()._replace(request=None))
        self.assertEqual(self.rows("SELECT count(*) FROM deliveries"), [(503,)])
        self.reactor.advance(1)

    def test_many_failures_with_one_id(self) -> None:
        """Each failure of a request that is repeated very often changes one earlier row, not all of them."""
        connection = self.journal._database._writer
        before = connection.total_changes
        for number in range(500):
            self.journal.log(self.failed()._replace(key="k"))
            if number % 50 == 49:
                self.settle()
        self.assertLess(connection.total_changes - before, 3000)
        self.assertEqual(self.rows("SELECT count(*) FROM deliveries WHERE superseded_by = 0"), [(1,)])


class SlowDiskTests(FileCase):
    def open(self) -> SQLiteJournal:
        """Return a journal whose thread waits until the test runs it."""
        self.threads = WaitingThreads()
        self.journal = SQLiteJournal(self.path, self.reactor, lambda: self.time, runs=self.threads.runs)
        return self.journal

    def settle(self) -> None:
        """Let the thread work until nothing is left."""
        self.reactor.advance(1)
        self.threads.turn()

    def test_one_transaction(self) -> None:
        """New deliveries, duplicates of stored ones, and of each other, are told apart within one transaction."""
        known = self.record(key="a", window=60, lease=60)
        first = self.journal.record(self.delivery(), lease=60)
        deliveries = [self.delivery(key=key) for key in ("a", "b", "", "b", "c", "a")]
        results = [self.journal.record(delivery, window=60) for delivery in deliveries]
        ends = [self.journal.finish(known, OK), self.journal.bury(known + 1, ERROR)]
        self.assertIsNone(self.result_of(first))
        earlier = [self.successResultOf(result) for result in results]
        self.assertEqual([one and one.id for one in earlier], [known, None, None, deliveries[1].id, None, known])
        self.assertEqual([self.successResultOf(end) for end in ends], [None, None])
        duplicate, received = DeliveryState.DUPLICATE, DeliveryState.RECEIVED
        self.assertEqual(
            [self.state(delivery.id) for delivery in deliveries],
            [duplicate, received, received, duplicate, received, duplicate],
        )
        self.assertEqual([self.state(known), self.state(known + 1)], [DeliveryState.DONE, DeliveryState.DEAD])

    def test_forged_requests_leave_room(self) -> None:
        """Refused requests, which anybody can send, keep no other delivery from the log, and the size of their heads counts."""
        forged = self.delivery(request=REQUEST._replace(headers=[(b"a", b"x" * 16_000)], body=None))
        for _ in range(1000):
            self.journal.log(forged._replace(id=self.journal.next_id(), state=DeliveryState.REFUSED))
        self.journal.log(failed := self.delivery()._replace(state=DeliveryState.FAILED))
        self.settle()
        self.assertEqual(self.find(states=[DeliveryState.FAILED]), [failed.id])
        self.assertLess(len(self.find(states=[DeliveryState.REFUSED], limit=1000)), 600)

    def test_strangers_leave_room(self) -> None:
        """Logged deliveries of unverified webhooks are dropped above a quarter of 32 MB, so that others are still logged."""
        body = REQUEST._replace(body=b"x" * 997_000)
        for _ in range(20):
            self.journal.log(self.delivery(request=body, verified=False)._replace(state=DeliveryState.DONE))
        failed = self.delivery(request=body)._replace(state=DeliveryState.FAILED)
        self.journal.log(failed)
        self.settle()
        found = self.find(limit=100)
        self.assertEqual((len(found), found[0]), (9, failed.id))

    def test_log_is_bounded(self) -> None:
        """If the disk is too slow, logged deliveries above 32 MB are dropped with one warning; `ack="now"` is stored."""
        deliveries = [
            self.delivery(request=REQUEST._replace(body=b"x" * 997_000))._replace(state=DeliveryState.FAILED)
            for _ in range(40)
        ]
        for delivery in deliveries:
            self.journal.log(delivery)
        new = self.delivery()
        recorded = self.journal.record(new)
        self.assertEqual(self.warnings, ["Deliveries of webhooks are not logged: the disk is too slow"])
        self.assertIsNone(self.result_of(recorded))
        self.assertEqual(self.find(limit=100), [new.id, *(delivery.id for delivery in deliveries[31::-1])])
        self.assertEqual(self.warnings[1:], ["Deliveries of webhooks are logged again; 8 were not."])
        self.journal.log(deliveries[-1])
        self.settle()
        self.assertEqual(len(self.find(limit=100)), 34)


class ThreadTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Open a journal with threads."""
        self.clock = ThreadClock()
        self.path = Path(self.mktemp())
        self.journal = SQLiteJournal(self.path, self.clock, lambda: 1000.0)
        self.addCleanup(lambda: self.wait(self.journal.close()))

    def wait(self, deferred: Deferred[Any]) -> Any:
        """Return the result of a Deferred that fires after calls from threads."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        while not results:
            self.assertTrue(self.clock.turn())
        return results[0]

    def test_reads_do_not_wait_for_writes(self) -> None:
        """Lists are read while a write waits for another program, and the write follows."""
        first = self.delivery()
        self.assertIsNone(self.wait(self.journal.record(first)))
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        second = self.journal.record(self.delivery())
        self.assertEqual([one.id for one in self.wait(self.journal.find(DeliveryQuery()))], [first.id])
        self.assertEqual(self.wait(self.journal.depth()).waiting, 1)
        self.assertNoResult(second)
        other.execute("ROLLBACK")
        self.assertIsNone(self.wait(second))

    def delivery(self) -> StoredDelivery:
        """Return a new delivery."""
        request = StoredRequest("POST", "/", [], b"x")
        return StoredDelivery(self.journal.next_id(), "A:a", DeliveryState.RECEIVED, 1000.0, ack="now", request=request)

    def test_many_at_once(self) -> None:
        """Hundreds of operations at once all succeed, and none runs in the reactor's thread."""
        deliveries = [self.delivery() for _ in range(300)]
        results = [self.journal.record(delivery, lease=60.0) for delivery in deliveries]
        self.assertEqual([self.wait(result) for result in results], [None] * 300)
        ends = [self.journal.finish(delivery.id, OK) for delivery in deliveries]
        self.assertEqual([self.wait(end) for end in ends], [None] * 300)
        found = self.wait(self.journal.find(DeliveryQuery(states=[DeliveryState.DONE], limit=1000)))
        self.assertEqual(len(found), 300)
        self.assertEqual(
            {thread.name for thread in threading.enumerate() if thread.name.startswith("journal")},
            {"journal writes", "journal reads"},
        )
