"""Token buckets, one and one for each of many keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.running import TokenBucket, TokenBuckets

INTERVALS = st.floats(0.0001, 3600)
BURSTS = st.integers(1, 1000)


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
