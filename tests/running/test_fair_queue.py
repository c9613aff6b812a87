"""Tests for the order in which origins get threads."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.running.pool import FairQueue

ORIGINS = st.sampled_from("abcde")


@dataclass
class One:
    """A job, of which the queue uses these attributes."""

    origin: str
    since: float = 0.0
    follow_up: bool = False


class Pool:
    """A pool without threads, which notes the jobs in the order in which they begin."""

    def __init__(self, size: int) -> None:
        self.slots: FairQueue = FairQueue(size)
        self.begun: list[One] = []
        self.running: list[One] = []

    def come(self, job: One) -> None:
        """Begin the job, or let it wait."""
        if self.slots.enter(job.origin):
            self.begin(job)
        else:
            self.slots.add(job)

    def end(self, index: int) -> None:
        """End one of the running jobs, and begin waiting ones."""
        self.slots.leave(self.running.pop(index % len(self.running)).origin)
        self.begin_waiting()

    def begin_waiting(self) -> None:
        """Begin the jobs that may begin. Check that no origin takes more than its share while another one waits."""
        while True:
            waiting, used = self.slots.waiting_by_origin(), Counter(self.slots.used)
            job = self.slots.take()
            if job is None:
                return
            if used[job.origin] >= self.slots.share:
                assert all(used[other] >= self.slots.share for other in waiting), (waiting, used, job)
            self.begin(job)

    def begin(self, job: One) -> None:
        """Note the job."""
        self.begun.append(job)
        self.running.append(job)


class FairQueueTests(SynchronousTestCase):
    """Slots for jobs of several origins."""

    def taken(self, slots: FairQueue) -> str:
        """Return the origins of all jobs that may begin, in order."""
        return "".join(job.origin for job in iter(slots.take, None))

    def test_turns(self) -> None:
        """Waiting origins take turns, whatever the order in which their jobs came."""
        slots: FairQueue = FairQueue(6)
        for origin in "aaabbc":
            slots.add(One(origin))
        slots.share = 9
        self.assertEqual(self.taken(slots), "abcaba")

    def test_share(self) -> None:
        """While another origin waits, none gets more than a quarter of the slots. Alone it gets all."""
        slots: FairQueue = FairQueue(8)
        for origin in "aaaaaaaaaabbb":
            slots.add(One(origin))
        self.assertEqual(self.taken(slots), "abab" + "abaa")
        self.assertEqual(slots.waiting, 5)

    def test_least_holder(self) -> None:
        """If all waiting origins hold their share, the one that holds least is next."""
        slots: FairQueue = FairQueue(8)
        for origin in "aaabb":
            slots.enter(origin)
        for origin in "aabb":
            slots.add(One(origin))
        self.assertEqual(self.taken(slots), "bab")

    def test_growth(self) -> None:
        """An origin below its share gets an additional slot when it has waited; one at its share never does."""
        slots: FairQueue = FairQueue(4)
        for _ in range(4):
            self.assertTrue(slots.enter("a"))
        self.assertFalse(slots.enter("a"))
        slots.add(One("a", since=1.0))
        slots.add(One("b", since=5.0))
        self.assertFalse(slots.grow(4.9))
        self.assertTrue(slots.grow(5.0))
        self.assertEqual(self.taken(slots), "b")
        slots.leave("b")
        # The slot remains while the others are used, but not for those that use them.
        self.assertFalse(slots.enter("a"))
        self.assertTrue(slots.enter("b"))

    def test_growth_of_a_large_pool(self) -> None:
        """An origin that holds less than a quarter of the slots gets an additional one, which another may take later."""
        slots: FairQueue = FairQueue(9)
        for origin in "aaaaaaaab":
            slots.enter(origin)
        slots.add(One("b", since=5.0))
        self.assertTrue(slots.grow(5.0))
        self.assertEqual(self.taken(slots), "b")
        slots.leave("a")
        self.assertEqual([slots.enter(origin) for origin in "bcd"], [False, True, False])

    def test_growth_ends(self) -> None:
        """There are at most twice as many slots, and only the usual ones when one of these is free."""
        slots: FairQueue = FairQueue(2)
        slots.enter("a")
        slots.enter("a")
        for origin in "bcd":
            slots.add(One(origin))
        while slots.grow(0.0):
            pass
        self.assertEqual((self.taken(slots), slots.grown), ("bc", 2))
        for origin in "bca":
            slots.leave(origin)
        self.assertEqual(slots.grown, 0)

    def test_no_overtaking(self) -> None:
        """A job doesn't enter before those that wait, even while a slot is free."""
        slots: FairQueue = FairQueue(2)
        slots.add(One("a"))
        self.assertFalse(slots.enter("b"))

    def test_follow_ups(self) -> None:
        """A follow-up job precedes those of its origin, doesn't precede other origins, and doesn't expire."""
        slots: FairQueue = FairQueue(2)
        for job in (One("a", 1.0), One("b", 1.0), One("a", 2.0, follow_up=True)):
            slots.add(job)
        self.assertEqual(slots.expired(1.0), [One("a", 1.0), One("b", 1.0)])
        self.assertEqual((slots.waiting, slots.expired(9.0)), (1, []))
        slots.add(One("a", 3.0))
        self.assertEqual(slots.take(), One("a", 2.0, follow_up=True))
        self.assertEqual(slots.take(), One("a", 3.0))

    def test_room(self) -> None:
        """Room is made by the newest job of the origin with most waiting jobs, and not by one with as many."""
        slots: FairQueue = FairQueue(1)
        for number in range(3):
            slots.add(One("a", float(number)))
        self.assertIsNone(slots.make_room("a"))
        self.assertEqual(slots.make_room("b"), One("a", 2.0))
        slots.add(One("b", 3.0))
        self.assertIsNone(slots.make_room("b"))
        self.assertEqual(slots.make_room("c"), One("a", 1.0))

    def test_cleared(self) -> None:
        """All waiting jobs can be removed."""
        slots: FairQueue = FairQueue(1)
        jobs = [One("a"), One("b"), One("a", follow_up=True)]
        for job in jobs:
            slots.add(job)
        self.assertCountEqual(slots.clear(), jobs)
        self.assertEqual((slots.waiting, slots.take()), (0, None))


class FairQueuePropertyTests(SynchronousTestCase):
    """Jobs come and end in any order."""

    @given(st.integers(1, 20), st.lists(st.one_of(ORIGINS, st.integers(0, 50)), max_size=120))
    def test_rules(self, size: int, events: list[str | int]) -> None:
        """The share holds, no slot is free while a job waits, the order of an origin is kept, and every job begins."""
        pool, came = Pool(size), 0
        given: defaultdict[str, list[float]] = defaultdict(list)
        for event in events:
            if isinstance(event, str):
                came += 1
                given[event].append(float(came))
                pool.come(One(event, float(came)))
            elif pool.running:
                pool.end(event)
            self.assertLessEqual(pool.slots.in_use, size)
            self.assertTrue(pool.slots.in_use == size or not pool.slots.waiting)
        while pool.running:
            pool.end(0)
        self.assertEqual((len(pool.begun), pool.slots.waiting, pool.slots.used), (came, 0, {}))
        for origin, numbers in given.items():
            self.assertEqual([job.since for job in pool.begun if job.origin == origin], numbers)

    @given(st.lists(ORIGINS, min_size=1, max_size=60), st.integers(1, 20))
    def test_no_starvation(self, waiting: list[str], size: int) -> None:
        """An origin waits for at most one job of each other origin below its share, however many these have."""
        pool = Pool(size)
        for _ in range(size):
            pool.come(One("z"))
        for origin in waiting:
            pool.come(One(origin))
        left = Counter(waiting)
        while pool.slots.waiting:
            before = len(pool.begun)
            # The job of another origin that has just begun is the only one that ends, so that all stay below their share.
            pool.end(len(pool.running) - 1)
            (begun,) = pool.begun[before:]
            left[begun.origin] -= 1
            round_of = [job.origin for job in pool.begun[size:]][-len(+left) :] if +left else []
            self.assertEqual(len(set(round_of)), len(round_of), pool.begun)

    @given(st.integers(1, 20), st.lists(ORIGINS, max_size=80))
    def test_growth(self, size: int, waiting: list[str]) -> None:
        """However many origins wait, there are at most twice as many slots, of which a waiting one gets its share."""
        pool = Pool(size)
        for _ in range(size):
            pool.come(One("z"))
        for origin in waiting:
            pool.come(One(origin))
        while pool.slots.grow(0.0):
            pool.begin_waiting()
        self.assertLessEqual(pool.slots.in_use, 2 * size)
        for origin, number in pool.slots.used.items():
            if origin != "z":
                self.assertLessEqual(number, pool.slots.share)
        if len(set(waiting)) <= size:
            self.assertTrue(set(waiting) <= set(pool.slots.used))
