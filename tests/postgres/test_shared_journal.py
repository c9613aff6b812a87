"""Several processes share a journal: each delivery is run by one of them, and nothing is lost when one ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat.handles import Handle, MessageRef
from errklein.chat.outgoing import MessageState, OutgoingMessage, waiting_record
from errklein.database import DatabaseError, each
from errklein.journal import DeliveryQueue, Retention, RetryPolicy
from errklein.ports.journal import Journal, JournalError
from errklein.webhooks.deliveries import Action, DeliveryQuery, DeliveryState, Outcome, StoredDelivery
from tests.journal.contract import ERROR, OK, JournalCase
from tests.journal.inline import InlineReactor, WaitingThreads
from tests.postgres.journals import clocked_database, new_journal, new_tables, session_name, wait_for_lock
from tests.postgres.server import PostgresServer, shared_server

DAY = 86400.0
SOON = 0.02  # the seconds after which a process looks again


class SharedCase(JournalCase, SynchronousTestCase):
    """A test case with the journals of two processes, `journal` and `other`, in which everything happens at once."""

    retention = Retention()

    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return the journal of the first process."""
        self.url, self.reactor = new_tables(self), InlineReactor()
        self.session = session_name()
        self.other = self.open()
        return self.open(self.session)

    def open(self, session: str = "") -> Any:
        """Return the journal of a process."""
        journal = new_journal(self.url, lambda: self.time, self.reactor, session=session, retention=self.retention)
        self.addCleanup(lambda: self.result_of(journal.close()))
        return journal

    def settle(self) -> None:
        """Let the log be written."""
        self.reactor.advance(1)

    def ids_for_other(self, count: int = 10, seconds: float = 60.0, **options: Any) -> list[int]:
        """Lease deliveries in the other process, and return their ids."""
        return [one.id for one in self.result_of(self.other.lease("Builds:build", count, seconds, **options))]

    def rows(self, query: str) -> list[Any]:
        """Return the rows of a query of another program."""
        with closing(clocked_database(self.url, lambda: self.time)) as database:
            return database.read(query)

    def messages(self) -> int:
        """Return the number of messages in the queue."""
        return int(self.rows("SELECT count(*) FROM pgmq.q_errklein")[0][0])


class RecordTests(SharedCase):
    def test_known_key(self) -> None:
        """A key that another process has recorded is a duplicate."""
        number = self.record(key="k", window=60, lease=60)
        again = self.delivery(key="k")
        earlier = self.result_of(self.other.record(again, window=60))
        self.assertEqual((earlier.id, earlier.state), (number, DeliveryState.RUNNING))
        self.assertEqual(self.state(again.id), DeliveryState.DUPLICATE)
        self.assertEqual(self.ids_for_other(), [])

    def test_same_key_at_the_same_time(self) -> None:
        """While one process records a key, another one that records it waits, and gets the first delivery."""
        # The first delivery of a webhook adds the webhook.
        known = self.record()
        first, second, third = (self.delivery(key=key) for key in ("k", "k", "other"))
        with ThreadPoolExecutor(1) as pool:
            with self.journal._database.transaction() as connection:  # type: ignore[attr-defined]
                result = self.journal._writer.record(connection, [(first, 0.0, 60.0)])  # type: ignore[attr-defined]
                self.assertEqual(result, [None])
                waiting = pool.submit(self.other._submit, self.other._writer.record, (second, 0.0, 60.0))
                wait_for_lock(self.url)
                # Another key doesn't wait.
                process = self.open()
                self.assertIsNone(self.result_of(process.record(third, window=60)))
            earlier = self.result_of(waiting.result())
        self.assertEqual((earlier.id, self.state(second.id)), (first.id, DeliveryState.DUPLICATE))
        self.assertEqual(self.ids_for_other(), [known, first.id, third.id])

    def test_many_keys_at_the_same_time(self) -> None:
        """Processes that record the same keys in different orders don't block each other, and each key is stored once."""
        keys = [str(number) for number in range(60)]
        journals = [self.journal, self.other, self.open()]
        orders = [keys, keys[::-1], keys[30:] + keys[:30]]
        batches = [
            [(self.delivery(key=key)._replace(id=journal.next_id()), 0.0, 60.0) for key in order]
            for journal, order in zip(journals, orders, strict=True)
        ]

        def record(journal: Any, batch: Sequence[Any]) -> Sequence[StoredDelivery | None]:
            results: list[StoredDelivery | None] = []
            for start in range(0, 60, 20):
                with journal._database.transaction() as connection:
                    results += journal._writer.record(connection, batch[start : start + 20])
            return results

        with ThreadPoolExecutor(3) as pool:
            results = [one for some in pool.map(record, journals, batches) for one in some]
        self.assertEqual(results.count(None), 60)
        self.assertEqual(len(self.ids_for_other(count=200)), 60)

    def test_once(self) -> None:
        """`once` is true in one of the processes."""
        number = self.record()
        self.assertTrue(self.result_of(self.journal.once(number, "mail")))
        self.assertFalse(self.result_of(self.other.once(number, "mail")))

    def test_ids_in_order_of_time(self) -> None:
        """A process that hasn't stored anything for long soon gets ids above those that others have stored. An idle one uses none up."""
        early = self.other.next_id()
        self.journal.next_id()
        number = self.record()
        self.assertGreater(number, early)
        for _ in range(5):
            self.other.maintain()
            self.journal.maintain()
        later = self.other.next_id()
        self.assertGreater(later, number)
        self.assertEqual(self.other.next_id(), later + 1)
        self.assertEqual(self.journal.next_id(), number + 1)
        self.assertEqual(len({later // 10_000, number // 10_000, early // 10_000}), 3)
        self.record()
        self.other.maintain()
        self.assertEqual(self.other.next_id(), later + 2)

    def test_blocks_of_ids(self) -> None:
        """A process takes another block when half of one is used, and gives no ids of others, also to those who keep `next_id`."""
        next_id = self.journal.next_id
        others = self.other.next_id()
        ids = {next_id() for _ in range(5_001)}
        self.journal.maintain()
        later = [next_id() for _ in range(10_000)]
        self.assertEqual((len(ids.union(later, [others])), later[0] // 10_000), (15_002, 2))
        # The database is absent for long.
        self.assertRaises(JournalError, next_id)
        self.journal.maintain()
        self.assertEqual(next_id() // 10_000, 3)

    def test_totals_of_several_processes(self) -> None:
        """The totals are those of all processes, none of which waits for the transaction of another one."""
        self.record()
        with self.other._database.transaction() as connection:
            self.other._writer.record(connection, [(self.delivery()._replace(id=self.other.next_id()), 0.0, 0.0)])
            self.record()
        self.journal.count("Builds:build")
        self.other.count("Builds:build")
        self.settle()
        (total,) = [one for one in self.result_of(self.other.totals(0.0, 3600.0, 3600)) if one.accepted]
        self.assertEqual((total.accepted, total.counted), (3, 2))


class LeaseTests(SharedCase):
    def test_lease_of_another_process(self) -> None:
        """Nobody else gets a leased delivery before the end of its lease. Then its attempt was ended by the end of the process."""
        number = self.record(lease=30)
        self.time += 29
        self.result_of(self.journal.extend([number], 60))
        self.time += 59
        self.assertEqual(self.ids_for_other(), [])
        self.time += 1
        (leased,) = self.result_of(self.other.lease("Builds:build", 10, 60))
        self.assertEqual((leased.id, leased.attempt), (number, 2))
        self.assertEqual(leased.outcome, Outcome(0, "the process ended", 0.0))
        self.assertEqual([one.outcome.reason for one in self.get(number).attempts], ["the process ended"])

    def test_end_after_the_lease(self) -> None:
        """What a process does with a delivery whose lease it has lost has no effect."""
        number = self.record(lease=30)
        self.time += 30
        self.assertEqual(self.ids_for_other(), [number])
        for late in (
            self.journal.finish(number, OK),
            self.journal.bury(number, ERROR),
            self.journal.retry_at(number, 0.0, ERROR),
            self.journal.extend([number], 1000.0),
        ):
            self.result_of(late)
        stored = self.get(number)
        self.assertEqual((stored.state, stored.attempt, stored.due_at), (DeliveryState.RUNNING, 2, 1090.0))
        self.assertEqual(self.leased_ids(), [])
        self.result_of(self.other.finish(number, OK))
        self.assertEqual((self.state(number), self.messages()), (DeliveryState.DONE, 0))

    def test_end_before_another_process_leases(self) -> None:
        """The end of an attempt counts after the time of the lease, too, unless another process leases it."""
        number = self.record(lease=30)
        self.time += 31
        self.result_of(self.journal.finish(number, OK))
        self.assertEqual((self.state(number), self.ids_for_other()), (DeliveryState.DONE, []))

    def test_processes_that_end_each_time(self) -> None:
        """A delivery during which processes end repeatedly waits longer each time, and then runs, with others before it."""
        number = self.record(lease=30)
        self.time += 30
        self.assertEqual(self.ids_for_other(seconds=30), [number])
        self.time += 30
        self.assertEqual(self.leased_ids(), [])
        stored = self.get(number)
        self.assertEqual((stored.state, stored.attempt), (DeliveryState.RETRY, 2))
        self.assertGreater(stored.due_at, self.time)
        self.assertEqual(self.result_of(self.journal.next_due("Builds:build")), round(stored.due_at, 6))
        self.time = stored.due_at + 0.001
        self.assertEqual(self.leased_ids(), [number])

    def test_removed_process(self) -> None:
        """When a process is removed from the nodes, its leases end at once. A delivery with ack="after" has failed then."""
        now, after, waits = self.record(lease=60), self.record(ack="after", lease=1e9), self.record()
        foreign = self.ids_for_other()
        self.assertEqual(foreign, [waits])
        columns = "session, name, version, roles, address, began_at, seen_at"
        self.other._database.write(f"INSERT INTO nodes ({columns}) VALUES (?, '', '', '', '', 0, 0)", (self.session,))
        self.other._database.write("DELETE FROM nodes")
        stored = self.get(after)
        self.assertEqual((stored.state, stored.outcome), (DeliveryState.FAILED, Outcome(0, "the process ended")))
        self.assertEqual(self.ids_for_other(), [now])
        self.assertEqual(self.messages(), 2)

    def test_leases_at_the_same_time(self) -> None:
        """Processes that lease at the same time get different deliveries, all together."""
        ids = [self.record() for _ in range(60)]
        journals = [self.journal, self.other, self.open(), self.open()]

        def lease(journal: Any) -> list[int]:
            found = []
            for _ in range(10):
                with journal._database.transaction() as connection:
                    found += [one.id for one in journal._writer.lease(connection, "Builds:build", 3, 60.0)]
            return found

        with ThreadPoolExecutor(4) as pool:
            leased = [number for some in pool.map(lease, journals) for number in some]
        self.assertEqual(len(leased), len(set(leased)))
        self.assertEqual(sorted([*leased, *self.leased_ids(count=100)]), ids)

    def test_lease_while_another_process_ends_it(self) -> None:
        """A lease doesn't wait for the end of another process's attempt, whose lease has ended."""
        first, second = self.record(lease=30), self.record()
        self.time += 30
        with self.journal._database.transaction() as connection:  # type: ignore[attr-defined]
            connection.execute("UPDATE deliveries SET size = size WHERE id = ?", (first,))
            self.assertEqual(self.ids_for_other(), [second])
        self.time += 60
        self.result_of(self.other.finish(second, OK))
        self.assertEqual(self.ids_for_other(), [first])

    def test_many_of_another_webhook(self) -> None:
        """A lease and the next due time don't read the messages of others, such as those of a paused webhook."""
        self.record()
        waits = self.record(lease=60)
        self.result_of(self.journal.retry_at(waits, self.time + 10, ERROR))
        with self.other._database.transaction() as connection:
            connection.execute("INSERT INTO routes (id, name) VALUES (77, 'Other:hook')")
            connection.execute(
                "INSERT INTO deliveries SELECT -n, 77, 0, 0, '', 1, 0, 0, '', '', 0, NULL, NULL, NULL, 0, 1, 0, 0, NULL, "
                "pgmq.send('errklein', jsonb_build_object('id', -n, 'route', 77)), NULL FROM generate_series(1, 5000) AS n"
            )
        self.other._database.write("ANALYZE deliveries, pgmq.q_errklein")
        for ordered in (False, True):
            with self.other._database.transaction() as connection:
                self.other._writer.lease(connection, "Builds:build", 5, 60.0, ordered)
                connection.execute(self.other._reader.queries["next due"], {"webhook": "Builds:build"}).fetchall()
                read = "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_all_tables WHERE relname = 'q_errklein'"
                self.assertLess(connection.execute(read).fetchall()[0][0], 100)

    def test_ordered_webhook(self) -> None:
        """Of an ordered webhook, all processes together run one delivery at a time, in the order of their receipt."""
        ids = [self.record() for _ in range(3)]
        self.assertEqual(self.leased_ids(ordered=True), ids[:1])
        self.assertEqual(self.ids_for_other(ordered=True), [])
        self.assertIsNone(self.result_of(self.other.next_due("Builds:build", ordered=True)))
        self.result_of(self.journal.retry_at(ids[0], self.time + 10, ERROR))
        self.assertEqual(self.ids_for_other(ordered=True), [])
        self.assertEqual(self.result_of(self.other.next_due("Builds:build", ordered=True)), self.time + 10)
        self.time += 10
        self.assertEqual(self.ids_for_other(ordered=True), ids[:1])
        self.assertEqual(self.leased_ids(ordered=True), [])
        self.result_of(self.other.finish(ids[0], OK))
        self.assertEqual(self.leased_ids(ordered=True), ids[1:2])

    def test_order_of_receipt_by_several_processes(self) -> None:
        """An ordered webhook runs in the order of receipt, although each process has ids of its own."""
        journals = (self.journal, self.other, self.journal, self.other)
        ids = [journal.next_id() for journal in journals]
        for journal, number in zip(journals, ids, strict=True):
            self.assertIsNone(self.result_of(journal.record(self.delivery()._replace(id=number))))
        self.assertNotEqual(ids, sorted(ids))
        ran = []
        for number in ids:
            self.assertIsNotNone(self.result_of(self.journal.next_due("Builds:build", ordered=True)))
            ran += self.leased_ids(ordered=True)
            self.result_of(self.journal.finish(number, OK))
        self.assertEqual(ran, ids)

    def test_ordered_leases_at_the_same_time(self) -> None:
        """Processes that lease an ordered webhook at the same time never get two deliveries that overlap, or a later one first."""
        ids = [self.record() for _ in range(12)]
        ran: list[int] = []
        running = threading.Semaphore(1)

        def run(journal: Any) -> None:
            while len(ran) < len(ids):
                with journal._database.transaction() as connection:
                    leased = journal._writer.lease(connection, "Builds:build", 1, 60.0, True)
                for delivery in leased:
                    assert running.acquire(blocking=False), "two at the same time"
                    ran.append(delivery.id)
                    running.release()
                    self.successResultOf(journal.finish(delivery.id, OK))

        journals = [self.journal, self.other, self.open()]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(run, journals))
        self.assertEqual(ran, ids)

    def test_received_while_a_later_one_runs(self) -> None:
        """While one runs that was recorded at the same time as an earlier one, but before its end, the earlier one waits."""
        self.result_of(self.journal.finish(self.record(lease=60), OK))
        early, late = self.delivery(), self.delivery()
        with self.journal._database.transaction() as connection:  # type: ignore[attr-defined]
            self.journal._writer.record(connection, [(early, 0.0, 0.0)])  # type: ignore[attr-defined]
            # Wait for the statements before.
            connection.execute("SELECT 1").fetchone()
            self.assertIsNone(self.result_of(self.other.record(late)))
            self.assertEqual(self.ids_for_other(ordered=True), [late.id])
        self.assertEqual(self.leased_ids(ordered=True), [])
        self.assertIsNone(self.result_of(self.journal.next_due("Builds:build", ordered=True)))
        self.result_of(self.other.retry_at(late.id, self.time, ERROR))
        self.assertEqual(self.leased_ids(ordered=True), [early.id])
        self.result_of(self.journal.finish(early.id, OK))
        self.assertEqual(self.leased_ids(ordered=True), [late.id])

    def test_ordered_lease_while_another_process_leases(self) -> None:
        """While another process leases from an ordered webhook, nothing is leased, and what may be left is still due."""
        late = self.record()
        with self.other._database.transaction() as connection:
            leased = self.other._writer.lease(connection, "Builds:build", 1, 60.0, True)
            self.assertEqual([one.id for one in leased], [late])
            # As if another process had recorded it at the same time.
            self.record()
            connection.execute("UPDATE deliveries SET message = message + 10 WHERE id = ?", (late,))
            self.assertEqual(self.leased_ids(ordered=True), [])
            self.assertEqual(self.result_of(self.journal.next_due("Builds:build", ordered=True)), self.time + SOON)
        self.assertEqual(self.leased_ids(ordered=True), [])
        self.assertIsNone(self.result_of(self.journal.next_due("Builds:build", ordered=True)))

    def together(self, *batches: Sequence[Callable[[Any], Any]]) -> list[list[Any]]:
        """Make the two changes of each process in one transaction, the second ones when all processes have made their first one."""
        meeting, log = threading.Barrier(len(batches)), len(shared_server().log)

        def meet(_: Any) -> None:
            try:
                meeting.wait(5)
            except threading.BrokenBarrierError:
                # A transaction that was undone is repeated.
                pass

        def make(first: Callable[[Any], Any], second: Callable[[Any], Any]) -> list[Any]:
            threads = WaitingThreads()
            journal = new_journal(self.url, lambda: self.time, InlineReactor(), threads.runs)
            # What is submitted during this transaction is the next one.
            journal.check()
            done = [first(journal), journal._submit(each, meet), second(journal)]
            threads.turn()
            results = [self.successResultOf(one) for one in done]
            journal.close()
            threads.turn()
            return [results[0], results[2]]

        with ThreadPoolExecutor(len(batches)) as pool:
            results = list(pool.map(lambda batch: make(*batch), batches))
        self.assertNotIn("deadlock", shared_server().log[log:])
        return results

    def test_leases_and_keys_in_other_orders(self) -> None:
        """Processes don't block each other that record the same key and lease from the same ordered webhook, in any order."""
        first = self.record()
        ids = [self.delivery()._replace(id=self.journal.next_id(), key="k") for _ in range(2)]

        def record(delivery: StoredDelivery) -> Callable[[Any], Any]:
            return lambda journal: journal.record(delivery, window=60.0)

        def lease(journal: Any) -> Any:
            return journal.lease("Builds:build", 1, 60.0, True)

        (_, nothing), (leased, known) = self.together((record(ids[0]), lease), (lease, record(ids[1])))
        self.assertEqual((nothing, [one.id for one in leased], known.id), ((), [first], ids[0].id))

    def test_leases_from_two_webhooks_in_other_orders(self) -> None:
        """Processes don't block each other that lease from the same two ordered webhooks."""
        ids = [self.record(webhook=webhook) for webhook in ("A:a", "B:b") for _ in range(2)]

        def lease(webhook: str) -> Callable[[Any], Any]:
            return lambda journal: journal.lease(webhook, 1, 60.0, True)

        results = self.together((lease("A:a"), lease("B:b")), (lease("B:b"), lease("A:a")))
        leased = [[one.id for one in some] for process in results for some in process]
        self.assertEqual(leased, [ids[:1], [], ids[2:3], []])

    def test_queue_while_another_process_leases(self) -> None:
        """A queue looks again soon, but not at once, if another process was leasing from an ordered webhook, and has left it."""
        number, ran = self.record(), []

        def run(delivery: StoredDelivery) -> Deferred[Outcome]:
            ran.append(delivery.id)
            return Deferred()

        def advance(seconds: float) -> None:
            self.time += seconds
            self.reactor.advance(seconds)

        policy = RetryPolicy(ordered=True)
        queue = DeliveryQueue(self.reactor, self.journal, run, lambda _: policy, lambda *_: None, now=lambda: self.time)
        self.addCleanup(queue.close)
        with self.assertRaises(DatabaseError), self.other._database.transaction() as connection:
            self.other._writer.lease(connection, "Builds:build", 1, 60.0, True)
            queue.start()
            advance(SOON / 2)
            self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
            raise DatabaseError("it is undone")
        self.assertEqual(ran, [])
        advance(SOON)
        self.assertEqual(ran, [number])

    def test_retry_of_another_process(self) -> None:
        """Whoever looks when a retry is due runs it."""
        number = self.record(lease=30)
        self.result_of(self.journal.retry_at(number, self.time + 100, ERROR))
        self.assertEqual(self.result_of(self.other.next_due("Builds:build")), self.time + 100)
        self.time += 100
        self.assertEqual(self.ids_for_other(), [number])

    def test_replay_by_another_process(self) -> None:
        """What another process replays runs once."""
        done, retry = self.record(lease=30), self.record(lease=30)
        self.result_of(self.journal.finish(done, OK))
        self.result_of(self.journal.retry_at(retry, self.time + 100, ERROR))
        self.assertEqual(self.result_of(self.other.replay([done, retry])), [done, retry])
        self.assertEqual(self.result_of(self.other.replay([done, retry])), [])
        self.assertEqual(self.leased_ids(), [done, retry])
        self.assertEqual((self.ids_for_other(), self.messages()), ([], 2))

    def test_pause(self) -> None:
        """Other processes see which webhooks are paused."""
        self.result_of(self.journal.pause("Builds:build", True))
        self.assertEqual(self.result_of(self.other.paused()), ["Builds:build"])

    def test_clock_of_a_machine(self) -> None:
        """A lease ends by the clock of the server, also if that of a machine is wrong."""
        journal = new_journal(self.url, lambda: self.time)
        self.addCleanup(journal.close)
        journal._now = journal._writer._now = journal._reader._now = lambda: self.time - 5000.0  # type: ignore[method-assign]
        number = self.record()
        self.assertEqual([one.id for one in self.result_of(journal.lease("Builds:build", 1, 30.0))], [number])
        self.time += 29
        self.assertEqual(self.ids_for_other(), [])
        self.result_of(journal.retry_at(number, self.time - 5000 + 10, ERROR))
        self.assertEqual(self.result_of(journal.next_due("Builds:build")), self.time - 5000 + 10)
        self.time += 9
        self.assertEqual(self.ids_for_other(), [])
        self.time += 1
        self.assertEqual(self.ids_for_other(), [number])


class OwnerTests(SharedCase):
    def test_transactions_of_a_former_owner(self) -> None:
        """Once another process owns, what the former owner would change isn't changed."""
        number = self.record(lease=30)
        ((epoch,),) = self.rows("SELECT epoch FROM owner")
        self.journal._database.fence = epoch  # type: ignore[attr-defined]
        self.result_of(self.journal.extend([number], 60))
        self.other._database.write("UPDATE owner SET epoch = epoch + 1")
        for change in (self.journal.finish(number, OK), self.journal.record(self.delivery())):
            self.settle()
            self.assertIn("another process", str(self.failureResultOf(change, JournalError)))
        self.assertEqual(self.state(number), DeliveryState.RUNNING)

    def test_end_of_a_former_owner(self) -> None:
        """A former owner that stops stores its last numbers, and doesn't count as killed."""
        journal = self.open()
        ((epoch,),) = self.rows("SELECT epoch FROM owner")
        journal._database.fence = epoch
        self.other._database.write("UPDATE owner SET epoch = epoch + 1")
        journal.count("Builds:build")
        self.result_of(journal.close())
        self.assertEqual(self.rows("SELECT sum(counted) FROM totals"), [(1,)])
        self.assertEqual(self.rows("SELECT count(*) FROM runs WHERE ended IS NOT NULL"), [(1,)])


class MaintenanceTests(SharedCase):
    retention = Retention(max_bytes=10_000)

    def test_one_process_at_a_time(self) -> None:
        """While one process removes what is old, others don't. They know what waits of unverified webhooks."""
        self.result_of(self.journal.finish(number := self.record(lease=60), OK))
        self.record(verified=False)
        self.time += 8 * DAY
        with self.other._database.transaction() as connection:
            self.other._prune(connection)
            self.journal.maintain()  # type: ignore[attr-defined]
            self.assertIsNotNone(self.result_of(self.journal.get(number)))
        self.assertIsNone(self.result_of(self.journal.get(number)))
        self.assertGreater(self.journal._writer.waiting_bytes, 0)  # type: ignore[attr-defined]

    def test_balance(self) -> None:
        """Deliveries and messages of all processes are accounted for, and those that were removed by hand are named."""
        from errklein.postgres._journal import PostgresArchive

        journals = [self.journal, self.other, self.open()]
        for journal, number in zip(journals * 20, count()):
            delivery = self.delivery()._replace(id=journal.next_id(), key=str(number % 50))
            if self.result_of(journal.record(delivery, lease=60, window=1e5)) is None:
                journal.outbox.add(OutgoingMessage(0, "IRC", "#a", "hi", delivery=delivery.id, accepted_at=self.time))
                self.result_of(journal.finish(delivery.id, OK if number % 3 else ERROR))
            journal.count("Builds:build")
            journal.maintain()
            self.time += 60
        self.settle()
        with closing(clocked_database(self.url, lambda: self.time)) as database:
            archive = PostgresArchive(database)
            balances = archive.balances(0.0, 1e9)
            self.assertEqual([(one.difference, one.missing) for one in balances], [(0, []), (0, [])])
            self.assertEqual((balances[0].accepted, balances[1].accepted), (114, 54))
            parts = balances[0].parts
            self.assertEqual(
                (parts["only counted"], parts["done"] + parts["failed"] + parts["removed by size"]), (60, 54)
            )
            self.assertGreater(parts["removed by size"], 0)
            ids = [database.read(f"SELECT max(id) FROM {table}")[0][0] for table in ("deliveries", "outbox")]
            database.write("DELETE FROM deliveries WHERE id = ?", ids[:1])
            database.write("DELETE FROM outbox WHERE id = ?", ids[1:])
            found = [(one.difference, one.missing) for one in archive.balances(0.0, 1e9)]
            self.assertEqual(found, [(1, ids[:1]), (1, ids[1:])])

    def test_killed_processes(self) -> None:
        """Of processes that run, none counts as killed; one that has stopped doesn't either."""
        from errklein.postgres._journal import PostgresArchive

        columns = "session, name, version, roles, address, began_at, seen_at"
        database = self.other._database
        self.result_of(self.open().close())
        with closing(clocked_database(self.url, lambda: self.time)) as read:
            archive = PostgresArchive(read)
            self.assertEqual(len(archive.balances(0.0, 1e9)[0].kills), 2)
            database.write(f"INSERT INTO nodes ({columns}) VALUES (?, '', '', '', '', 0, 0)", (self.session,))
            self.assertEqual(list(archive.balances(0.0, 1e9)[0].kills), [1000.0])


class ArchiveTests(SharedCase):
    def test_archive(self) -> None:
        """The command line reads and changes the same deliveries and messages."""
        from errklein.postgres._journal import PostgresArchive

        self.result_of(self.journal.finish(number := self.record(lease=60), ERROR))
        message = self.journal.outbox.add(OutgoingMessage(0, "IRC", "#Ops", "hi", delivery=number, accepted_at=5.0))
        self.result_of(self.journal.outbox.flush())
        with closing(clocked_database(self.url, lambda: self.time)) as database:
            archive = PostgresArchive(database)
            self.assertEqual(archive.get(number), self.get(number))
            query = DeliveryQuery(states=[DeliveryState.FAILED])
            self.assertEqual([one.id for one in archive.find(query)], [number])
            self.assertEqual(archive.messages(recipient="#ops"), [waiting_record(message)._replace(key="")])
            self.assertEqual(archive.waiting_messages(), {"IRC": 1})
            archive.set_paused("New:hook", paused=True)
            archive.note("root", "replay", "1")
            self.assertEqual(archive.replay([number]), [number])
        self.assertEqual(self.result_of(self.journal.paused()), ["New:hook"])
        (action,) = self.result_of(self.journal.actions())
        self.assertEqual(action[1:5], Action(0.0, "root", "shell", "replay", "1")[1:5])
        self.assertEqual(self.leased_ids(), [number])

    def test_actions_are_kept(self) -> None:
        """Nobody changes or removes actions of the last 90 days."""
        self.journal.note(Action(4e9, "root", "shell", "replay", "1"))
        for statement in ("UPDATE actions SET who = 'x'", "DELETE FROM actions"):
            self.assertRaises(DatabaseError, self.other._database.write, statement)


class OutboxTests(SharedCase):
    def lease_messages(self, journal: Any) -> Sequence[OutgoingMessage]:
        """Return what the process that is connected to networks takes."""
        leased: Sequence[OutgoingMessage] = self.result_of(journal.outbox.lease())
        return leased

    def test_given_message(self) -> None:
        """A message that another process gives is taken once, by the process that leases next, which ends it."""
        own = self.journal.outbox.add(OutgoingMessage(0, "IRC", "#a", "own"))
        given = self.other.outbox.give(OutgoingMessage(0, "IRC", "#a", "given", key="k"))
        self.assertTrue(self.other.outbox.unwritten)
        self.result_of(self.other.outbox.flush())
        self.assertFalse(self.other.outbox.unwritten)
        self.result_of(self.journal.outbox.flush())
        self.assertEqual(self.lease_messages(self.journal), [given])
        self.assertEqual(self.lease_messages(self.journal), [])
        self.assertNotEqual(own.id, given.id)
        ref = MessageRef("IRC", "#a", "1")
        self.journal.outbox.end(waiting_record(given)._replace(state=MessageState.SENT, at=self.time), [ref])
        self.result_of(self.journal.outbox.flush())
        self.assertEqual(self.result_of(self.other.outbox.refs_of(Handle("IRC/k"))), [ref])
        self.assertEqual(self.rows("SELECT sum(accepted), sum(sent) FROM message_totals"), [(2, 1)])

    def test_given_message_of_a_delivery(self) -> None:
        """A message that a delivery gives is stored in the transaction of its end, and found with it."""
        number = self.record()
        self.assertEqual(self.ids_for_other(), [number])
        given = self.other.outbox.give(OutgoingMessage(0, "IRC", "#a", "hi", delivery=number))
        self.result_of(self.other.finish(number, OK))
        self.assertEqual(self.lease_messages(self.journal), [given])
        found = self.result_of(self.other.outbox.find(number))
        self.assertEqual(found, [waiting_record(given)])

    def test_messages_of_the_owner_before(self) -> None:
        """The next owner takes what the one before has left, also messages that the one before has leased."""
        first = self.other.outbox.give(OutgoingMessage(0, "IRC", "#a", "1"))
        self.result_of(self.other.outbox.flush())
        self.assertEqual(self.lease_messages(self.journal), [first])
        second = self.journal.outbox.add(OutgoingMessage(0, "IRC", "#a", "2"))
        self.result_of(self.journal.outbox.flush())
        self.assertEqual({one.body for one in self.lease_messages(self.other)}, {first.body, second.body})

    def lose_next_end(self, journal: Any) -> None:
        """Let the process not know that its next transaction has taken effect."""
        begin = journal._database.transaction

        @contextmanager
        def transaction() -> Iterator[Any]:
            journal._database.transaction = begin
            with begin() as connection:
                yield connection
            raise DatabaseError("the answer was lost")

        journal._database.transaction = transaction

    def test_lease_whose_end_was_lost(self) -> None:
        """Messages of a lease that has failed although it has taken effect are returned once by later ones, as others are."""
        given = [self.other.outbox.give(OutgoingMessage(0, network, "#a", "hi")) for network in ("IRC", "Slack")]
        self.result_of(self.other.outbox.flush())
        self.lose_next_end(self.journal)
        self.failureResultOf(self.journal.outbox.lease(), JournalError)
        # Another transaction, and a network that is full.
        self.result_of(self.journal.check())
        self.assertEqual(self.result_of(self.journal.outbox.lease(["IRC"])), given[1:])
        self.assertEqual(self.lease_messages(self.journal), given[:1])
        self.assertEqual(self.lease_messages(self.journal), [])

    def test_lease_with_others_whose_end_was_lost(self) -> None:
        """A lease that is repeated, since the end of its transaction with others was lost, returns the messages."""
        given = self.other.outbox.give(OutgoingMessage(0, "IRC", "#a", "hi"))
        self.result_of(self.other.outbox.flush())
        threads = WaitingThreads()
        journal = new_journal(self.url, lambda: self.time, InlineReactor(), threads.runs)
        own = journal.outbox.add(OutgoingMessage(0, "IRC", "#a", "own"))
        journal.outbox.flush()
        leased = [journal.outbox.lease(), journal.outbox.lease()]
        # The first transaction writes the message, and the next one has both leases.
        ((write, done),) = threads._waiting
        threads._waiting.clear()
        done.callback(write())
        self.lose_next_end(journal)
        threads.turn()
        self.assertEqual([self.successResultOf(one) for one in leased], [[given], []])
        self.assertEqual(self.rows("SELECT count(*) FROM outbox"), [(2,)])
        self.assertNotEqual(own.id, given.id)
        journal.close()
        threads.turn()

    def test_write_whose_end_was_lost(self) -> None:
        """A transaction that has taken effect, although its process doesn't know that, is repeated, and counts once."""
        message = self.journal.outbox.add(OutgoingMessage(0, "IRC", "#a", "1", accepted_at=5.0))
        for _ in range(2):
            with self.journal._database.transaction() as connection:  # type: ignore[attr-defined]
                self.journal.outbox.write(connection, lambda message: True)  # type: ignore[attr-defined]
            self.journal.outbox.undone()  # type: ignore[attr-defined]
        self.result_of(self.journal.outbox.flush())
        self.assertEqual(self.rows("SELECT sum(accepted) FROM message_totals"), [(1,)])
        self.assertEqual(self.lease_messages(self.other), [message])


class RestartTests(SynchronousTestCase):
    """The server is restarted meanwhile."""

    def test_absent_server(self) -> None:
        """Changes fail while the server is absent. Afterwards the queue runs what waits at once, without a restart of the process."""
        from errklein.postgres import _database, _journal
        from errklein.postgres._tables import create_tables

        server = PostgresServer()
        self.addCleanup(server.remove)
        create_tables(server.url())
        self.patch(_database, "PAUSE", 0.0)
        reactor, ran = InlineReactor(), []
        reactor.advance(1e9)
        database = _database.PostgresDatabase(server.url(), f"{session_name()} journal")
        journal = _journal.PostgresJournal(database, reactor, reactor.seconds, runs=_journal_runs())

        def run(delivery: StoredDelivery) -> Deferred[Outcome]:
            ran.append(delivery.id)
            return Deferred()

        queue = DeliveryQueue(reactor, journal, run, lambda _: RetryPolicy(), lambda *_: None, now=reactor.seconds)
        queue.start()
        reactor.advance(1)

        def delivery() -> StoredDelivery:
            return StoredDelivery(journal.next_id(), "A:a", DeliveryState.RECEIVED, 1e9, "r", ack="now")

        self.successResultOf(queue.accept(first := delivery()))
        reactor.advance(0)
        server.stop()
        self.failureResultOf(queue.accept(delivery()), JournalError)
        self.failureResultOf(journal.depth(), JournalError)
        for _ in range(20):
            # It waits longer each time, at last a minute.
            queue.changed()
            reactor.advance(60)
            journal.maintain()
        server.start()
        self.successResultOf(journal.record(waits := delivery()))
        reactor.advance(0)
        self.assertEqual(ran, [first.id, waits.id])
        queue.close()
        self.successResultOf(journal.close())
        self.flushLoggedErrors()


def _journal_runs() -> Any:
    from errklein.journal import INLINE

    return INLINE
