"""The queue that runs recorded deliveries."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat.outgoing import Wait
from errklein.journal import DeliveryQueue, RetryPolicy
from errklein.journal._queue import TOGETHER
from errklein.ports.journal import JournalError
from errklein.webhooks.deliveries import DeliveryState, Outcome, Postponed, StoredDelivery, StoredRequest
from tests.journal.inline import memory_journal

DONE = Outcome(200)
FAILED = Outcome(500, "ValueError")
REJECTED = Outcome(422, "unknown event")

WRITES = {"record", "lease", "extend", "retry_at", "finish", "bury", "pause", "replay"}


class UnreliableJournal:
    """A journal some of whose verbs fail, or report their result late."""

    shared = False

    def __init__(self, journal, now):
        self._journal = journal
        self._now = now
        self.failures = []
        self.failing = set()
        self.late = set()
        self.woken = None
        self._results = []

    def __getattr__(self, verb):
        method = getattr(self._journal, verb)

        def call(*args, **options):
            if verb in self.failing:
                self.failures.append((verb, self._now()))
                result = fail(JournalError("deliveries.sqlite: the disk is full"))
            else:
                result = method(*args, **options)
            if verb not in self.late:
                return result
            later = Deferred()
            self._results.append((later, result))
            return later

        return call

    def wake_up(self, function):
        """Keep the function, which a test calls as another process would."""
        self.woken = function

    def report(self):
        """Report the late results."""
        results, self._results = self._results, []
        for later, result in results:
            result.chainDeferred(later)


class Handler:
    """Records the runs, and ends them at once with the next result, or when the test says so."""

    def __init__(self):
        self.runs = []
        self.running = {}
        self.results = {}
        self.waits = False

    def run(self, delivery):
        assert delivery.id not in self.running, "a delivery runs twice at the same time"
        self.runs.append(delivery)
        if not self.waits:
            results = self.results.get(delivery.id)
            result = results.pop(0) if results else DONE
            return fail(result) if isinstance(result, Exception) else succeed(result)
        self.running[delivery.id] = Deferred()
        return self.running[delivery.id]

    def end(self, number, result=DONE):
        self.running.pop(number).callback(result)

    @property
    def ids(self):
        return [delivery.id for delivery in self.runs]


class QueueCase(SynchronousTestCase):
    """A queue with a memory journal, a clock, and a wall clock that a test may set."""

    queue_module = sys.modules[DeliveryQueue.__module__]
    capacity = 8
    policies: dict[str, RetryPolicy] = {}
    clock_type = Clock

    def setUp(self):
        self.clock = self.clock_type()
        self.clock.advance(1000.0)
        self.wall = 1_000_000.0
        self.journal = UnreliableJournal(memory_journal(self.now), self.now)
        self.dead = []
        self.queue = None
        self.restart()

    def now(self):
        return self.wall + self.clock.seconds()

    def restart(self, waits=False):
        """Create another queue on the same journal, as a new process does."""
        if self.queue is not None:
            self.queue.close()
        self.handler = Handler()
        self.handler.waits = waits
        self.queue = DeliveryQueue(
            self.clock,
            self.journal,
            self.handler.run,
            policy=lambda webhook: self.policies.get(webhook, RetryPolicy(attempts=3)),
            dead=self.report_dead,
            capacity=self.capacity,
            now=self.now,
            chance=lambda: 1.0,
        )
        self.queue.start()
        self.turn()

    def report_dead(self, delivery, outcome):
        assert delivery.request is None, "the request is kept in memory"
        self.dead.append((delivery.id, outcome))

    def turn(self):
        """Run what is due now."""
        self.clock.pump([0.0] * 10)

    def replay(self, ids):
        """Replay deliveries as `!delivery replay` does."""
        self.successResultOf(self.journal.replay(ids))
        self.queue.look()
        self.turn()

    def delivery(self, webhook="Plugin:hook", body=b"body", **fields):
        return StoredDelivery(
            self.journal._journal.next_id(),
            webhook,
            DeliveryState.RECEIVED,
            self.now(),
            ack="now",
            request=StoredRequest("POST", "/hook", (), body),
            **fields,
        )

    def accept(self, webhook="Plugin:hook", results=(), **fields):
        """Accept a delivery whose attempts have these results, and return its id."""
        delivery = self.delivery(webhook, **fields)
        self.handler.results[delivery.id] = list(results)
        self.assertIsNone(self.successResultOf(self.queue.accept(delivery)))
        return delivery.id

    def state(self, number):
        return self.successResultOf(self.journal._journal.get(number)).state


class AcceptTests(QueueCase):
    """Accepted deliveries."""

    policies = {"Plugin:ordered": RetryPolicy(ordered=True)}

    def test_process_that_was_stopped(self):
        """A delivery isn't run if the process was stopped for so long that the lease may have ended. It is leased again."""
        number = self.accept()
        self.journal.failing.add("retry_at")
        self.clock.advance(61.0)
        self.assertEqual((self.handler.ids, self.state(number)), ([], DeliveryState.RUNNING))
        self.journal.failing.clear()
        self.clock.advance(1.0)
        self.turn()
        self.assertEqual((self.handler.ids, self.handler.runs[0].attempt), ([number], 1))

    def test_ordered_webhook_of_several_processes(self):
        """If others record deliveries, too, one of an ordered webhook runs at once only if the journal says that it is the oldest."""
        for self.journal.shared, state in ((False, DeliveryState.RUNNING), (True, DeliveryState.RECEIVED)):
            number = self.accept("Plugin:ordered")
            self.assertEqual(self.state(number), state)
            self.turn()
            self.assertEqual(self.state(number), DeliveryState.DONE)

    def test_handler_runs_after_the_response(self):
        """The handler isn't called before the caller's callbacks, which write the response, have run."""
        self.accept()
        self.assertEqual(self.handler.runs, [])
        self.turn()
        self.assertEqual(len(self.handler.runs), 1)

    def test_handler_gets_the_running_delivery(self):
        """The handler gets the request that was accepted, and the number of the attempt."""
        delivery = self.delivery()
        self.queue.accept(delivery)
        self.turn()
        [run] = self.handler.runs
        self.assertIs(run.request, delivery.request)
        self.assertEqual((run.state, run.attempt), (DeliveryState.RUNNING, 1))

    def test_delivery_that_runs_at_once_is_not_read_again(self):
        """A delivery that can run at once is leased in the transaction that records it."""
        self.journal.failing.add("lease")
        number = self.accept()
        self.turn()
        self.assertEqual(self.state(number), DeliveryState.DONE)

    def test_delivery_after_a_backlog_is_not_read_again(self):
        """When no deliveries wait any more, the next one is leased in the transaction that records it."""
        for _ in range(20):
            self.accept()
        self.turn()
        self.journal.failing.add("lease")
        number = self.accept()
        self.turn()
        self.assertEqual(self.state(number), DeliveryState.DONE)

    def test_delivery_during_the_wait_of_another_is_not_read_again(self):
        """While an earlier delivery waits for its retry, the next one is leased in the transaction that records it."""
        self.accept(results=[FAILED])
        self.turn()
        self.journal.failing.add("lease")
        number = self.accept()
        self.turn()
        self.assertEqual(self.state(number), DeliveryState.DONE)

    def test_deliveries_that_wait_run_first(self):
        """A delivery that is received when a place has become free doesn't overtake those that wait for it."""
        self.handler.waits = True
        numbers = [self.accept() for _ in range(5)]
        self.turn()
        self.handler.end(numbers[0])
        numbers.append(self.accept())
        self.turn()
        self.assertEqual(self.handler.ids, numbers[:5])

    def test_success_is_stored(self):
        """A delivery is DONE when its handler has succeeded, and RUNNING before."""
        self.handler.waits = True
        number = self.accept()
        self.turn()
        self.assertEqual(self.state(number), DeliveryState.RUNNING)
        self.handler.end(number)
        self.assertEqual(self.state(number), DeliveryState.DONE)

    def test_repeated_delivery_does_not_run(self):
        """The caller gets the earlier delivery with the same key, and the handler isn't called again."""
        first = self.delivery(key="1")
        self.queue.accept(first, window=60.0)
        self.turn()
        earlier = self.successResultOf(self.queue.accept(self.delivery(key="1"), window=60.0))
        self.turn()
        self.assertEqual(earlier.id, first.id)
        self.assertEqual(self.handler.ids, [first.id])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_delivery_that_could_not_be_recorded_does_not_run(self):
        """The caller gets the error of the journal, and the handler isn't called."""
        self.journal.failing.add("record")
        self.failureResultOf(self.queue.accept(self.delivery()), JournalError)
        self.turn()
        self.assertEqual(self.handler.runs, [])
        self.assertEqual(self.queue.running, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_memory_is_bounded(self):
        """At most half of the capacity runs for one webhook. The rest waits in the journal, and runs in order of receipt."""
        self.handler.waits = True
        numbers = [self.accept() for _ in range(20)]
        self.turn()
        self.assertEqual(self.handler.ids, numbers[:4])
        self.assertEqual(self.queue.running, 4)
        while self.handler.running:
            self.handler.end(next(iter(self.handler.running)))
            self.turn()
            self.assertLessEqual(self.queue.running, 4)
        self.assertEqual(self.handler.ids, numbers)

    def test_flood_does_not_delay_other_webhooks(self):
        """While hundreds of deliveries of one webhook wait, one of another webhook runs at once."""
        self.handler.waits = True
        for _ in range(200):
            self.accept("Noisy:hook")
        self.turn()
        number = self.accept("Quiet:hook")
        self.turn()
        self.assertIn(number, self.handler.running)

    def test_each_route_gets_half_of_what_others_leave(self):
        """Routes with many waiting deliveries share the capacity; the last of them get one place each, until none is left."""
        self.queue.stop()
        for webhook in range(5):
            for _ in range(10):
                self.accept(f"Plugin:{webhook}")
        self.restart(waits=True)
        self.assertEqual(list(Counter(run.webhook for run in self.handler.runs).values()), [4, 2, 1, 1])
        self.assertEqual(self.queue.running, self.capacity)

    def test_no_call_is_left_over(self):
        """Without deliveries that wait, nothing is scheduled: neither after the start, nor after a delivery."""
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.accept(results=[FAILED])
        self.turn()
        self.clock.advance(10.0)
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class MemoryTests(QueueCase):
    """Deliveries with large bodies."""

    def test_bodies_in_memory(self):
        """A webhook with large bodies gets about half of the memory. The rest waits in the journal, and other webhooks run."""
        self.handler.waits = True
        self.patch(self.queue_module, "MEMORY", 40_000_000)
        large = b"0" * 9_000_000
        for _ in range(4):
            self.queue.accept(self.delivery(body=large))
            self.turn()
        self.assertEqual(self.handler.ids, [1, 2, 3])
        self.queue.accept(self.delivery("Plugin:other", body=large))
        self.turn()
        self.assertEqual(self.handler.ids, [1, 2, 3, 5])
        for number in (5, 1, 2):
            self.handler.end(number)
            self.turn()
        self.assertEqual(self.handler.ids, [1, 2, 3, 5, 4])

    def test_slow_disk(self):
        """Requests are refused while many bytes wait for the disk."""
        self.patch(self.queue_module, "MEMORY", 10_000_000)
        self.journal.late = {"record"}
        large = b"0" * 9_000_000
        waiting = [self.queue.accept(self.delivery(body=large)) for _ in range(3)]
        self.failureResultOf(waiting[2], JournalError)
        self.journal.report()
        self.assertEqual([self.successResultOf(one) for one in waiting[:2]], [None, None])
        self.assertNoResult(self.queue.accept(self.delivery(body=large)))

    def test_slow_disk_and_strangers(self):
        """Requests for unverified webhooks are refused when a quarter of these bytes wait, others aren't."""
        self.patch(self.queue_module, "MEMORY", 10_000_000)
        self.journal.late = {"record"}
        self.queue.accept(self.delivery(body=b"0" * 3_000_000))
        self.failureResultOf(self.queue.accept(self.delivery()._replace(verified=False)), JournalError)
        self.assertNoResult(self.queue.accept(self.delivery()))


class PassingClock(Clock):
    """A clock on which time passes between two calls, as on every real one."""

    def seconds(self):
        self.rightNow += 1e-6
        return self.rightNow


class PassingTimeTests(QueueCase):
    """A queue on a clock that doesn't stand still."""

    clock_type = PassingClock

    def test_waiting_deliveries_run(self):
        """Deliveries of an earlier process run after the start, and nothing is called when they have ended."""
        self.queue.stop()
        self.accept()
        self.restart()
        self.assertEqual(self.handler.ids, [1])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AttemptTests(QueueCase):
    """Attempts that fail."""

    def test_failure_is_retried(self):
        """After a status 5xx or an exception, the handler is called again. The waits double."""
        self.accept(results=[FAILED, Outcome(0, "raised")])
        self.turn()
        for wait in (10.0, 20.0):
            count = len(self.handler.runs)
            self.clock.advance(wait - 1.0)
            self.assertEqual(len(self.handler.runs), count)
            self.clock.advance(1.0)
            self.turn()
            self.assertEqual(len(self.handler.runs), count + 1)
        self.assertEqual([run.attempt for run in self.handler.runs], [1, 2, 3])

    def test_one_call_waits_for_all_retries(self):
        """Many deliveries that wait for their next attempt need one delayed call."""
        for webhook in range(3):
            self.accept(f"Plugin:{webhook}", results=[FAILED])
        self.turn()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_rejection_is_final(self):
        """After a status 4xx, the delivery is dead, and reported."""
        number = self.accept(results=[REJECTED])
        self.turn()
        self.assertEqual(self.state(number), DeliveryState.DEAD)
        self.assertEqual(self.dead, [(number, REJECTED)])

    def test_last_attempt(self):
        """After the last attempt of the webhook's policy, the delivery is dead, and reported once."""
        number = self.accept(results=[FAILED] * 3)
        for _ in range(10):
            self.turn()
            self.clock.advance(60.0)
        self.assertEqual(len(self.handler.runs), 3)
        self.assertEqual(self.state(number), DeliveryState.DEAD)
        self.assertEqual(self.dead, [(number, FAILED)])

    def test_defect_of_the_caller_is_a_failed_attempt(self):
        """An exception outside of the handler is logged, and the delivery is retried."""
        number = self.accept(results=[RuntimeError("defect")])
        self.turn()
        self.assertEqual(self.state(number), DeliveryState.RETRY)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_postponed_attempt_is_not_counted(self):
        """A delivery whose handler could not be called runs after the wait, as its first attempt."""
        self.accept(results=[Postponed("all threads are busy", 5.0)] * 10)
        self.turn()
        for _ in range(10):
            self.clock.advance(5.0)
            self.turn()
        self.assertEqual([run.attempt for run in self.handler.runs], [1] * 11)

    def test_route_is_postponed(self):
        """When one delivery was postponed, those of other webhooks run, but those of its webhook wait too."""
        self.accept(results=[Postponed("all threads are busy", 5.0)])
        self.turn()
        later, other = self.accept(), self.accept("Other:hook")
        self.turn()
        self.assertEqual(self.handler.ids[1:], [other])
        self.clock.advance(5.0)
        self.turn()
        self.assertIn(later, self.handler.ids)

    def test_retry_that_is_due_before_it_is_known_to_be_stored(self):
        """A delivery whose retry is due at once isn't lost if another lease happens before the queue knows that it is stored."""
        self.handler.waits = True
        numbers = [self.accept() for _ in range(5)]
        self.turn()
        self.journal.late.add("retry_at")
        self.handler.end(numbers[0], Postponed("all threads are busy", 0.0))
        self.turn()
        self.journal.late.clear()
        self.journal.report()
        self.handler.end(numbers[1])
        self.turn()
        self.assertEqual(self.handler.ids, [*numbers, numbers[0]])

    def test_look_ends_the_wait(self):
        """When a plugin was activated, its postponed deliveries run at once."""
        number = self.accept(results=[Postponed("the webhook is not active", 60.0)])
        self.turn()
        self.queue.look()
        self.turn()
        self.assertEqual(self.handler.ids, [number, number])

    def test_replayed_delivery_of_after(self):
        """A delivery with `ack="after"` that is replayed isn't retried, since its source knows the result."""
        delivery = self.delivery()._replace(ack="after", state=DeliveryState.FAILED, attempt=1, outcome=FAILED)
        self.journal.log(delivery)
        self.successResultOf(self.journal.replay([delivery.id]))
        self.handler.results[delivery.id] = [FAILED]
        self.queue.look()
        self.turn()
        self.assertEqual(self.handler.ids, [delivery.id])
        self.assertEqual(self.state(delivery.id), DeliveryState.FAILED)
        self.assertEqual(self.dead, [])

    def test_replay_by_another_process(self):
        """A delivery that another process has changed runs when the journal wakes the queue."""
        number = self.accept(results=[REJECTED])
        self.turn()
        self.successResultOf(self.journal.replay([number]))
        self.journal.woken()
        self.clock.advance(TOGETHER)
        self.turn()
        self.assertEqual(self.handler.ids, [number, number])

    def test_report_that_fails(self):
        """An exception of `dead` is logged, and the queue continues."""
        number = self.accept(results=[REJECTED])
        self.patch(self, "dead", None)
        self.turn()
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertEqual(self.state(number), DeliveryState.DEAD)
        self.assertEqual(self.queue.running, 0)

    def test_replay_of_a_dead_delivery(self):
        """A dead delivery that is replayed runs once more."""
        number = self.accept(results=[REJECTED])
        self.turn()
        self.replay([number])
        self.turn()
        self.assertEqual(self.handler.ids, [number, number])
        self.assertEqual(self.state(number), DeliveryState.DONE)

    def test_replay_at_a_rate(self):
        """Deliveries that are replayed at a rate run one after the other, and what they wait for can be told."""
        numbers = [self.accept(results=[REJECTED]) for _ in range(3)]
        self.turn()
        self.handler.runs.clear()
        replayed = Deferred.fromCoroutine(self.queue.replay(numbers, False, "ann", spacing=30.0))
        self.assertEqual(sorted(self.successResultOf(replayed)), numbers)
        self.turn()
        last = self.successResultOf(self.journal.get(numbers[2]))
        self.assertEqual(self.queue.wait_of(last), Wait("it is replayed at a rate", again_at=last.due_at))
        self.assertEqual(self.handler.ids, numbers[:1])
        for count in (2, 3):
            self.clock.advance(30)
            self.turn()
            self.assertEqual(self.handler.ids, numbers[:count])


class ClockTests(QueueCase):
    """Handlers that run for long, and a wall clock that is set."""

    def setUp(self):
        """Let handlers run until the test ends them."""
        super().setUp()
        self.handler.waits = True

    def test_lease_of_a_running_handler_is_extended(self):
        """However long a handler runs, nobody else can lease its delivery."""
        self.accept()
        self.turn()
        for _ in range(20):
            self.clock.advance(20.0)
            self.assertEqual(self.successResultOf(self.journal.lease("Plugin:hook", 1, 60.0)), [])

    def test_extension_that_fails(self):
        """Nobody else can lease the delivery of a running handler if one extension fails."""
        self.accept()
        self.turn()
        for second in range(1, 201):
            self.journal.failing = {"extend"} if 30 <= second < 55 or 130 <= second < 155 else set()
            self.clock.advance(1.0)
            self.assertEqual(self.successResultOf(self.journal.lease("Plugin:hook", 1, 60.0)), [])
        self.assertEqual(len(self.journal.failures), 2)

    def test_fast_handlers_need_no_extension(self):
        """The lease of a handler is extended three times a minute, and not if it ends before, also after a long one."""
        self.journal.failing = {"extend"}
        for begin in (0.0, 1000.0):
            self.clock.advance(begin)
            number = self.accept()
            for _ in range(19):
                self.turn()
                self.clock.advance(1.0)
            self.handler.end(number)
            self.turn()
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.accept()
        self.turn()
        begin = self.now()
        for _ in range(79):
            self.clock.advance(1.0)
        self.assertEqual([at - begin for _, at in self.journal.failures], [20.0, 40.0, 60.0])

    def test_clock_set_forward(self):
        """A delivery that runs doesn't run a second time when the clock is set after the end of its lease."""
        number = self.accept()
        self.turn()
        self.wall += 3600.0
        self.queue.look()
        self.turn()
        self.assertEqual(self.handler.ids, [number])
        self.handler.end(number)
        self.turn()
        self.assertEqual(self.state(number), DeliveryState.DONE)

    def test_clock_set_back(self):
        """A retry happens when the clock has reached its time. Deliveries that are received meanwhile run at once."""
        self.handler.waits = False
        retried = self.accept(results=[FAILED])
        self.turn()
        self.wall -= 100.0
        other = self.accept()
        self.turn()
        self.assertEqual(self.handler.ids, [retried, other])
        self.clock.advance(60.0)
        self.clock.advance(50.0)
        self.turn()
        self.assertEqual(self.handler.ids, [retried, other, retried])

    def test_clock_set_back_by_a_day(self):
        """A retry doesn't wait for a time that the clock has shown by mistake."""
        self.handler.waits = False
        self.wall += 86400.0
        number = self.accept(results=[FAILED])
        self.turn()
        self.wall -= 86400.0
        for _ in range(2):
            self.clock.advance(60.0)
            self.turn()
        self.assertEqual(self.handler.ids, [number, number])

    def test_clock_set_forward_while_waiting(self):
        """A retry whose time has come, since the clock was set, begins within a minute."""
        self.handler.waits = False
        self.policies = {"Plugin:hook": RetryPolicy(first=3600.0)}
        number = self.accept(results=[FAILED])
        self.turn()
        self.wall += 3600.0
        self.clock.advance(60.0)
        self.turn()
        self.assertEqual(self.handler.ids, [number, number])


class JournalErrorTests(QueueCase):
    """A journal that can't be written, for example since the disk is full."""

    def test_result_is_kept(self):
        """A result that can't be stored is stored later. The handler isn't called again."""
        number = self.accept()
        self.journal.failing |= WRITES
        for _ in range(30):
            self.turn()
            self.clock.advance(20.0)
        self.assertEqual(self.state(number), DeliveryState.RUNNING)
        self.journal.failing.clear()
        with capturedLogs() as events:
            self.clock.advance(60.0)
        self.assertEqual([formatEvent(event) for event in events], ["The journal of webhooks can be used again."])
        self.turn()
        self.assertEqual(self.state(number), DeliveryState.DONE)
        self.assertEqual(self.handler.ids, [number])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waits_grow(self):
        """The journal is tried again after 1, 2, 4 seconds and so on, at least once a minute."""
        self.accept()
        self.journal.failing |= WRITES
        self.turn()
        for _ in range(200):
            self.clock.advance(1.0)
        times = [at for verb, at in self.journal.failures if verb == "finish"]
        self.assertEqual([later - at for at, later in pairwise(times)], [1, 2, 4, 8, 16, 32, 60, 60])

    def test_many_are_told_of(self):
        """While other processes tell of deliveries all the time, waiting ones are leased, and new ones begin at once."""
        for number in range(5):
            self.successResultOf(self.journal.record(self.delivery()))
            for _ in range(10):
                self.journal.woken()
                self.clock.advance(TOGETHER / 4)
            self.assertEqual(len(self.handler.ids), 2 * number + 1)
            self.accept()
            self.journal.woken()
            self.clock.advance(0)
            self.assertEqual(len(self.handler.ids), 2 * number + 2)

    def test_others_are_told(self):
        """Other processes are told of what this one doesn't begin at once, at most every 20 ms."""
        told = []
        self.queue.tell = lambda: told.append(self.clock.seconds())
        self.queue.may_run = lambda webhook: False
        for _ in range(10):
            self.accept()
            self.clock.advance(TOGETHER / 5)
        self.assertEqual([round(at - told[0], 3) for at in told], [0, TOGETHER])
        self.clock.advance(TOGETHER)
        self.assertEqual((len(told), self.handler.ids), (3, []))
        self.assertEqual(
            self.queue.wait_of(self.delivery()), Wait("a worker runs it, or the owner if none has after 10 s")
        )
        self.successResultOf(self.queue.set_paused("Plugin:hook", paused=True))
        self.clock.advance(TOGETHER)
        self.assertEqual(len(told), 4)

    def test_end_of_an_error(self):
        """A journal that tells that it works again is used soon."""
        number = self.accept()
        self.journal.failing |= WRITES
        self.turn()
        for _ in range(200):
            self.clock.advance(1.0)
        self.journal.failing.clear()
        self.assertEqual(self.state(number), DeliveryState.RUNNING)
        self.journal.woken()
        self.clock.advance(TOGETHER)
        self.turn()
        self.assertEqual(self.state(number), DeliveryState.DONE)

    def test_error_of_many_days(self):
        """A result is stored after a disk was full for days."""
        number = self.accept()
        self.journal.failing |= WRITES
        self.turn()
        for _ in range(2000):
            self.clock.advance(60.0)
        self.journal.failing.clear()
        self.clock.advance(60.0)
        self.assertEqual(self.state(number), DeliveryState.DONE)

    def test_log_lines(self):
        """An error is logged once, and its end, however often it recurs within a minute."""
        self.handler.waits = True
        numbers = [self.accept() for _ in range(20)]
        self.turn()
        with capturedLogs() as events:
            for number in numbers[:10]:
                self.journal.failing.add("finish")
                self.handler.end(number)
                self.journal.failing.clear()
                self.clock.advance(1.0)
                self.turn()
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "Deliveries of webhooks wait for the journal: deliveries.sqlite: the disk is full",
                "The journal of webhooks can be used again.",
            ],
        )

    def test_deliveries_wait_for_the_journal(self):
        """Deliveries that can't be leased run when the journal can be written again."""
        self.handler.waits = True
        numbers = [self.accept() for _ in range(5)]
        self.turn()
        self.journal.failing.add("lease")
        self.handler.end(numbers[0])
        self.turn()
        self.journal.failing.clear()
        with capturedLogs() as events:
            self.clock.advance(1.0)
            self.turn()
        self.assertEqual([formatEvent(event) for event in events], ["The journal of webhooks can be used again."])
        self.assertEqual(self.handler.ids, numbers)

    def test_start_with_an_unreadable_journal(self):
        """A queue whose journal can't be read at the start begins when it can."""
        self.queue.stop()
        number = self.accept()
        self.journal.failing |= {"waiting", "paused"}
        self.restart()
        with capturedLogs() as events:
            self.clock.advance(0.5)
            self.assertEqual(self.handler.ids, [])
            self.journal.failing.clear()
            self.clock.advance(0.5)
        self.assertEqual([formatEvent(event) for event in events], ["The journal of webhooks can be used again."])
        self.turn()
        self.assertEqual(self.handler.ids, [number])

    def test_result_that_fails_late(self):
        """A result is stored again when the journal reports the error later."""
        number = self.accept()
        self.journal.failing.add("finish")
        self.journal.late.add("finish")
        self.turn()
        self.journal.failing.clear()
        self.journal.report()
        self.journal.late.clear()
        self.clock.advance(1.0)
        self.assertEqual(self.state(number), DeliveryState.DONE)


class OrderTests(QueueCase):
    """Routes with `ordered=True`."""

    policies = {"Plugin:hook": RetryPolicy(attempts=3, ordered=True)}

    def test_one_at_a_time(self):
        """The next delivery runs when the one before has ended."""
        self.handler.waits = True
        numbers = [self.accept() for _ in range(5)]
        self.turn()
        for index, number in enumerate(numbers):
            self.assertEqual(self.handler.ids, numbers[: index + 1])
            self.handler.end(number)
            self.turn()

    def test_retry_delays_later_deliveries(self):
        """A delivery that is retried blocks those that were received later, until it is done."""
        first = self.accept(results=[FAILED])
        second = self.accept()
        self.turn()
        third = self.accept()
        self.turn()
        self.assertEqual(self.handler.ids, [first])
        self.clock.advance(10.0)
        self.turn()
        self.assertEqual(self.handler.ids, [first, first, second, third])

    def test_plugin_that_is_activated_after_the_lease(self):
        """Deliveries that were leased before the plugin asked for their order run one after the other."""
        self.policies = {}
        self.handler.waits = True
        numbers = [self.accept() for _ in range(3)]
        self.policies = OrderTests.policies
        self.turn()
        self.handler.end(self.handler.ids[0])
        self.turn()
        self.assertEqual(self.handler.ids, numbers[:2])

    def test_dead_delivery_does_not_block(self):
        """When a delivery is given up, the next one runs."""
        first = self.accept(results=[REJECTED])
        second = self.accept()
        self.turn()
        self.assertEqual(self.handler.ids, [first, second])

    def test_order_survives_a_restart(self):
        """After a restart, a delivery whose retry isn't due still blocks the later ones."""
        first = self.accept(results=[FAILED])
        second = self.accept()
        self.turn()
        self.restart()
        third = self.accept()
        self.turn()
        self.assertEqual(self.handler.ids, [])
        self.clock.advance(10.0)
        self.turn()
        self.assertEqual(self.handler.ids, [first, second, third])

    def test_order_while_the_journal_is_read(self):
        """A delivery that is received before the queue knows what is waiting after a restart runs after it."""
        self.queue.stop()
        first = self.accept()
        self.journal.late.add("waiting")
        self.restart()
        second = self.accept()
        self.turn()
        self.assertEqual(self.handler.ids, [])
        self.journal.report()
        self.turn()
        self.assertEqual(self.handler.ids, [first, second])

    def test_unwritten_result_blocks(self):
        """The next delivery waits until the result of the one before is stored."""
        self.accept()
        second = self.accept()
        self.journal.failing.add("finish")
        self.turn()
        self.assertEqual(len(self.handler.runs), 1)
        self.journal.failing.clear()
        self.clock.advance(1.0)
        self.turn()
        self.assertEqual(self.handler.ids[1:], [second])

    def test_delivery_received_during_a_lease(self):
        """A delivery that is received while an earlier one is read from the journal runs after it."""
        self.handler.waits = True
        first, second = self.accept(), self.accept()
        self.turn()
        self.journal.late.add("lease")
        self.handler.end(first)
        self.turn()
        third = self.accept()
        self.turn()
        self.assertEqual(self.handler.ids, [first])
        self.journal.late.clear()
        self.journal.report()
        self.turn()
        self.handler.end(second)
        self.turn()
        self.assertEqual(self.handler.ids, [first, second, third])

    def test_delivery_received_while_an_earlier_one_is_recorded(self):
        """A delivery that is received while an earlier one is being recorded, which will wait, runs after it."""
        self.handler.waits = True
        first = self.accept()
        self.turn()
        self.journal.late.add("record")
        second, third = self.delivery(), self.delivery()
        self.queue.accept(second)
        self.handler.end(first)
        self.queue.accept(third)
        self.journal.late.clear()
        self.journal.report()
        self.turn()
        self.assertEqual(self.handler.ids, [first, second.id])
        self.handler.end(second.id)
        self.turn()
        self.assertEqual(self.handler.ids, [first, second.id, third.id])

    def test_delivery_received_before_the_next_due_time_is_known(self):
        """A delivery that is received while the time of an earlier one's retry is read runs after it."""
        first = self.accept(results=[FAILED])
        self.turn()
        self.journal.late.add("next_due")
        self.queue.look()
        self.turn()
        second = self.accept()
        self.turn()
        self.assertEqual(self.handler.ids, [first])
        self.journal.late.clear()
        self.journal.report()
        self.clock.advance(10.0)
        self.turn()
        self.assertEqual(self.handler.ids, [first, first, second])


class PauseTests(QueueCase):
    """Paused webhooks."""

    def test_paused_deliveries_are_recorded(self):
        """Deliveries of a paused webhook are recorded, and run after `resume`. Others run at once."""
        self.successResultOf(self.queue.set_paused("Plugin:hook", True))
        self.turn()
        number, other = self.accept(), self.accept("Other:hook")
        self.turn()
        self.assertEqual(self.handler.ids, [other])
        self.assertEqual(self.queue.paused, {"Plugin:hook"})
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(self.queue.set_paused("Plugin:hook", False))
        self.turn()
        self.assertEqual(self.handler.ids, [other, number])

    def test_pause_holds_at_once(self):
        """A delivery that is accepted right after `pause` doesn't run."""
        self.queue.set_paused("Plugin:hook", True)
        self.accept()
        self.turn()
        self.assertEqual(self.handler.ids, [])

    def test_pause_is_known_at_once(self):
        """A webhook is paused as soon as `pause` is called, before the journal has stored it, and `resume` ends that at once."""
        self.journal.late.add("pause")
        self.queue.set_paused("Plugin:hook", True)
        self.assertEqual(self.queue.paused, {"Plugin:hook"})
        self.turn()
        self.assertEqual(self.queue.paused, {"Plugin:hook"})
        self.queue.set_paused("Plugin:hook", False)
        self.assertEqual(self.queue.paused, frozenset())

    def test_pause_of_another_process(self):
        """A pause or its end that another process has stored takes effect, whatever `pause` and `resume` did before."""
        self.successResultOf(self.queue.set_paused("Plugin:hook", True))
        self.turn()
        self.accept()
        self.journal._journal.pause("Plugin:hook", False)
        self.queue.look()
        self.turn()
        self.assertEqual((len(self.handler.ids), self.queue.paused), (1, frozenset()))
        self.journal._journal.pause("Plugin:hook", True)
        self.queue.look()
        self.turn()
        self.assertEqual(self.queue.paused, {"Plugin:hook"})

    def test_pause_survives_a_restart(self):
        """A paused webhook is still paused after a restart."""
        self.queue.set_paused("Plugin:hook", True)
        self.accept()
        self.restart()
        self.accept()
        self.turn()
        self.assertEqual(self.handler.ids, [])
        self.queue.set_paused("Plugin:hook", False)
        self.turn()
        self.assertEqual(len(self.handler.ids), 2)

    def test_pause_that_can_not_be_stored(self):
        """If the pause can't be stored, the caller gets the error, and the webhook isn't paused."""
        self.journal.failing.add("pause")
        self.failureResultOf(self.queue.set_paused("Plugin:hook", True), JournalError)
        self.turn()
        self.assertEqual(self.queue.paused, frozenset())


class StopTests(QueueCase):
    """The end of the process, and the next start."""

    def test_delivery_that_ends_the_process(self):
        """A delivery whose last attempt has ended the process is given up without a further one, and may be replayed."""
        journal = self.journal._journal
        journal.record(self.delivery())
        for _ in range(3):
            journal.lease("Plugin:hook", 1, 60.0)
            journal.retry_at(1, 0.0, Outcome(0, "the process ended"))
        self.restart()
        self.assertEqual((self.handler.ids, [number for number, _ in self.dead]), ([], [1]))
        self.replay([1])
        self.assertEqual(self.handler.ids, [1])

    def test_fewer_attempts_than_before(self):
        """A delivery whose attempts have ended the process is given up if its plugin now allows fewer than it has had."""
        journal = self.journal._journal
        journal.record(self.delivery())
        for _ in range(3):
            journal.lease("Plugin:hook", 1, 60.0)
            journal.retry_at(1, 0.0, Outcome(0, "the process ended"))
        self.policies = {"Plugin:hook": RetryPolicy(attempts=1)}
        self.restart()
        self.assertEqual(self.handler.ids, [])
        self.assertEqual(self.dead, [(1, Outcome(0, "the process ended during the last attempt"))])
        self.assertEqual(self.state(1), DeliveryState.DEAD)

    def test_attempts_that_are_left(self):
        """A delivery whose attempt has ended the process runs again while it has attempts left, as does a failed one."""
        journal = self.journal._journal
        for attempt in (2, 3):
            for reason in ("the process ended", "ValueError"):
                delivery = self.delivery()
                journal.record(delivery)
                for _ in range(attempt - 1):
                    journal.lease("Plugin:hook", 1, 60.0)
                    journal.retry_at(delivery.id, 0.0, Outcome(0, reason))
                self.restart()
                self.assertEqual([(run.id, run.attempt) for run in self.handler.runs], [(delivery.id, attempt)])

    def test_replay_after_the_last_attempt(self):
        """A delivery whose attempts have all failed runs once more when it is replayed."""
        number = self.accept(results=[FAILED] * 3)
        for _ in range(3):
            self.turn()
            self.clock.advance(60.0)
        self.assertEqual(self.state(number), DeliveryState.DEAD)
        self.replay([number])
        self.assertEqual([run.attempt for run in self.handler.runs], [1, 2, 3, 4])
        self.assertEqual(self.state(number), DeliveryState.DONE)

    def test_stop_begins_nothing(self):
        """After `stop`, deliveries are recorded and wait for the next start."""
        self.queue.stop()
        number = self.accept()
        self.turn()
        self.assertEqual(self.handler.ids, [])
        self.restart()
        self.assertEqual(self.handler.ids, [number])

    def test_stop_waits_for_nothing(self):
        """After `stop`, nothing waits for the time of a retry."""
        self.accept(results=[FAILED])
        self.turn()
        self.queue.stop()
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_delivery_that_was_about_to_run(self):
        """A delivery that was leased, but not begun when the queue was stopped, is given back. No attempt is counted."""
        number = self.accept()
        self.queue.stop()
        self.turn()
        self.assertEqual(self.state(number), DeliveryState.RETRY)
        self.restart()
        self.assertEqual([(run.id, run.attempt) for run in self.handler.runs], [(number, 1)])

    def test_idle_when_running_handlers_have_ended(self):
        """After `stop`, `when_idle` fires when the results of running handlers are stored."""
        self.handler.waits = True
        number = self.accept()
        self.turn()
        self.queue.stop()
        self.journal.late.add("finish")
        idle = self.queue.when_idle()
        self.turn()
        self.assertNoResult(idle)
        self.handler.end(number)
        self.turn()
        self.assertNoResult(idle)
        self.journal.report()
        self.turn()
        self.successResultOf(idle)
        self.assertEqual(self.state(number), DeliveryState.DONE)

    def test_idle_waits_for_what_is_due(self):
        """While the queue runs, `when_idle` fires when all deliveries that are due have run, not those of later."""
        for _ in range(10):
            self.accept(results=[FAILED])
        idle = self.queue.when_idle()
        self.assertNoResult(idle)
        self.turn()
        self.successResultOf(idle)
        self.assertEqual(len(self.handler.runs), 10)
        self.successResultOf(self.queue.when_idle())

    def test_idle_waits_for_what_is_read(self):
        """`when_idle` doesn't fire before the queue has looked for what it was told of, nor while it reads deliveries."""
        number = self.accept(results=[REJECTED])
        self.turn()
        self.successResultOf(self.journal.replay([number]))
        self.queue.look()
        idle = self.queue.when_idle()
        for verb in ("waiting", "lease"):
            self.journal.late = {verb}
            self.assertNoResult(idle)
            self.turn()
            self.assertNoResult(idle)
            self.journal.late.clear()
            self.journal.report()
        self.turn()
        self.successResultOf(idle)
        self.assertEqual(self.handler.ids, [number, number])

    def test_running_handler_at_the_end(self):
        """A delivery whose handler hasn't ended runs again after the restart. Its late end changes nothing."""
        self.handler.waits = True
        number = self.accept()
        self.turn()
        self.queue.stop()
        self.turn()
        self.queue.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.handler.end(number)
        self.assertEqual(self.state(number), DeliveryState.RUNNING)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(60.0)
        self.restart()
        self.assertEqual([(run.id, run.attempt) for run in self.handler.runs], [(number, 2)])

    def test_start_runs_what_is_left(self):
        """After a restart, deliveries run that were received or retried before."""
        self.queue.stop()
        received = self.accept()
        self.restart()
        retried = self.accept(results=[FAILED])
        self.turn()
        self.restart()
        self.clock.advance(10.0)
        self.turn()
        self.assertEqual(self.handler.ids, [retried])
        self.assertEqual(self.state(received), DeliveryState.DONE)


class RetryPolicyTests(SynchronousTestCase):
    """The waits between attempts."""

    def test_defaults(self):
        """By default there are eight attempts. The longest wait is an hour, however many there are."""
        policy = RetryPolicy()
        waits = [policy.wait_after(attempt, lambda: 1.0) for attempt in range(1, policy.attempts)]
        self.assertEqual(waits, [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0])
        self.assertEqual(policy.wait_after(1000, lambda: 1.0), 3600.0)

    @given(
        st.integers(1, 10_000), st.floats(0.1, 60.0), st.floats(60.0, 86400.0), st.floats(0.0, 1.0, exclude_max=True)
    )
    def test_wait_is_bounded(self, attempt, first, longest, chance):
        """A wait is between 0 and its maximum, which doubles up to the longest wait."""
        policy = RetryPolicy(first=first, longest=longest)
        wait = policy.wait_after(attempt, lambda: chance)
        maximum = policy.wait_after(attempt, lambda: 1.0)
        self.assertTrue(0.0 <= wait <= maximum <= longest)
        self.assertEqual(policy.wait_after(1, lambda: 1.0), first)
        self.assertEqual(policy.wait_after(attempt + 1, lambda: 1.0), min(longest, 2 * maximum))
