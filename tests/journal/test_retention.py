"""The removal of old deliveries."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat.handles import Handle, MessageRef
from errklein.chat.outgoing import MessageRecord, MessageState
from errklein.database import DatabaseError
from errklein.journal import Retention, SQLiteJournal, _retention
from errklein.journal._reading import QUERIES
from errklein.journal._retention import SHARES
from errklein.ports.journal import JournalError
from errklein.webhooks.deliveries import Action, DeliveryQuery, DeliveryState, Outcome
from tests.journal.contract import ERROR, OK, REQUEST
from tests.journal.inline import INLINE
from tests.journal.test_sqlite import FileCase

DAY = 24 * 3600.0


class RetentionCase(FileCase):
    def maintain(self) -> int:
        """Remove what the retention doesn't keep, and return the number of transactions."""
        count = 1
        while self.journal.maintain():
            count += 1
        return count

    def fill(
        self,
        count: int,
        state: DeliveryState = DeliveryState.DONE,
        body: int = 10_000,
        apart: float = 0.0,
        verified: bool = True,
    ) -> list[int]:
        """Log deliveries with bodies of this size, these seconds apart, and return their ids."""
        ids = []
        for _ in range(count):
            delivery = self.delivery(request=REQUEST._replace(body=b"x" * body), verified=verified)
            delivery = delivery._replace(state=state, outcome=OK)
            self.journal.log(delivery)
            ids.append(delivery.id)
            self.time += apart
        self.settle()
        return ids

    def tables(self) -> dict[str, int]:
        """Return the number of rows of each table with deliveries."""
        names = ("deliveries", "contents", "private", "attempts", "once", "dedupe")
        with closing(sqlite3.connect(self.path)) as connection:
            return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}


class AgeTests(RetentionCase):
    def test_old_deliveries_are_removed_completely(self) -> None:
        """After seven days, nothing is left of a delivery that has ended, whatever its state is."""
        dead = self.record(lease=60, key="d", window=20 * DAY)
        self.result_of(self.journal.once(dead, "mail"))
        self.result_of(self.journal.retry_at(dead, 0.0, ERROR))
        self.lease()
        self.result_of(self.journal.bury(dead, ERROR))
        failed = self.record(lease=60, key="f", window=20 * DAY)
        self.result_of(self.journal.finish(failed, ERROR))
        self.log(DeliveryState.REFUSED)
        self.assertEqual(
            self.tables(), {"deliveries": 3, "contents": 3, "private": 1, "attempts": 1, "once": 1, "dedupe": 2}
        )
        self.time += 7 * DAY
        self.maintain()
        self.assertEqual(self.tables()["deliveries"], 3)
        self.time += 0.001
        self.assertEqual(self.maintain(), 1)
        self.assertEqual(set(self.tables().values()), {0})
        # Given-up deliveries don't make others duplicates, even when they were removed.
        self.record(key="d", window=20 * DAY)

    def test_unfinished_deliveries_are_kept(self) -> None:
        """Deliveries that wait or run are never removed, and can be run with their requests."""
        waiting, running, retry = self.record(), self.record(lease=60), self.record(lease=60)
        self.result_of(self.journal.retry_at(retry, 0.0, ERROR))
        self.time += 365 * DAY
        newer = self.log(DeliveryState.DONE, OK)
        self.maintain()
        self.assertEqual(self.find(), [newer, retry, running, waiting])
        self.time += 8 * DAY
        self.maintain()
        self.assertEqual(self.find(), [retry, running, waiting])
        self.assertEqual([delivery.request for delivery in self.lease()], [REQUEST] * 3)

    def test_only_old_ones(self) -> None:
        """Of many deliveries, exactly the old ones are removed, in several transactions."""
        ids = self.fill(600, body=10, apart=1.0)
        self.time += 7 * DAY - 100
        self.assertEqual(self.maintain(), 2)
        self.assertEqual(self.find(limit=1000), ids[:499:-1])

    def test_keys_outlive_deliveries(self) -> None:
        """The key of a done delivery is remembered for its window, even if the delivery was removed before."""
        done = self.record(lease=60, key="k", window=10 * DAY)
        self.result_of(self.journal.finish(done, OK))
        self.time += 8 * DAY
        self.maintain()
        self.assertEqual(self.find(), [])
        again = self.delivery(key="k")
        earlier = self.result_of(self.journal.record(again, window=10 * DAY))
        self.assertEqual(earlier, again._replace(id=done, state=DeliveryState.DONE, request=None, outcome=Outcome(200)))
        self.time += 2 * DAY
        self.maintain()
        self.assertEqual(self.tables()["dedupe"], 0)
        self.record(key="k", window=10 * DAY)

    def test_counts_are_removed(self) -> None:
        """Numbers of counted deliveries are removed after the same time, with the whole hour in which they were counted."""
        self.journal.count("Builds:build")
        self.settle()
        self.time += 7 * DAY
        self.maintain()
        self.assertEqual(self.result_of(self.journal.counted(DeliveryQuery())), 1)
        self.time += 3600
        self.maintain()
        self.assertEqual(self.result_of(self.journal.counted(DeliveryQuery())), 0)

    def test_expired_keys_are_removed_in_slices(self) -> None:
        """Expired keys are removed, others are kept."""
        for number in range(300):
            self.journal.record(self.delivery(key=str(number)), window=60 if number else 120)
        self.time += 60
        self.assertEqual(self.maintain(), 2)
        self.assertEqual(self.tables()["dedupe"], 1)

    def test_ids_in_once_without_deliveries(self) -> None:
        """What `once` remembers of deliveries that aren't stored is removed too."""
        for number in range(300):
            self.result_of(self.journal.once(number, "mail"))
        self.maintain()
        self.assertEqual(self.tables()["once"], 1)


class TotalsTests(RetentionCase):
    """The numbers of deliveries, also of those that were removed."""

    retention = Retention(max_bytes=3_000_000)

    def test_states(self) -> None:
        """Repeated and refused requests are counted apart from accepted ones, whatever becomes of these."""
        number = self.record(key="k", lease=60, window=60)
        self.journal.record(self.delivery(key="k"), window=60)
        self.result_of(self.journal.bury(number, ERROR))
        self.log(DeliveryState.FAILED)
        self.log(DeliveryState.REFUSED)
        self.journal.count("Builds:build")
        self.settle()
        columns = ("accepted", "repeated", "refused", "counted", "aged", "evicted")
        self.assertEqual([self.total(one) for one in columns], [2, 1, 1, 1, 0, 0])
        self.check_balance()

    def test_removed_ones(self) -> None:
        """Deliveries that are removed for their size or their age are counted by the hour of their receipt."""
        self.fill(400, apart=30.0)
        self.maintain()
        self.check_balance()
        evicted = self.total("evicted")
        self.assertGreater(evicted, 100)
        self.assertEqual(self.total("accepted"), 400)
        for _ in range(3):
            self.fill(1, apart=DAY)
        # Before the totals of these hours are removed, too.
        self.time += 4 * DAY - 1000
        self.maintain()
        self.check_balance()
        self.assertGreater(self.total("aged"), 0)
        self.time += 30 * DAY
        self.maintain()
        self.assertEqual(self.rows("SELECT * FROM totals"), [])
        self.assertEqual(self.rows("SELECT * FROM ledger"), [])

    def test_minutes_become_hours(self) -> None:
        """An hour after its end, an hour has one total for each webhook, and the numbers are the same."""
        self.time = 36_000.0
        for _ in range(300):
            self.record(webhook="Other:hook")
            self.record()
            self.time += 60
        before = self.total("accepted")
        self.maintain()
        self.assertEqual(self.total("accepted"), before)
        hours = [(hour, 60) for hour in (36_000, 39_600, 43_200)]
        found = self.rows("SELECT at, accepted FROM totals WHERE route = 1 ORDER BY at")
        self.assertEqual(found, [*hours, (46_800, 60), *((50_400 + 60 * minute, 1) for minute in range(60))])
        self.time += 7200
        self.maintain()
        found = self.rows("SELECT at, accepted FROM totals WHERE route = 1 ORDER BY at")
        self.assertEqual(found, [*hours, (46_800, 60), (50_400, 60)])

    def test_clock(self) -> None:
        """When the clock is set, nothing is counted twice or not at all."""
        for step in (7200, -7200, -7200, 7200, 3 * 7200):
            self.fill(70)
            self.maintain()
            self.check_balance()
            self.time += step
        self.assertEqual(self.total("accepted"), 350)

    def test_one_way_to_remove(self) -> None:
        """Nothing else removes deliveries, so that nothing is missing in the ledger."""
        folder = Path(_retention.__file__).parent
        sources = "".join(path.read_text() for path in (*folder.glob("*.py"), folder / "queries.sql"))
        self.assertEqual(sources.count("DELETE FROM deliveries"), 1)
        self.assertEqual(sources.count("DELETE FROM ledger"), 1)
        self.assertEqual(sources.count("DELETE FROM outbox"), 1)


class FileTests(RetentionCase):
    """What differs in other databases: ids, and how much is read."""

    retention = Retention(max_bytes=4_000_000)

    def test_ids_are_not_used_again(self) -> None:
        """After a restart, the ids of deliveries that were removed aren't given to others."""
        last = self.fill(3, body=10)[-1]
        self.time += 8 * DAY
        self.maintain()
        self.assertEqual(self.find(), [])
        self.restart()
        self.assertEqual(self.journal.next_id(), last + 1)

    def test_nothing_to_remove(self) -> None:
        """If all that there is waits, the search for what can be removed doesn't read it each second."""
        steps: list[int] = []
        self.journal._database._writer.set_progress_handler(lambda: steps.append(1), 10)
        counts = []
        for _ in range(2):
            for _ in range(400):
                self.record(request=REQUEST._replace(body=b"x" * 10_000))
            steps.clear()
            self.maintain()
            counts.append(len(steps))
        self.assertLess(counts[1], counts[0] + 100)

    def test_sizes_are_added_up_once(self) -> None:
        """What strangers have is added up once for all slices that are too much, since it may be very many deliveries."""
        statements: list[str] = []
        self.journal._database._writer.set_trace_callback(statements.append)
        self.fill(2000, verified=False, body=1000)
        self.assertGreater(self.maintain(), 4)
        self.assertEqual(sum(QUERIES["unverified sizes"] in statement for statement in statements), 2)


class MonthsTests(RetentionCase):
    """What is kept for 90 days, whatever WEBHOOK_LOG_DAYS is."""

    def test_actions(self) -> None:
        """Actions are removed after 90 days, and not before: also if the journal's clock was set, or by another program."""
        today = time.time()
        for at in (self.time, self.time + 1, today):
            self.journal.note(Action(at, "ann", "chat", "webhooks.pause", "Builds:build"))
        self.settle()
        self.time += 90 * DAY + 0.5
        self.maintain()
        self.assertEqual([one.at for one in self.result_of(self.journal.actions())], [today, 1001.0])
        self.time = today + 1000 * DAY
        self.maintain()
        self.assertEqual([one.at for one in self.result_of(self.journal.actions())], [today])
        for statement in ("DELETE FROM actions", "UPDATE actions SET who = 'bob'"):
            with self.assertRaises(DatabaseError):
                self.journal._database.write(statement)

    def test_beginnings_of_processes(self) -> None:
        """The beginnings of processes are removed after 90 days, but for that of the present one."""
        self.restart()
        self.time += 100 * DAY
        self.maintain()
        self.assertEqual(self.rows("SELECT id FROM runs"), [(2,)])


class ShareTests(RetentionCase):
    """What is kept of the parts of WEBHOOK_LOG_SIZE: twice as much comes as they have room for, in several rounds."""

    retention = Retention(seconds=DAY, max_bytes=5_000_000)

    def setUp(self) -> None:
        """Set the clock to a usual time, add a webhook, and count each turn, since rounds are faster than a bot is."""
        super().setUp()
        self.patch(_retention, "ROWS", 10**9)
        # SQLite stores small and whole numbers in fewer bytes.
        self.time = 1_800_000_000.3
        self.result_of(self.journal.pause("Builds:build", False))

    def used(self) -> int:
        """Return the bytes in use of the file."""
        ((size,),) = self.rows(QUERIES["used"])
        return int(size)

    def check_share(self, share: float, fill: Callable[[int], object], size: float) -> None:
        """Fill a share twice over with rows of about this size, and check that at most 5 % more are kept, and the last page of each tree."""
        before = self.used()
        for _ in range(40):
            fill(int(share / size / 20))
            self.maintain()
            self.assertLess(self.used() - before, 1.05 * share + 3 * 4096)
        self.assertGreater(self.used() - before, 0.93 * share)

    def insert(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Insert rows into the file, as another program."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executemany(statement, rows)
            connection.commit()

    def test_keys(self) -> None:
        """Keys of any length take half of the size."""
        ids, random = count(1), Random(1)
        for length in (20, 36, 64, 100):

            def fill(number: int, length: int = length) -> None:
                rows = (
                    (1, random.randbytes(50).hex()[:length], next(ids), self.time + 1000 + next(ids) / 3)
                    for _ in range(number)
                )
                self.insert("INSERT INTO dedupe VALUES (?, ?, ?, ?)", rows)

            self.check_share(2_500_000, fill, 40 + 2.4 * length)
            self.insert("DELETE FROM dedupe", [()])

    def test_records_of_messages(self) -> None:
        """Records of messages take a twentieth, with and without reasons."""
        ids = count(5 * 2**32)
        for reason, state, size in (("", 1, 50), ("the network doesn't know the room", 3, 110), ("é" * 250, 2, 620)):

            def fill(number: int, reason: str = reason, state: int = state) -> None:
                rows = ((next(ids), b"irc", b"#ops", 10**6, state, self.time, reason) for _ in range(number))
                self.insert("INSERT INTO ended_messages VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

            self.check_share(250_000, fill, size)
            self.insert("DELETE FROM ended_messages", [()])

    def test_ids_of_messages(self) -> None:
        """The ids of messages on their networks take a tenth, long and short ones."""
        ids, random = count(1), Random(1)
        for length, size in ((20, 110), (150, 290)):

            def fill(number: int, length: int = length) -> None:
                rows = (
                    (b"irc", random.randbytes(8).hex().encode(), b"#ops", "x" * length, self.time + next(ids) / 1e3)
                    for _ in range(number)
                )
                self.insert("INSERT INTO sent_ids VALUES (?, ?, ?, ?, ?)", rows)

            self.check_share(500_000, fill, size)
            self.insert("DELETE FROM sent_ids", [()])

    def test_deliveries_of_strangers(self) -> None:
        """Deliveries of unverified webhooks take a quarter, whatever the size of their bodies is."""
        for body, size in ((100, 450), (1500, 2200), (2500, 4200), (3900, 4700), (20_000, 20_700)):
            self.check_share(1_250_000, lambda number, body=body: self.fill(number, body=body, verified=False), size)  # type: ignore[misc]
            self.time += 2 * DAY
            self.maintain()

    def test_refused_requests(self) -> None:
        """Refused requests take a tenth."""
        self.check_share(500_000, lambda number: self.fill(number, DeliveryState.REFUSED), 400)


class KeyTests(RetentionCase):
    """A source that uses very many ids."""

    retention = Retention(max_bytes=4_000_000)

    def setUp(self) -> None:
        """Let keys take so many bytes that 100 of them are remembered."""
        self.patch(_retention, "SHARES", {**SHARES, "dedupe": SHARES["dedupe"]._replace(size="20000")})
        super().setUp()

    def test_oldest_keys_are_forgotten(self) -> None:
        """The webhook's oldest keys are forgotten. Other webhooks keep theirs."""
        self.record(webhook="Other:hook", key="k", window=60)
        for number in range(700):
            self.journal.record(self.delivery(key=str(number)), window=600 + number)
        self.maintain()
        self.assertEqual(self.tables()["dedupe"], 100)
        for key, webhook in (("601", "Builds:build"), ("k", "Other:hook")):
            self.assertIsNotNone(self.result_of(self.journal.record(self.delivery(webhook, key=key), window=60)))
        self.assertIsNone(self.result_of(self.journal.record(self.delivery(key="600"), window=60)))

    def test_forgetting_is_logged(self) -> None:
        """When keys are forgotten before their time, one warning names the webhook."""
        for number in range(200):
            self.journal.record(self.delivery(key=str(number)), window=600)
        self.maintain()
        self.assertEqual(len(self.warnings), 1, self.warnings)
        self.assertIn("are forgotten before their time, first those of Builds:build", self.warnings[0])

    def test_strangers_have_a_quarter(self) -> None:
        """The keys of an unverified webhook, which anybody may add, don't displace those of others."""
        for number in range(90):
            self.record(key=str(number), window=600)
        for number in range(700):
            self.journal.record(self.delivery("Public:hook", key=str(number), verified=False), window=6000)
        self.maintain()
        self.assertEqual(self.tables()["dedupe"], 90 + 25)
        self.assertIsNotNone(self.result_of(self.journal.record(self.delivery(key="0"), window=600)))

    def test_keys_are_counted_from_time_to_time(self) -> None:
        """Many keys aren't counted each second, which takes long for millions, but when there are a thirtieth more, or after minutes."""
        self.patch(_retention, "ROWS", 1)
        numbers, counts = count(), []
        for added in [100, *[3] * 4, *[0] * 299]:
            for _ in range(added):
                self.journal.record(self.delivery(key=str(next(numbers))), window=600)
            self.maintain()
            counts.append(self.tables()["dedupe"])
        self.assertEqual((counts[:5], counts[-2:]), ([100, 103, 100, 103, 100], [100, 100]))
        for number in range(3):
            self.journal.record(self.delivery(key=f"last {number}"), window=600)
        self.maintain()
        self.assertEqual(self.tables()["dedupe"], 103)
        for _ in range(300):
            self.maintain()
        self.assertEqual(self.tables()["dedupe"], 100)


class DefaultTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """By default, deliveries are kept for seven days or 1 GB, 250 MB of unverified ones and 10 MB of refused requests."""
        self.assertEqual(Retention(), Retention(7 * DAY, 10**9, 10**7))
        self.assertEqual(Retention().unverified_bytes, 250_000_000)


class SizeTests(RetentionCase):
    retention = Retention(max_bytes=3_000_000)

    def size(self) -> int:
        """Return the used bytes of the file."""
        with closing(sqlite3.connect(self.path)) as connection:
            used: int = connection.execute(QUERIES["used"]).fetchone()[0]
            return used

    def test_oldest_are_removed_above_the_size(self) -> None:
        """Above the size, the oldest deliveries are removed until it fits, and the newest are kept."""
        self.fill(400)
        self.maintain()
        self.assertLess(self.size(), 3_000_000)
        found = self.find(limit=1000)
        self.assertEqual(found, list(range(400, 400 - len(found), -1)))
        self.assertGreater(len(found), 200)
        for _ in range(8):
            self.fill(50)
            self.maintain()
            self.assertLess(self.size(), 3_000_000)

    def test_dead_ones_are_removed_last(self) -> None:
        """DEAD deliveries are removed for size only when there are no others; those that wait, never."""
        large = REQUEST._replace(body=b"x" * 100_000)
        dead = [self.record(lease=60) for _ in range(20)]
        for number in dead:
            self.result_of(self.journal.bury(number, ERROR))
        waiting = [self.record(lease=60, request=large) for _ in range(10)]
        self.fill(300)
        self.maintain()
        self.assertEqual(self.find(states=[DeliveryState.DEAD], limit=1000), dead[::-1])
        self.assertGreater(len(self.find(states=[DeliveryState.DONE], limit=1000)), 0)
        waiting += [self.record(lease=60, request=large) for _ in range(21)]
        self.maintain()
        self.assertEqual(self.find(limit=1000), waiting[::-1])
        for number in waiting:
            self.result_of(self.journal.finish(number, OK))
        self.maintain()
        self.assertLess(self.size(), 3_000_000)

    def test_deliveries_that_ended_late_are_removed(self) -> None:
        """A delivery that waited while newer ones were removed is removed after it has ended."""
        request = REQUEST._replace(body=b"x" * 10_000)
        late = self.record(lease=60, request=request)
        for _ in range(2):
            self.fill(400)
            self.maintain()
            self.assertIn(late, self.find(limit=1000))
        self.result_of(self.journal.finish(late, OK))
        for _ in range(4):
            self.fill(400)
            self.maintain()
        self.assertNotIn(late, self.find(limit=1000))


class StrangerTests(RetentionCase):
    """Deliveries that anybody can send, since their webhook isn't verified."""

    retention = Retention(max_bytes=4_000_000)

    def flood(self, **fields: Any) -> list[int]:
        """Log deliveries of strangers, more than the whole log may have, and return the ids of those that are kept."""
        for _ in range(8):
            self.fill(100, verified=False, **fields)
            self.maintain()
        return [one.id for one in self.result_of(self.journal.find(DeliveryQuery(limit=1000))) if not one.verified]

    def test_strangers_displace_nothing(self) -> None:
        """However many they are, they have a quarter of the log, and the newest of them are kept. No other delivery is removed."""
        kept = [*self.fill(100), *self.fill(20, DeliveryState.FAILED), *self.fill(20, DeliveryState.DEAD)]
        own = self.flood()
        self.assertEqual(set(kept) - set(self.find(limit=1000)), set())
        self.assertEqual(own, list(range(own[0], own[0] - len(own), -1)))
        self.assertGreater(len(own), 80)
        self.assertLessEqual(len(own), 100)

    def test_failed_ones_of_strangers(self) -> None:
        """Within the share, the successful ones are removed before the failed ones."""
        failed = self.fill(50, DeliveryState.FAILED, verified=False)
        own = self.flood()
        self.assertEqual(set(failed) - set(own), set())

    def test_strangers_are_removed_first(self) -> None:
        """If others need the space, deliveries of strangers are removed first, then those that have succeeded."""
        self.fill(50, verified=False)
        failed = self.fill(20, DeliveryState.FAILED)
        dead = self.fill(20, DeliveryState.DEAD)
        self.fill(300)
        self.maintain()
        self.assertNotEqual(self.find(states=[DeliveryState.DONE], limit=1000), [])
        self.fill(400)
        self.maintain()
        found = self.result_of(self.journal.find(DeliveryQuery(limit=1000)))
        self.assertTrue(all(one.verified for one in found))
        self.assertEqual(
            self.find(states=[DeliveryState.FAILED, DeliveryState.DEAD], limit=1000), [*failed, *dead][::-1]
        )

    def test_failed_before_dead(self) -> None:
        """If there is nothing else, failed deliveries are removed before dead ones."""
        dead = self.fill(100, DeliveryState.DEAD)
        self.fill(500, DeliveryState.FAILED)
        self.maintain()
        self.assertEqual(self.find(states=[DeliveryState.DEAD], limit=1000), dead[::-1])

    def test_waiting_ones_of_strangers(self) -> None:
        """When what waits of strangers has filled their share, more is refused, until some of it has ended. Others aren't."""
        large = REQUEST._replace(body=b"x" * 300_000)
        waiting = [self.record(verified=False, lease=60, request=large) for _ in range(4)]
        refused = self.journal.record(self.delivery(verified=False))
        self.settle()
        self.assertIn("its share of WEBHOOK_LOG_SIZE", str(self.failureResultOf(refused, JournalError)))
        self.maintain()
        self.failureResultOf(self.journal.record(self.delivery(verified=False)), JournalError)
        self.assertEqual(self.find(), waiting[::-1])
        self.record()
        self.result_of(self.journal.finish(waiting[0], OK))
        self.maintain()
        self.record(verified=False)

    def test_attempts_of_waiting_ones_count(self) -> None:
        """The reasons of earlier attempts count, since a stranger can make them long."""
        number = self.record(verified=False, lease=1)
        for _ in range(2000):
            self.journal.retry_at(number, 0.0, Outcome(500, "x" * 500))
            self.lease()
        self.maintain()
        self.failureResultOf(self.journal.record(self.delivery(verified=False)), JournalError)

    def test_bodies_of_waiting_ones_count(self) -> None:
        """Large bodies of strangers count until the delivery is done."""
        huge = REQUEST._replace(body=b"x" * 2_000_000)
        number = self.record(verified=False, lease=60, request=huge)
        self.maintain()
        self.failureResultOf(self.journal.record(self.delivery(verified=False)), JournalError)
        self.result_of(self.journal.finish(number, OK))
        self.maintain()
        self.assertEqual(self.find(), [number])
        self.record(verified=False)


class RefusedTests(RetentionCase):
    retention = Retention(refused_bytes=200_000)

    def refuse(self, count: int, reason: str = "no match", webhook: str = "Builds:build") -> list[int]:
        """Log refused requests, and return their ids."""
        deliveries = [
            self.delivery(webhook)._replace(state=DeliveryState.REFUSED, outcome=Outcome(401, reason))
            for _ in range(count)
        ]
        for delivery in deliveries:
            self.journal.log(delivery)
        self.settle()
        return [one.id for one in deliveries]

    def test_flood_of_one_webhook(self) -> None:
        """A flood of refused requests of one webhook, also with different reasons, removes none of other webhooks."""
        other = self.refuse(50, webhook="Other:hook")
        for number in range(100):
            self.refuse(20, f"reason {number}")
        self.maintain()
        self.assertEqual(self.find(webhook="Other:hook", limit=1000), other[::-1])

    def test_reasons_share(self) -> None:
        """Those with other reasons are kept, and of the most frequent reason, the first ones and the latest ones."""
        other = self.refuse(50, "the header is missing")
        flood = self.refuse(3000)
        self.maintain()
        self.assertEqual(self.find(reason="missing", limit=1000), other[::-1])
        found = self.find(reason="no match", limit=10_000)[::-1]
        latest = len(found) - _retention.FIRST_KEPT
        self.assertEqual(found, flood[: _retention.FIRST_KEPT] + flood[-latest:])
        self.assertGreater(latest, 200)

    def test_huge_heads(self) -> None:
        """Of the webhook whose refused requests are largest, some remain, and no other one is removed."""
        other = self.refuse(50, webhook="Other:hook")
        self.fill(100, DeliveryState.REFUSED)
        head = [(b"x-%d" % number, b"x" * 900) for number in range(18)]
        large = [
            self.log(DeliveryState.REFUSED, webhook="Large:hook", request=REQUEST._replace(headers=head))
            for _ in range(40)
        ]
        self.maintain()
        kept = self.find(webhook="Large:hook", limit=100)
        self.assertEqual((kept[-1], kept[0]), (large[0], large[-1]))
        self.assertEqual(self.find(webhook="Other:hook", limit=1000), other[::-1])

    def test_refused_requests_have_a_budget(self) -> None:
        """A flood of refused requests removes older refused ones, and no other delivery."""
        done = self.fill(300, body=10)
        refused = self.fill(1000, DeliveryState.REFUSED)
        self.maintain()
        kept = self.find(states=[DeliveryState.REFUSED], limit=10_000)
        self.assertLessEqual(set(kept), set(refused))
        self.assertGreater(len(kept), 200)
        self.assertLess(len(kept), 800)
        self.assertEqual(self.find(states=[DeliveryState.DONE], limit=1000), done[::-1])


class SmallLogTests(RetentionCase):
    retention = Retention(max_bytes=3_000_000)

    def test_refused_requests_have_a_tenth(self) -> None:
        """In a log of a few megabytes, too, a flood of refused requests removes no other delivery."""
        done = self.fill(100)
        for _ in range(10):
            self.fill(1000, DeliveryState.REFUSED)
            self.maintain()
        self.assertEqual(self.find(states=[DeliveryState.DONE], limit=1000), done[::-1])


class ErrorTests(RetentionCase):
    def test_error_is_logged_once(self) -> None:
        """If the file is locked, one warning is logged; later calls work."""
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        self.journal._database._writer.execute("PRAGMA busy_timeout = 0")
        number = self.log(DeliveryState.DONE, OK)
        self.time += 8 * DAY
        other.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            self.assertFalse(self.journal.maintain())
        self.assertEqual(len(self.warnings), 1)
        self.assertIn("Old deliveries of webhooks can't be removed: ", self.warnings[0])
        self.assertEqual(self.find(), [number])
        other.execute("ROLLBACK")
        self.maintain()
        self.assertEqual(self.find(), [])

    def test_closed_journal_is_left_alone(self) -> None:
        """Nothing is removed and nothing logged when the journal was closed meanwhile."""
        self.result_of(self.journal.close())
        self.assertFalse(self.journal.maintain())
        self.assertEqual(self.warnings, [])
        self.open()

    def test_any_error_is_logged(self) -> None:
        """An unexpected error is logged like one of the file, and the thread goes on."""
        times = [1000.0]

        def now() -> float:
            if not times:
                raise ZeroDivisionError("no clock")
            return times[0]

        journal = SQLiteJournal(Path(self.mktemp()), self.reactor, now, runs=INLINE)
        times.clear()
        self.assertFalse(journal.maintain())
        self.assertEqual(self.warnings, ["Old deliveries of webhooks can't be removed: no clock"])
        self.result_of(journal.close())


class MessageTests(RetentionCase):
    """Records of messages that were sent, dropped or rejected of one day, at most 400."""

    retention = Retention(seconds=DAY, max_bytes=20 * 400 * 100)

    def setUp(self) -> None:
        """Let a record take 100 bytes."""
        self.patch(_retention, "SHARES", {**SHARES, "ended_messages": SHARES["ended_messages"]._replace(size="100")})
        super().setUp()

    def end(self, count: int, state: MessageState = MessageState.SENT) -> None:
        """Add records of a delivery's messages."""
        outbox = self.journal.outbox
        for _ in range(count):
            outbox.end(MessageRecord(0, "irc", "#ops", 7, state, self.time))
        self.settle()

    def kept(self) -> int:
        """Return the number of records in the file."""
        with closing(sqlite3.connect(self.path)) as connection:
            [(number,)] = connection.execute("SELECT count(*) FROM ended_messages")
        return int(number)

    def test_old_ones_are_removed(self) -> None:
        """Records are removed after the time of deliveries, in slices, whatever became of the messages."""
        self.end(300)
        self.end(5, MessageState.REJECTED)
        self.time += DAY / 2
        self.end(3)
        self.maintain()
        self.assertEqual(self.kept(), 308)
        self.time += DAY / 2 + 1
        self.assertGreater(self.maintain(), 1)
        self.assertEqual(self.kept(), 3)

    def test_too_many_are_removed(self) -> None:
        """Records take a twentieth of WEBHOOK_LOG_SIZE; the oldest ones are removed above it."""
        self.end(700)
        self.maintain()
        self.assertEqual(self.kept(), 400)


class IdsTests(RetentionCase):
    """Ids of messages that were sent, at most 400."""

    retention = Retention(seconds=DAY, max_bytes=10 * 400 * 100)

    def setUp(self) -> None:
        """Let the ids of a message take 100 bytes."""
        self.patch(_retention, "SHARES", {**SHARES, "sent_ids": SHARES["sent_ids"]._replace(size="100")})
        super().setUp()

    def end(self, count: int, first: int = 0) -> None:
        """End messages to which the network has given ids."""
        outbox = self.journal.outbox
        for number in range(first, first + count):
            record = MessageRecord(0, "irc", "#ops", 0, MessageState.SENT, self.time, key=f"k{number}")
            outbox.end(record, [MessageRef("irc", "#ops", f"m{number}")])
            self.time += 0.001
        self.settle()

    def known(self) -> list[int]:
        """Return the numbers of the messages whose ids are known."""
        refs_of = self.journal.outbox.refs_of
        return [number for number in range(800) if self.result_of(refs_of(Handle(f"irc/k{number}")))]

    def test_kept_for_30_days(self) -> None:
        """Ids are kept for 30 days, longer than deliveries, and removed in slices."""
        self.end(300)
        self.time += 29 * DAY
        self.end(3, 300)
        self.maintain()
        self.assertEqual(len(self.known()), 303)
        self.time += DAY + 1
        self.assertGreater(self.maintain(), 1)
        self.assertEqual(self.known(), [300, 301, 302])

    def test_edited_message(self) -> None:
        """The 30 days begin again when a message is edited."""
        self.end(2)
        self.time += 29 * DAY
        self.end(1)
        self.time += 29 * DAY
        self.maintain()
        self.assertEqual(self.known(), [0])

    def test_too_many_are_removed(self) -> None:
        """Ids take a tenth of WEBHOOK_LOG_SIZE, those of 500,000 messages at most; the oldest ones are removed above it."""
        self.end(700)
        self.maintain()
        self.assertEqual(self.known(), [*range(300, 700)])

    def test_most_ids(self) -> None:
        """However large WEBHOOK_LOG_SIZE is, no more than a fixed number is kept."""
        self.patch(_retention, "SHARES", {**SHARES, "sent_ids": SHARES["sent_ids"]._replace(most=100)})
        self.end(300)
        self.maintain()
        self.assertEqual(self.known(), [*range(200, 300)])
        self.assertEqual(SHARES["sent_ids"].most, 500_000)
