"""Tests for timeouts, deadlines, token buckets and the frequency of warnings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running._limits import (
    NEVER,
    SWEEP_PERIOD,
    DeadlineSweeper,
    RateLimit,
    TimedOut,
    TokenBucket,
    TokenBuckets,
    result_within,
)

INTERVALS = st.floats(0.0001, 3600)
BURSTS = st.integers(1, 1000)


class ResultWithinTests(SynchronousTestCase):
    """A Deferred is awaited for ten seconds."""

    def setUp(self) -> None:
        """Begin to wait."""
        self.clock = Clock()
        self.awaited: Deferred[str] = Deferred()
        self.waiting = self.wait(self.awaited)

    def wait(self, awaited: Deferred[str]) -> Deferred[str]:
        """Wait for the Deferred."""
        return result_within(self.clock, 10, awaited)

    def test_in_time(self) -> None:
        """A result in time is returned, and no timer is left."""
        self.clock.advance(9)
        self.awaited.callback("done")
        self.assertEqual(self.successResultOf(self.waiting), "done")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failed(self) -> None:
        """A failure in time is raised once."""
        self.awaited.errback(ValueError())
        self.failureResultOf(self.waiting, ValueError)
        self.assertIsNone(self.successResultOf(self.awaited))

    def test_too_late(self) -> None:
        """A late result isn't awaited, and may still arrive."""
        self.clock.advance(10)
        self.failureResultOf(self.waiting, TimedOut)
        self.awaited.callback("late")
        self.assertEqual(self.successResultOf(self.awaited), "late")

    def test_at_once(self) -> None:
        """An available result needs no time."""
        self.assertEqual(self.successResultOf(self.wait(succeed("there"))), "there")
        self.failureResultOf(self.wait(fail(ValueError())), ValueError)
        self.awaited.callback("done")


class SlowClient:
    """An object whose deadline takes 4 ms to handle."""

    def __init__(self, clock: Clock, deadline: float, events: list[str]) -> None:
        self.clock = clock
        self.deadline = deadline
        self.events = events

    def deadline_passed(self) -> None:
        """Let time pass."""
        self.clock.rightNow += 0.004
        self.deadline = NEVER
        self.events.append("client")


class SweeperTests(SynchronousTestCase):
    """Many objects with a deadline."""

    def test_many_overdue_clients_share_turns(self) -> None:
        """If thousands of clients exceed their deadlines together, other work is done after 10 ms."""
        clock = Clock()
        sweeper = DeadlineSweeper(clock)
        events: list[str] = []
        for deadline in [1.0] * 9 + [2.0]:
            sweeper.watch(SlowClient(clock, deadline, events))
        clock.callLater(1.001, events.append, "other work")
        clock.pump([SWEEP_PERIOD] * 4)
        self.assertEqual(events, ["client"] * 3 + ["other work"] + ["client"] * 6)
        clock.pump([SWEEP_PERIOD] * 4)
        self.assertEqual(len(events), 11)
        sweeper.stop()

    def test_none_is_watched(self) -> None:
        """Who waits until no object is watched is called when the last one is forgotten."""
        sweeper = DeadlineSweeper(Clock())
        self.successResultOf(sweeper.when_none())
        clients = [SlowClient(Clock(), 1.0, []) for _ in range(2)]
        for client in clients:
            sweeper.watch(client)
        waiting = sweeper.when_none()
        sweeper.forget(clients[0])
        self.assertNoResult(waiting)
        sweeper.forget(clients[1])
        self.successResultOf(waiting)
        sweeper.stop()


class TokenBucketTests(SynchronousTestCase):
    """A token bucket."""

    def test_burst(self) -> None:
        """A full bucket has as many tokens as its burst; then `take` returns the time until the next one."""
        bucket = TokenBucket(Clock().seconds, 20.0, 3)
        self.assertEqual([bucket.take() for _ in range(4)], [0.0, 0.0, 0.0, 20.0])

    def test_no_limit(self) -> None:
        """With an interval of zero, there is always a token."""
        bucket = TokenBucket(Clock().seconds, 0, 1)
        self.assertEqual([bucket.take() for _ in range(3)], [0.0, 0.0, 0.0])

    def test_given_back(self) -> None:
        """A token that is given back can be taken again; a full bucket stays as full as it is."""
        bucket = TokenBucket(Clock().seconds, 60.0, 1)
        bucket.give_back()
        self.assertEqual((bucket.take(), bucket.take()), (0.0, 60.0))
        bucket.give_back()
        self.assertEqual((bucket.take(), bucket.take()), (0.0, 60.0))
        larger = TokenBucket(Clock().seconds, 60.0, 3)
        self.assertEqual(sum(larger.take() for _ in range(3)), 0.0)
        larger.give_back()
        self.assertEqual((larger.take(), larger.take()), (0.0, 60.0))

    def test_spent_token(self) -> None:
        """A token can be taken although there is none; the next one takes longer, then."""
        clock = Clock()
        bucket = TokenBucket(clock.seconds, 2.0, 1)
        bucket.spend()
        bucket.spend()
        self.assertEqual(bucket.take(), 4.0)
        clock.advance(4)
        self.assertEqual(bucket.take(), 0.0)

    def test_long_pause(self) -> None:
        """After a pause of any length, a bucket has no more tokens than its burst."""
        clock = Clock()
        bucket = TokenBucket(clock.seconds, 20.0, 3)
        clock.advance(1e6)
        self.assertEqual([bucket.take() for _ in range(4)], [0.0, 0.0, 0.0, 20.0])

    def test_clock_set_back(self) -> None:
        """A clock that is set back neither adds nor removes tokens."""
        now = [100.0]
        bucket = TokenBucket(lambda: now[0], 1.0, 1)
        self.assertEqual(bucket.take(), 0.0)
        now[0] = 50.0
        self.assertEqual(bucket.take(), 1.0)
        now[0] = 51.0
        self.assertEqual(bucket.take(), 0.0)

    @given(INTERVALS, BURSTS, st.integers(1, 50))
    def test_wait(self, interval: float, burst: int, times: int) -> None:
        """After the time that `take` returns, there is a token, and not before."""
        clock = Clock()
        bucket = TokenBucket(clock.seconds, interval, burst)
        self.assertEqual(sum(bucket.take() for _ in range(burst)), 0.0)
        for _ in range(times):
            wait = bucket.take()
            self.assertTrue(0 < wait <= interval, wait)
            clock.advance(wait * 0.9)
            wait = bucket.take()
            self.assertGreater(wait, 0.0)
            clock.advance(wait)
            self.assertEqual(bucket.take(), 0.0)

    @given(INTERVALS, BURSTS, st.lists(st.tuples(st.floats(0, 5000), st.integers(1, 30)), max_size=30))
    def test_never_more_than_the_rate(self, interval: float, burst: int, requests: list[tuple[float, int]]) -> None:
        """In any time, at most the burst and the tokens of that time are taken, and at least the burst if it is needed."""
        clock = Clock()
        bucket = TokenBucket(clock.seconds, interval, burst)
        taken = 0
        for pause, count in requests:
            clock.advance(pause)
            taken += sum(bucket.take() == 0.0 for _ in range(count))
        self.assertLessEqual(taken, burst + clock.seconds() / interval + 1e-3)
        self.assertGreaterEqual(taken, min(burst, sum(count for _, count in requests)))


class TokenBucketsTests(SynchronousTestCase):
    """The buckets of many keys."""

    def test_each_key_has_its_own(self) -> None:
        """A client that has used its tokens doesn't affect another one."""
        buckets = TokenBuckets(Clock().seconds, 60.0, 1)
        self.assertEqual(buckets.bucket("192.0.2.1").take(), 0.0)
        self.assertGreater(buckets.bucket("192.0.2.1").take(), 0.0)
        self.assertEqual(buckets.bucket("192.0.2.2").take(), 0.0)

    def test_flood_of_addresses(self) -> None:
        """The number of buckets is bounded, and a client that sends continually keeps its bucket."""
        buckets = TokenBuckets(Clock().seconds, 60.0, 1, limit=100)
        self.assertEqual(buckets.bucket("busy").take(), 0.0)
        for number in range(10_000):
            buckets.bucket(str(number)).take()
            if number % 50 == 0:
                self.assertGreater(buckets.bucket("busy").take(), 0.0)
        self.assertEqual(len(buckets), 100)


class RateLimitTests(SynchronousTestCase):
    """The frequency of warnings."""

    def test_once_per_interval_and_key(self) -> None:
        """A key is allowed once per interval; a refused call doesn't prolong it, and keys are independent."""
        clock = Clock()
        limit = RateLimit(clock.seconds, 10.0)
        self.assertTrue(limit.allows("a"))
        clock.advance(9.0)
        self.assertFalse(limit.allows("a"))
        self.assertTrue(limit.allows("b"))
        clock.advance(1.0)
        self.assertTrue(limit.allows("a"))
        self.assertFalse(limit.allows("b"))

    def test_number_of_keys(self) -> None:
        """No more than `most` keys are allowed within the interval, and others are forgotten after it."""
        clock = Clock()
        limit = RateLimit(clock.seconds, 10.0, most=2)
        self.assertEqual([limit.allows(key) for key in "abc"], [True, True, False])
        clock.advance(10.0)
        self.assertEqual([limit.allows(key) for key in "cdeab"], [True, True, False, False, False])
