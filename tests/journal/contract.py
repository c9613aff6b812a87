"""`JournalContract`: the tests that every journal must pass, as a mixin for a `SynchronousTestCase`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred

from errklein.ports.journal import Journal
from errklein.webhooks.deliveries import (
    Attempt,
    DeliveryQuery,
    DeliveryState,
    FailureGroup,
    Outcome,
    StoredDelivery,
    StoredRequest,
    Total,
)

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _TestCase
else:
    _TestCase = object

REQUEST = StoredRequest(
    "POST",
    "/build?number=7&token=T0k3n",
    [(b"content-type", b"application/json"), (b"x-hub-signature-256", b"sha256=5ecre7"), (b"x-event-key", b"push")],
    b'{"status": "ok"}',
    client="192.0.2.7",
    secure=True,
    server=("192.0.2.1", 443),
    base_path="/hooks",
)

LOGGED = REQUEST._replace(target="/build?number=7&token=***", headers=[REQUEST.headers[0], REQUEST.headers[2]])
"""REQUEST without its secrets."""

OK = Outcome(200, seconds=0.25)
ERROR = Outcome(500, "ValueError: no", 0.5)


class JournalCase(_TestCase):
    """A test case with a journal, and shortcuts for its methods, which return results instead of Deferreds."""

    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a new, empty journal with this clock, which the tests close."""
        raise NotImplementedError

    def settle(self) -> None:
        """Let what was called have its effect."""

    def setUp(self) -> None:
        """Create a journal."""
        self.time = 1000.0
        self.journal = self.make_journal(lambda: self.time)
        self.addCleanup(lambda: self.result_of(self.journal.close()))

    def result_of(self, deferred: Deferred[Any]) -> Any:
        """Return the result of a Deferred."""
        self.settle()
        return self.successResultOf(deferred)

    def delivery(self, webhook: str = "Builds:build", ack: str = "now", **fields: Any) -> StoredDelivery:
        """Return a new delivery with REQUEST."""
        fields = {"request": REQUEST, "received_at": self.time, "request_id": "r1", **fields}
        return StoredDelivery(self.journal.next_id(), webhook, DeliveryState.RECEIVED, ack=ack, **fields)

    def record(self, lease: float = 0.0, window: float = 0.0, **fields: Any) -> int:
        """Record a new delivery, and return its id."""
        delivery = self.delivery(**fields)
        self.assertIsNone(self.result_of(self.journal.record(delivery, lease=lease, window=window)))
        return delivery.id

    def log(self, state: DeliveryState, outcome: Outcome = ERROR, ack: str = "after", **fields: Any) -> int:
        """Log a finished delivery, and return its id."""
        delivery = self.delivery(ack=ack, attempt=1, **fields)._replace(state=state, outcome=outcome)
        self.journal.log(delivery)
        self.settle()
        return delivery.id

    def lease(self, count: int = 10, seconds: float = 60.0, **options: Any) -> Sequence[StoredDelivery]:
        """Lease deliveries of the usual webhook."""
        leased: Sequence[StoredDelivery] = self.result_of(self.journal.lease("Builds:build", count, seconds, **options))
        return leased

    def leased_ids(self, **options: Any) -> list[int]:
        """Lease deliveries, and return their ids."""
        return [delivery.id for delivery in self.lease(**options)]

    def get(self, number: int) -> StoredDelivery:
        """Return a delivery that exists."""
        delivery = self.result_of(self.journal.get(number))
        self.assertIsInstance(delivery, StoredDelivery)
        assert isinstance(delivery, StoredDelivery)
        return delivery

    def state(self, number: int) -> DeliveryState:
        """Return the state of a delivery."""
        return self.get(number).state

    def find(self, **fields: Any) -> list[int]:
        """Return the ids of a page."""
        return [delivery.id for delivery in self.result_of(self.journal.find(DeliveryQuery(**fields)))]


class JournalContract(JournalCase):
    """Tests of the guarantees of `errklein.ports.journal.Journal`.

    The test case implements `make_journal`, and `settle` if the Deferreds or the log need it::

        class MyJournalTests(JournalContract, SynchronousTestCase):
            def make_journal(self, now):
                return MyJournal(self.mktemp(), now)
    """

    def test_ids_increase(self) -> None:
        """Each id is higher than the one before."""
        ids = [self.journal.next_id() for _ in range(5)]
        self.assertEqual(ids, sorted(set(ids)))
        self.assertGreater(ids[0], 0)

    def test_recorded_delivery_waits_for_its_first_attempt(self) -> None:
        """A recorded delivery is RECEIVED. `lease` returns it with its complete request, and it is RUNNING."""
        number = self.record()
        stored = self.get(number)
        self.assertEqual((stored.state, stored.attempt, stored.outcome), (DeliveryState.RECEIVED, 0, None))
        (leased,) = self.lease()
        self.assertEqual(
            leased,
            StoredDelivery(
                number, "Builds:build", DeliveryState.RUNNING, 1000.0, "r1", "now", 1, due_at=1060.0, request=REQUEST
            ),
        )
        self.assertEqual(self.state(number), DeliveryState.RUNNING)

    def test_recorded_with_lease(self) -> None:
        """A delivery that is leased when it is recorded is RUNNING with attempt 1, and isn't leased again."""
        stored = self.get(self.record(lease=30))
        self.assertEqual((stored.state, stored.attempt, stored.due_at), (DeliveryState.RUNNING, 1, 1030.0))
        self.assertEqual(self.leased_ids(), [])

    def test_get_has_no_secrets(self) -> None:
        """`get` returns the request without secrets, also of a delivery that is stored whole."""
        self.assertEqual(self.get(self.record()).request, LOGGED)

    def test_secret_headers_of_the_verification(self) -> None:
        """A header that the request declares as secret is left out."""
        request = REQUEST._replace(headers=[(b"x-check", b"5ecre7")], secret_headers=frozenset({b"x-check"}))
        number = self.record(request=request)
        stored = self.get(number).request
        assert stored is not None
        self.assertEqual(stored.headers, [])
        self.assertEqual(self.lease()[0].request, request._replace(secret_headers=frozenset()))

    def test_request_with_any_bytes(self) -> None:
        """Bodies and headers keep their bytes; an empty body is a body; texts keep lone surrogates."""
        request = REQUEST._replace(target="/\udc80ä", headers=[(b"a", b"\xff\0"), (b"b", b""), (b"a", b" ")], body=b"")
        self.record(request=request, webhook="Builds:build")
        self.assertEqual(self.lease()[0].request, request)
        self.record(request=request._replace(headers=[], body=b"\0\xff" * 9))
        self.assertEqual(self.lease()[0].request, request._replace(headers=[], body=b"\0\xff" * 9))

    def test_unknown_delivery(self) -> None:
        """An unknown id has no delivery, and changes of it have no effect."""
        self.assertIsNone(self.result_of(self.journal.get(99)))
        for change in (self.journal.finish(99, OK), self.journal.bury(99, OK), self.journal.retry_at(99, 1.0, OK)):
            self.assertIsNone(self.result_of(change))
        self.assertIsNone(self.result_of(self.journal.get(99)))

    def test_lease_in_order_of_age(self) -> None:
        """`lease` returns the oldest deliveries of the webhook, at most `count`."""
        ids = [self.record() for _ in range(3)]
        self.record(webhook="Builds:other")
        self.assertEqual(self.leased_ids(count=2), ids[:2])
        self.assertEqual(self.leased_ids(count=2), ids[2:])
        self.assertEqual(self.leased_ids(count=2), [])

    def test_end_of_a_lease(self) -> None:
        """A RUNNING delivery is due again when its lease has ended, which `extend` delays; the attempt counts."""
        number = self.record(lease=30)
        self.time += 29
        self.assertIsNone(self.result_of(self.journal.extend([number, 99], 30)))
        self.time += 29
        self.assertEqual(self.leased_ids(), [])
        self.time += 1
        self.assertEqual([(leased.id, leased.attempt) for leased in self.lease()], [(number, 2)])

    def test_extend_only_extends_leases(self) -> None:
        """`extend` has no effect on a delivery that isn't running."""
        number = self.record(lease=30)
        self.result_of(self.journal.retry_at(number, 1010.0, ERROR))
        self.result_of(self.journal.extend([number], 100))
        self.assertEqual(self.get(number).due_at, 1010.0)

    def test_runs_of_ack_after_have_no_second_attempt(self) -> None:
        """A RUNNING delivery with `ack="after"` isn't leased, even when its lease has ended."""
        self.record(ack="after", lease=30)
        self.time += 31
        self.assertEqual(self.leased_ids(), [])

    def test_retry(self) -> None:
        """After `retry_at`, the delivery is RETRY with the outcome. At that time it is due, and the outcome is an attempt."""
        number = self.record(lease=30)
        self.time += 5
        self.assertIsNone(self.result_of(self.journal.retry_at(number, 1020.5, ERROR)))
        stored = self.get(number)
        self.assertEqual(
            (stored.state, stored.due_at, stored.attempt, stored.outcome), (DeliveryState.RETRY, 1020.5, 1, ERROR)
        )
        self.assertEqual(stored.attempts, [])
        self.assertEqual(self.leased_ids(), [])
        self.time = 1020.5
        self.assertEqual([(leased.id, leased.attempt) for leased in self.lease()], [(number, 2)])
        self.assertEqual(self.get(number).attempts, [Attempt(1, 1000.0, ERROR)])
        self.result_of(self.journal.retry_at(number, 1030.0, Outcome(502)))
        self.time = 1030.0
        self.lease()
        self.assertEqual(self.get(number).attempts, [Attempt(1, 1000.0, ERROR), Attempt(2, 1020.5, Outcome(502))])

    def test_attempt_that_was_not_begun(self) -> None:
        """`retry_at` without an outcome doesn't count the attempt, and keeps the outcome of the one before."""
        number = self.record(lease=30)
        for _ in range(3):
            self.result_of(self.journal.retry_at(number, 1000.0, ERROR))
            self.lease()
        self.result_of(self.journal.retry_at(number, 1001.0, None))
        stored = self.get(number)
        self.assertEqual(
            (stored.state, stored.attempt, stored.due_at, stored.outcome), (DeliveryState.RETRY, 3, 1001.0, ERROR)
        )
        self.time += 1
        self.assertEqual([leased.attempt for leased in self.lease()], [4])

    def test_finish(self) -> None:
        """A finished delivery is DONE if its status is below 400, else FAILED, and isn't leased."""
        ids = [self.record(lease=1) for _ in range(3)]
        for number, outcome in zip(ids, (OK, Outcome(399), ERROR), strict=True):
            self.assertIsNone(self.result_of(self.journal.finish(number, outcome)))
        stored = [self.get(number) for number in ids]
        self.assertEqual(
            [(one.state, one.outcome, one.due_at) for one in stored],
            [
                (DeliveryState.DONE, OK, 0.0),
                (DeliveryState.DONE, Outcome(399), 0.0),
                (DeliveryState.FAILED, ERROR, 0.0),
            ],
        )
        self.time += 100
        self.assertEqual(self.leased_ids(), [])

    def test_finished_request_has_no_secrets(self) -> None:
        """A replay of a finished delivery has the body, and no secrets."""
        number = self.record(lease=1)
        self.result_of(self.journal.finish(number, ERROR))
        self.result_of(self.journal.replay([number]))
        self.assertEqual(self.lease()[0].request, LOGGED)

    def test_bury(self) -> None:
        """A buried delivery is DEAD, isn't leased, and keeps its complete request."""
        number = self.record(lease=1)
        self.assertIsNone(self.result_of(self.journal.bury(number, ERROR)))
        stored = self.get(number)
        self.assertEqual((stored.state, stored.outcome), (DeliveryState.DEAD, ERROR))
        self.time += 100
        self.assertEqual(self.leased_ids(), [])
        self.result_of(self.journal.replay([number]))
        self.assertEqual(self.lease()[0].request, REQUEST)

    def test_large_bodies(self) -> None:
        """A body over 1 MB is kept until the delivery is done, and not longer; a dead one keeps it. One lease has 16 MB at most."""
        request = REQUEST._replace(body=b"x" * 9_000_000)
        done, dead = (self.record(lease=1, request=request) for _ in range(2))
        self.result_of(self.journal.finish(done, ERROR))
        self.result_of(self.journal.bury(dead, ERROR))
        self.assertEqual(self.get(done).request, LOGGED._replace(body=None))
        self.assertEqual(self.result_of(self.journal.replay([done, dead])), [dead])
        self.record(request=request)
        self.assertEqual([leased.request for leased in self.lease()], [request])

    def test_replay(self) -> None:
        """A replayed delivery is RECEIVED and due, with the origin "replay"; its next attempt follows the last one."""
        number = self.record(lease=1)
        self.result_of(self.journal.finish(number, ERROR))
        self.assertEqual(self.result_of(self.journal.replay([number])), [number])
        self.assertEqual(self.result_of(self.journal.next_due("Builds:build")), 0.0)
        stored = self.get(number)
        self.assertEqual(
            (stored.state, stored.origin, stored.attempt, stored.due_at), (DeliveryState.RECEIVED, "replay", 1, 0.0)
        )
        self.assertEqual([(one.id, one.attempt, one.origin) for one in self.lease()], [(number, 2, "replay")])
        self.result_of(self.journal.finish(number, OK))
        stored = self.get(number)
        self.assertEqual((stored.state, stored.outcome), (DeliveryState.DONE, OK))
        self.assertEqual(stored.attempts, [Attempt(1, 1000.0, ERROR)])

    def test_only_complete_finished_deliveries_are_replayed(self) -> None:
        """Unknown, waiting and running deliveries, and those without a request, aren't replayed."""
        done, waiting, running = self.record(lease=1), self.record(), self.record(lease=1)
        self.result_of(self.journal.finish(done, OK))
        logged = [
            self.log(DeliveryState.FAILED),
            self.log(DeliveryState.REFUSED),
            self.log(DeliveryState.FAILED, request=REQUEST._replace(body=None)),
        ]
        replayed = self.result_of(self.journal.replay([99, waiting, *logged, running, done]))
        self.assertEqual(sorted(replayed), [done, logged[0]])

    def test_forget(self) -> None:
        """`forget` removes requests and reasons of deliveries that have ended, which can't be replayed then. The rest stays."""
        self.result_of(self.journal.bury(dead := self.record(lease=1), ERROR))
        ids, waiting = [dead, self.log(DeliveryState.REFUSED)], self.record()
        before = [self.get(number) for number in ids]
        self.assertEqual(sorted(self.result_of(self.journal.forget([99, waiting, *ids]))), ids)
        after = [delivery.without_reasons()._replace(request=None) for delivery in before]
        self.assertEqual([self.get(number) for number in ids], after)
        self.assertEqual(self.result_of(self.journal.replay(ids)), [])
        self.assertEqual(self.get(waiting).request, LOGGED)

    def test_replay_of_a_retry(self) -> None:
        """A delivery that waits for a retry is due at once when it is replayed."""
        self.result_of(self.journal.retry_at(number := self.record(lease=60), self.time + 3600, ERROR))
        self.result_of(self.journal.replay([number]))
        self.assertEqual([(leased.id, leased.attempt) for leased in self.lease()], [(number, 2)])

    def test_replay_at_a_rate(self) -> None:
        """With `spacing`, each delivery is due so long after the one before, in the order of their ids; a second replay is due at once."""
        numbers = [self.log(DeliveryState.FAILED) for _ in range(3)]
        self.assertEqual(sorted(self.result_of(self.journal.replay(numbers[::-1], spacing=20.0))), numbers)
        self.assertEqual(self.leased_ids(), numbers[:1])
        self.assertEqual(self.result_of(self.journal.next_due("Builds:build")), 1020.0)
        stored = self.get(numbers[2])
        self.assertEqual((stored.state, stored.due_at), (DeliveryState.RECEIVED, 1040.0))
        self.time += 20
        self.assertEqual(self.leased_ids(), numbers[1:2])
        self.assertEqual(self.result_of(self.journal.replay(numbers)), numbers[2:])
        self.assertEqual(self.leased_ids(), numbers[2:])

    def test_replay_of_ack_after_runs_once(self) -> None:
        """A replayed delivery with `ack="after"` is leased, its lease doesn't end, and the attempt of the request is kept."""
        number = self.log(DeliveryState.FAILED)
        self.result_of(self.journal.replay([number]))
        self.assertEqual(self.leased_ids(seconds=30), [number])
        self.assertEqual(self.get(number).attempts, [Attempt(1, 1000.0, ERROR)])
        self.time += 31
        self.assertEqual(self.leased_ids(), [])

    def test_repeated_key_is_a_duplicate(self) -> None:
        """`record` returns the earlier delivery with the key; the new one is a DUPLICATE without a request."""
        first = self.record(lease=1, key="k", window=60)
        self.result_of(self.journal.finish(first, Outcome(201)))
        again = self.delivery(key="k")
        earlier = self.result_of(self.journal.record(again, lease=1, window=60))
        self.assertEqual((earlier.id, earlier.state, earlier.outcome), (first, DeliveryState.DONE, Outcome(201)))
        stored = self.get(again.id)
        self.assertEqual((stored.state, stored.request, stored.key), (DeliveryState.DUPLICATE, None, "k"))
        self.assertEqual(self.result_of(self.journal.depth())[:4], (0, 0, 0, 0.0))

    def test_duplicates_at_once(self) -> None:
        """Of several records with one key that don't wait for each other, one is stored."""
        deliveries = [self.delivery(key="k") for _ in range(5)]
        results = [self.journal.record(delivery, window=60) for delivery in deliveries]
        earlier = [self.result_of(result) for result in results]
        self.assertIsNone(earlier[0])
        self.assertEqual([(one.id, one.state) for one in earlier[1:]], [(deliveries[0].id, DeliveryState.RECEIVED)] * 4)
        self.assertEqual(self.leased_ids(), [deliveries[0].id])

    def test_keys_belong_to_routes(self) -> None:
        """Deliveries of different webhooks, or with different keys, aren't duplicates, nor those without a key."""
        self.record(key="k", window=60)
        self.record(key="k", window=60, webhook="Builds:other")
        self.record(key="K", window=60)
        self.record(key="x" * 300, window=60)
        self.record(key="x" * 301, window=60)
        self.record(key="", window=60)
        self.record(key="", window=60)

    def test_end_of_the_window(self) -> None:
        """A key is forgotten at the end of its window."""
        self.record(key="k", window=60)
        self.time += 59
        self.assertIsNotNone(self.result_of(self.journal.record(self.delivery(key="k"), window=60)))
        self.time += 1
        self.record(key="k", window=60)
        self.time += 59
        self.assertIsNotNone(self.result_of(self.journal.record(self.delivery(key="k"), window=60)))

    def test_without_a_window(self) -> None:
        """Without a window, no key is remembered or compared, also within a transaction."""
        self.record(key="k", window=60)
        results = [self.journal.record(self.delivery(key="k")) for _ in range(2)]
        self.assertEqual([self.result_of(result) for result in results], [None, None])

    def test_given_up_deliveries_have_no_duplicates(self) -> None:
        """After a DEAD or FAILED delivery, its key may be recorded again, and the key is the new delivery's."""
        dead, failed = self.record(lease=1, key="d", window=60), self.record(lease=1, key="f", window=60)
        self.result_of(self.journal.bury(dead, ERROR))
        self.result_of(self.journal.finish(failed, ERROR))
        for key in ("d", "f"):
            number = self.record(key=key, window=60)
            earlier = self.result_of(self.journal.record(self.delivery(key=key), window=60))
            self.assertEqual(earlier.id, number)

    def test_superseded(self) -> None:
        """A DEAD, FAILED or REFUSED delivery is superseded by a later one with its key, and replayed only by force."""
        dead, failed = self.record(lease=1, key="d"), self.log(DeliveryState.FAILED, key="f")
        self.result_of(self.journal.bury(dead, ERROR))
        self.record(key="d", webhook="Builds:other")
        refused = self.log(DeliveryState.REFUSED, key="f")
        self.assertEqual([self.get(number).superseded_by for number in (dead, failed)], [0, 0])
        again = [self.record(key="d"), self.log(DeliveryState.DONE, OK, key="f")]
        self.assertEqual([self.get(number).superseded_by for number in (dead, failed)], again)
        self.assertEqual(self.get(refused).superseded_by, again[1])
        self.assertEqual(self.result_of(self.journal.replay([dead, failed, again[1]])), [again[1]])
        self.assertEqual(sorted(self.result_of(self.journal.replay([dead, failed], force=True))), [dead, failed])

    def test_superseded_by_the_next(self) -> None:
        """Of several given-up deliveries with a key, only the last one can be replayed. A duplicate supersedes none."""
        first, second = self.log(DeliveryState.FAILED, key="k"), self.log(DeliveryState.FAILED, key="k")
        self.assertEqual(self.result_of(self.journal.replay([first, second])), [second])
        third = self.record(key="k", lease=1, window=60)
        self.assertIsNotNone(self.result_of(self.journal.record(self.delivery(key="k"), window=60)))
        self.assertEqual([self.get(number).superseded_by for number in (first, third)], [second, 0])

    def test_ordered_lease(self) -> None:
        """An ordered lease returns only the oldest unfinished delivery of the webhook, and nothing before that is due."""
        first, second = self.record(lease=30), self.record()
        self.assertEqual(self.leased_ids(ordered=True), [])
        self.assertIsNone(self.result_of(self.journal.next_due("Builds:build", ordered=True)))
        self.result_of(self.journal.retry_at(first, 1010.0, ERROR))
        self.assertEqual(self.result_of(self.journal.next_due("Builds:build", ordered=True)), 1010.0)
        self.assertEqual(self.leased_ids(ordered=True), [])
        self.time = 1010.0 - 86400.0  # The clock is set back by a day.
        self.assertEqual(self.leased_ids(ordered=True), [first])
        self.result_of(self.journal.finish(first, OK))
        self.assertEqual(self.leased_ids(ordered=True), [second])

    def test_busy_deliveries_are_not_leased(self) -> None:
        """`lease` leaves out the deliveries that the caller is busy with, although they are due. Ordered, it returns no later one."""
        first, second, third = (self.record() for _ in range(3))
        self.assertEqual(self.leased_ids(count=1, ordered=True, busy=[first]), [])
        self.assertEqual(self.leased_ids(count=1, busy=[first]), [second])
        self.time += 61
        self.assertEqual(self.leased_ids(busy=[second]), [first, third])

    def test_next_due(self) -> None:
        """`next_due` is the earliest time at which a delivery of the webhook is due, without those that run."""
        self.assertIsNone(self.result_of(self.journal.next_due("Builds:build")))
        first, second, _ = self.record(lease=5), self.record(lease=5), self.record(lease=5)
        self.record(webhook="Builds:other")
        self.assertIsNone(self.result_of(self.journal.next_due("Builds:build")))
        self.result_of(self.journal.retry_at(first, 1500.0, ERROR))
        self.result_of(self.journal.retry_at(second, 1400.0, ERROR))
        self.assertEqual(self.result_of(self.journal.next_due("Builds:build")), 1400.0)
        self.record()
        self.assertLessEqual(self.result_of(self.journal.next_due("Builds:build")), self.time)

    def test_waiting_routes_and_depth(self) -> None:
        """`waiting` returns the webhooks with unfinished deliveries, `depth` numbers and the oldest times. `check` changes nothing."""
        self.assertEqual(self.result_of(self.journal.waiting()), [])
        first = self.record(lease=5)
        self.time += 10
        self.record(webhook="A:b")
        self.result_of(self.journal.retry_at(self.record(lease=5), 2000.0, ERROR))
        self.assertEqual(sorted(self.result_of(self.journal.waiting())), ["A:b", "Builds:build"])
        self.result_of(self.journal.check())
        self.assertEqual(self.result_of(self.journal.depth())[:4], (2, 1, 0, 1000.0))
        self.result_of(self.journal.bury(first, ERROR))
        depth = self.result_of(self.journal.depth())
        self.assertEqual((depth[:4], depth.oldest_kept_at), ((2, 0, 1, 1010.0), 1000.0))
        self.assertEqual(dict(depth.dead_of), {"Builds:build": 1})

    def test_waiting_since(self) -> None:
        """With a time, `waiting` leaves out what was received later, isn't due yet, or runs with a lease that has not ended."""
        self.record(webhook="A:received")
        self.result_of(self.journal.retry_at(self.record(webhook="A:later", lease=5), 1050.0, ERROR))
        running = self.record(webhook="A:runs", lease=20)
        self.time += 10
        self.record(webhook="A:new")
        self.assertEqual(self.result_of(self.journal.waiting(1000.0)), ["A:received"])
        self.result_of(self.journal.extend([running], 60))
        self.time += 50
        self.assertEqual(self.result_of(self.journal.waiting(1050.0)), ["A:later", "A:new", "A:received"])
        self.assertEqual(self.result_of(self.journal.waiting(1070.0)), ["A:later", "A:new", "A:received", "A:runs"])

    def test_paused_routes(self) -> None:
        """`paused` returns the webhooks that `pause` has paused, and which weren't resumed. `lease` ignores it."""
        for webhook, paused in (("A:a", True), ("Builds:build", True), ("A:a", True), ("A:a", False), ("A:b", False)):
            self.assertIsNone(self.result_of(self.journal.pause(webhook, paused)))
        self.assertEqual(self.result_of(self.journal.paused()), ["Builds:build"])
        number = self.record()
        self.assertEqual(self.leased_ids(), [number])

    def test_once(self) -> None:
        """`once` is true for the first call with a delivery and key, also across attempts."""
        first, second = self.record(lease=5), self.record(lease=5)
        calls = ((first, "mail"), (first, "mail"), (first, "chat"), (second, "mail"))
        self.assertEqual([self.result_of(self.journal.once(*call)) for call in calls], [True, False, True, True])
        self.result_of(self.journal.retry_at(first, 0.0, ERROR))
        self.lease()
        self.assertFalse(self.result_of(self.journal.once(first, "mail")))

    def test_log(self) -> None:
        """A logged delivery is stored without its secrets."""
        number = self.log(DeliveryState.FAILED)
        self.assertEqual(
            self.get(number),
            StoredDelivery(
                number,
                "Builds:build",
                DeliveryState.FAILED,
                1000.0,
                "r1",
                "after",
                1,
                outcome=ERROR,
                request=LOGGED,
                attempts=[],
                began_at=1000.0,
            ),
        )
        self.assertEqual(self.leased_ids(), [])

    def test_refused_requests_have_no_body(self) -> None:
        """A REFUSED request is stored with its reason, and without its body and secrets."""
        number = self.log(DeliveryState.REFUSED, Outcome(401, "wrong signature"), ack="now")
        stored = self.get(number)
        self.assertEqual((stored.state, stored.outcome), (DeliveryState.REFUSED, Outcome(401, "wrong signature")))
        self.assertEqual(stored.request, LOGGED._replace(body=None))

    def test_bounded_texts(self) -> None:
        """Reasons, keys and logged targets and headers of any length are stored shortened."""
        request = REQUEST._replace(target="/" + "ab" * 50_000, headers=[(b"a", b"ab" * 2500)] * 1000)
        number = self.log(DeliveryState.FAILED, Outcome(500, "ab" * 50_000), request=request, key="ab" * 50_000)
        stored = self.get(number)
        assert stored.request is not None
        assert stored.outcome is not None
        self.assertEqual(stored.outcome.reason, "ab" * 250)
        self.assertLessEqual(len(stored.key), 100)
        self.assertEqual((len(stored.request.target), len(stored.request.headers)), (4000, 200))
        self.assertEqual({len(value) for _, value in stored.request.headers}, {4000})
        other = self.record(lease=5)
        self.result_of(self.journal.finish(other, Outcome(500, "ab" * 50_000)))
        self.assertEqual(self.get(other).outcome, Outcome(500, "ab" * 250))

    def test_find_newest_first(self) -> None:
        """A page has the newest deliveries without their requests; `before` continues it."""
        ids = [self.record(), self.log(DeliveryState.DONE, OK), self.record(lease=5), self.log(DeliveryState.REFUSED)]
        self.assertEqual(self.find(), ids[::-1])
        self.assertEqual(self.find(limit=3), ids[:0:-1])
        self.assertEqual(self.find(before=ids[2]), ids[1::-1])
        self.assertEqual(self.find(before=ids[0]), [])
        self.assertEqual(self.find(ids=[ids[3], 99, ids[1]]), [ids[3], ids[1]])
        self.assertEqual(self.find(ids=[]), [])
        for delivery in self.result_of(self.journal.find(DeliveryQuery())):
            self.assertEqual(delivery, self.get(delivery.id)._replace(request=None, attempts=(), began_at=0.0))

    def test_find_by_route(self) -> None:
        """A page of a webhook, or of all webhooks of a plugin."""
        first = self.record(webhook="Builds:build")
        second = self.record(webhook="Builds:other")
        third = self.record(webhook="BuildsMore:build")
        self.log(DeliveryState.DONE, webhook="Bui")
        done = self.log(DeliveryState.DONE, webhook="Builds:other")
        self.assertEqual(self.find(webhook="Builds"), [done, second, first])
        for name, found in (("build", [first]), ("other", [done, second])):
            self.assertEqual(self.find(webhook=f"Builds:{name}"), found)
        self.assertEqual(self.find(webhook="BuildsMore"), [third])
        self.assertEqual(self.find(webhook="Builds", limit=2), [done, second])
        self.assertEqual(self.find(webhook="Builds", before=done), [second, first])
        self.assertEqual(self.find(webhook="None"), [])
        self.assertEqual(self.find(webhook="Builds%"), [])

    def test_find_by_state(self) -> None:
        """A page of states, combined with webhooks."""
        received, running = self.record(), self.record(lease=5)
        retry, dead, done = self.record(lease=5), self.record(lease=5), self.record(lease=5, webhook="A:a")
        self.result_of(self.journal.retry_at(retry, 2000.0, ERROR))
        self.result_of(self.journal.bury(dead, ERROR))
        self.result_of(self.journal.finish(done, OK))
        states = {
            DeliveryState.RECEIVED: received,
            DeliveryState.RUNNING: running,
            DeliveryState.RETRY: retry,
            DeliveryState.DEAD: dead,
            DeliveryState.DONE: done,
            DeliveryState.FAILED: self.log(DeliveryState.FAILED),
            DeliveryState.REFUSED: self.log(DeliveryState.REFUSED),
        }
        for state, number in states.items():
            self.assertEqual(self.find(states=[state]), [number])
        self.assertEqual(self.find(states=list(states)), sorted(states.values(), reverse=True))
        self.assertEqual(self.find(states=[DeliveryState.DEAD, DeliveryState.RECEIVED]), [dead, received])
        self.assertEqual(self.find(states=[DeliveryState.DONE, DeliveryState.DEAD], webhook="Builds"), [dead])
        self.assertEqual(self.find(states=[DeliveryState.DUPLICATE]), [])
        self.assertEqual(self.find(states=[]), [])

    def test_find_by_key_status_and_reason(self) -> None:
        """A page of a key, of the status of the last outcome, or of a part of its reason."""
        first = self.record(key="k", lease=1)
        second = self.log(DeliveryState.REFUSED, Outcome(401, "The signature doesn't match"), key="k")
        third = self.log(DeliveryState.FAILED, Outcome(500, "ValueError: 100%"), key="K" * 150)
        self.record()
        self.assertEqual(self.find(key="k"), [second, first])
        self.assertEqual(self.find(key="K" * 150, states=[DeliveryState.FAILED], webhook="Builds"), [third])
        self.assertEqual(self.find(status=401, key="k"), [second])
        self.assertEqual(self.find(status=500), [third])
        for reason, found in (("SIGNATURE", [second]), ("valueerror: 100%", [third]), ("%", [third]), ("_", [])):
            self.assertEqual(self.find(reason=reason), found)
        self.journal.count("Builds:build")
        self.settle()
        for fields in ({"key": "k"}, {"status": 200}, {"reason": "x"}):
            self.assertEqual(self.result_of(self.journal.counted(DeliveryQuery(**fields))), 0)

    def test_find_by_text(self) -> None:
        """A page of those whose headers or body have a text, in upper or lower case, also as JSON, URLs and forms write it."""
        bodies = [b'{"name": "Zo\\u00EB A."}', b"name=zo%c3%ab+a.", "\0Zoë A.".encode()]
        ids = [self.log(DeliveryState.FAILED, request=REQUEST._replace(body=body)) for body in bodies]
        self.result_of(self.journal.bury(secret := self.record(lease=1), ERROR))
        self.assertEqual(self.find(text="zoë a."), ids[::-1])
        self.assertEqual(self.find(text="Zoë", ids=ids[:2], states=[DeliveryState.FAILED]), ids[1::-1])
        self.assertEqual(self.find(text="5ECRE7"), [secret])

    def test_find_by_request(self) -> None:
        """A page of the delivery of a request."""
        number = self.record(request_id="0123456789-00000a")
        self.record()
        self.assertEqual(self.find(request_id="0123456789-00000a"), [number])
        self.assertEqual(self.find(request_id="0123456789-00000b"), [])

    def test_routes(self) -> None:
        """`webhooks` returns the webhooks with deliveries, also those that were only counted or paused."""
        self.record(webhook="A:a")
        self.journal.count("A:b")
        self.result_of(self.journal.pause("A:c", True))
        self.settle()
        self.assertEqual(self.result_of(self.journal.webhooks()), ["A:a", "A:b", "A:c"])

    def test_counted(self) -> None:
        """Deliveries that were only counted are numbers by webhook and minute. They aren't found."""
        for minute in range(3):
            self.time = 1020.0 + 60 * minute
            for webhook in ("A:a", "A:b", "Ab:a", "A:a"):
                self.journal.count(webhook)
            self.settle()
        for fields, number in (
            ({}, 12),
            ({"webhook": "A"}, 9),
            ({"webhook": "A:a"}, 6),
            ({"webhook": "B"}, 0),
            ({"since": 1085.0, "until": 1100.0}, 4),
            ({"since": 1085.0}, 8),
            ({"until": 1085.0}, 8),
            ({"states": [DeliveryState.FAILED, DeliveryState.DONE]}, 12),
            ({"states": [DeliveryState.FAILED]}, 0),
        ):
            self.assertEqual(self.result_of(self.journal.counted(DeliveryQuery(**fields))), number, fields)
        self.assertEqual(self.find(), [])

    def test_find_by_time(self) -> None:
        """A page of a range of times, both ends included."""
        ids = []
        for _ in range(6):
            ids.append(self.record())
            self.time += 10
        self.assertEqual(self.find(since=1020.0), ids[:1:-1])
        self.assertEqual(self.find(since=1020.5), ids[:2:-1])
        self.assertEqual(self.find(until=1020.0), ids[2::-1])
        self.assertEqual(self.find(since=1010.0, until=1030.0, webhook="Builds"), ids[3:0:-1])
        self.assertEqual(self.find(since=1060.0), [])
        self.assertEqual(self.find(until=999.0), [])

    def test_totals(self) -> None:
        """Requests are counted by the minute or hour of their receipt, also in steps without any, and failures as they are now."""
        self.time = 7200.0
        done, dead, again = (self.record(lease=9, key=key) for key in ("", "", "k"))
        self.result_of(self.journal.finish(done, OK))
        self.result_of(self.journal.bury(dead, ERROR))
        self.result_of(self.journal.bury(again, ERROR))
        self.log(DeliveryState.REFUSED)
        self.time = 7265.0
        self.record(key="k", window=60)
        self.result_of(self.journal.record(self.delivery(key="k"), window=60))
        self.log(DeliveryState.FAILED, webhook="Other:hook")
        self.journal.count("Builds:build")
        self.settle()
        first, last = Total(7200, 3, 1, dead=1), Total(7260, 2, repeated=1, counted=1, failed=1)
        for arguments, totals in (
            ((7130, 7400, 60), [Total(7080), Total(7140), first, last, Total(7320), Total(7380)]),
            ((7200, 7201, 3600), [Total(7200, 5, 1, 1, 1, failed=1, dead=1)]),
            ((7200, 7320, 60, "Builds"), [first, Total(7260, 1, repeated=1, counted=1)]),
            ((7260, 7320, 60, "Other:hook"), [Total(7260, 1, failed=1)]),
            ((7200, 7260, 60, "Unknown"), [Total(7200)]),
        ):
            self.assertEqual(self.result_of(self.journal.totals(*arguments)), totals, arguments)

    def test_failures(self) -> None:
        """Failures are grouped by cause; reasons may differ in numbers, ids and quoted words. A group is read with its ids."""
        texts = ("build 7 of 'a' failed", "build 8 of 'b b' failed", 'build 0a1b2c3 of "c" failed', "the disk failed")
        ids = []
        for text in texts:
            self.time += 1
            self.result_of(self.journal.bury(number := self.record(lease=1), Outcome(500, text)))
            ids.append(number)
        refused = [self.log(DeliveryState.REFUSED, Outcome(401, "no"), key=key) for key in ("x", "y", "")]
        failed = self.log(DeliveryState.FAILED, Outcome(0, "it took 7 s"), webhook="Other:hook")
        self.record(key="y", lease=9)
        groups = self.result_of(self.journal.failures())
        self.assertEqual(
            [(one.webhook, one.state, one.status, one.reason, one.number, one.repeated) for one in groups],
            [
                ("Builds:build", DeliveryState.DEAD, 500, texts[3], 1, 0),
                ("Other:hook", DeliveryState.FAILED, 0, "it took 7 s", 1, 0),
                ("Builds:build", DeliveryState.REFUSED, 401, "no", 3, 1),
                ("Builds:build", DeliveryState.DEAD, 500, texts[2], 3, 0),
            ],
        )
        self.assertEqual([(one.first, one.last) for one in groups[2:]], [(1004.0, 1004.0), (1001.0, 1003.0)])
        self.assertEqual([list(one.ids) for one in groups], [[]] * 4)

        def group(number: int, **options: Any) -> FailureGroup:
            (found,) = self.result_of(self.journal.failures(key=groups[number].key, **options))
            return cast(FailureGroup, found)

        self.assertEqual(group(3), groups[3]._replace(ids=ids[2::-1]))
        self.assertEqual(group(3, since=1002.0).ids, ids[2:0:-1])
        self.assertEqual(group(1, webhook="Other").ids, [failed])
        self.assertEqual((group(2).ids, group(2).sources), ([refused[2], refused[0], refused[1]], ["", "x"]))
        self.assertEqual(self.result_of(self.journal.failures(webhook="Builds", key=groups[1].key)), [])
        self.assertEqual(self.result_of(self.journal.failures(since=1005.0)), [])

    def test_last_requests(self) -> None:
        """The latest delivery of each webhook is found, whatever its state is."""
        self.record()
        waiting, other = self.record(), self.record(webhook="Other:hook", lease=1)
        self.result_of(self.journal.finish(other, OK))
        refused = self.log(DeliveryState.REFUSED, webhook="A:a")
        self.journal.count("Counted:only")
        self.settle()
        found = self.result_of(self.journal.last_requests())
        self.assertEqual([one.id for one in found], [refused, other, waiting])
        some = self.result_of(self.journal.last_requests(["Other:hook", "Counted:only", "Unknown"]))
        self.assertEqual([one.id for one in some], [other])
        self.assertEqual(found[1], self.result_of(self.journal.find(DeliveryQuery(ids=[other])))[0])

    def test_search(self) -> None:
        """A search finds ids, request ids and the source's ids, also long ones, in pages."""
        long = "ä" * 200
        ids = [self.record(request_id="0123456789-00000a"), self.record(key=long, window=9), self.record(key="7" * 30)]

        def search(text: str, before: int | None = None) -> tuple[list[int], int]:
            coroutine = self.journal.search(text, before)
            found, searched = self.result_of(Deferred.fromCoroutine(coroutine))
            return [one.id for one in found], searched

        for text, number in ((str(ids[2]), ids[2]), ("0123456789-00000a", ids[0]), (long, ids[1]), ("7" * 30, ids[2])):
            self.assertEqual(search(text), ([number], 0), text)
        self.assertEqual((search("unknown"), search("")), (([], 0), ([], 0)))
        same = [self.log(DeliveryState.DUPLICATE, key="again") for _ in range(51)]
        self.assertEqual(search("again"), (same[:0:-1], same[1]))
        self.assertEqual(search("again", same[1]), ([same[0]], 0))

    def test_replayable(self) -> None:
        """Those are named that a replay would let run; nothing changes."""
        self.result_of(self.journal.bury(dead := self.record(lease=1, key="k"), ERROR))
        self.assertEqual(self.result_of(self.journal.replayable([dead, 99, self.record()])), [dead])
        self.record(key="k")
        self.assertEqual(self.result_of(self.journal.replayable([dead])), [])
        self.assertEqual(self.result_of(self.journal.replayable([dead], force=True)), [dead])
        self.assertEqual(self.state(dead), DeliveryState.DEAD)
