"""Tests for the order in which origins get threads."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.running._fair_queue import FairQueue

ORIGINS = st.sampled_from("abcde")


@dataclass
class One:
    """A job."""

    origin: str
    since: float = 0.0
    admitted: bool = False


class Pool:
    """A pool without threads, which notes the jobs in the order in which they begin."""

    def __init__(self, size: int) -> None:
        self.places: FairQueue[One] = FairQueue(size)
        self.begun: list[One] = []
        self.running: list[One] = []

    def come(self, job: One) -> None:
        """Begin the job, or let it wait."""
        if self.places.enter(job.origin):
            self.begin(job)
        else:
            self.places.add(job)

    def end(self, index: int) -> None:
        """End one of the running jobs, and begin waiting ones."""
        self.places.leave(self.running.pop(index % len(self.running)).origin)
        self.begin_waiting()

    def begin_waiting(self) -> None:
        """Begin the jobs that may begin. Check that no origin takes more than its share while another one waits."""
        while True:
            waiting, held = self.places.waiting_by_origin(), Counter(self.places.held)
            job = self.places.take()
            if job is None:
                return
            if held[job.origin] >= self.places.share:
                assert all(held[other] >= self.places.share for other in waiting), (waiting, held, job)
            self.begin(job)

    def begin(self, job: One) -> None:
        """Note the job."""
        self.begun.append(job)
        self.running.append(job)


class FairQueueTests(SynchronousTestCase):
    """Places for jobs of several origins."""

    def taken(self, places: FairQueue[One]) -> str:
        """Return the origins of all jobs that may begin, in order."""
        return "".join(job.origin for job in iter(places.take, None))

    def test_turns(self) -> None:
        """Waiting origins take turns, whatever the order in which their jobs came."""
        places: FairQueue[One] = FairQueue(6)
        for origin in "aaabbc":
            places.add(One(origin))
        places.share = 9
        self.assertEqual(self.taken(places), "abcaba")

    def test_share(self) -> None:
        """While another origin waits, none gets more than a quarter of the places. Alone it gets all."""
        places: FairQueue[One] = FairQueue(8)
        for origin in "aaaaaaaaaabbb":
            places.add(One(origin))
        self.assertEqual(self.taken(places), "abab" + "abaa")
        self.assertEqual(places.waiting, 5)

    def test_least_holder(self) -> None:
        """If all waiting origins hold their share, the one that holds least is next."""
        places: FairQueue[One] = FairQueue(8)
        for origin in "aaabb":
            places.hold(origin)
        for origin in "aabb":
            places.add(One(origin))
        self.assertEqual(self.taken(places), "bab")

    def test_growth(self) -> None:
        """An origin below its share gets an additional place when it has waited; one at its share never does."""
        places: FairQueue[One] = FairQueue(4)
        for _ in range(4):
            self.assertTrue(places.enter("a"))
        self.assertFalse(places.enter("a"))
        places.add(One("a", since=1.0))
        self.assertIsNone(places.starving_since())
        places.add(One("b", since=5.0))
        self.assertEqual(places.starving_since(), 5.0)
        self.assertFalse(places.grow(4.9))
        self.assertTrue(places.grow(5.0))
        self.assertEqual(self.taken(places), "b")
        places.leave("b")
        # The place remains while the others are held, but not for those that hold them.
        self.assertFalse(places.enter("a"))
        self.assertTrue(places.enter("b"))

    def test_growth_of_a_large_pool(self) -> None:
        """An origin that holds less than a quarter of the places gets an additional one, which another may take later."""
        places: FairQueue[One] = FairQueue(9)
        for origin in "aaaaaaaab":
            places.hold(origin)
        places.add(One("b", since=5.0))
        self.assertTrue(places.grow(5.0))
        self.assertEqual(self.taken(places), "b")
        places.leave("a")
        self.assertEqual([places.enter(origin) for origin in "bcd"], [False, True, False])

    def test_growth_ends(self) -> None:
        """There are at most twice as many places, and only the usual ones when one of these is free."""
        places: FairQueue[One] = FairQueue(2)
        places.hold("a")
        places.hold("a")
        for origin in "bcd":
            places.add(One(origin))
        while places.grow(0.0):
            pass
        self.assertEqual((self.taken(places), places.grown), ("bc", 2))
        for origin in "bca":
            places.leave(origin)
        self.assertEqual(places.grown, 0)

    def test_ahead(self) -> None:
        """Jobs may be passed ahead until long ones hold them up. Then they wait for places that are free."""
        places: FairQueue[One] = FairQueue(2, most_ahead=3)
        self.assertEqual([places.enter(origin) for origin in "aaaabc"], [True] * 5 + [False])
        places.add(One("c"))
        self.assertEqual((self.taken(places), places.starving_since()), ("", None))
        places.hold_up([One("a", 1.0), One("a", 2.0), One("b", 3.0)])
        self.assertEqual((self.taken(places), places.starving_since()), ("", 0.0))
        places.leave("a")
        self.assertEqual(self.taken(places), "c")
        for origin, following in zip("aca", "aba", strict=True):
            places.leave(origin)
            self.assertEqual((self.taken(places), places.ahead), (following, 0))
        places.leave("b")
        self.assertEqual(places.ahead, 3)

    def test_held_up_jobs(self) -> None:
        """Jobs that were held up precede those of their origin that have come later."""
        places: FairQueue[One] = FairQueue(1, most_ahead=1)
        self.assertTrue(places.enter("a") and places.enter("a"))
        places.add(One("a", 2.0))
        places.hold_up([One("a", 1.0)])
        places.leave("a")
        self.assertEqual(places.take(), One("a", 1.0, admitted=True))

    def test_no_overtaking(self) -> None:
        """A job doesn't enter before those that wait, even while a place is free."""
        places: FairQueue[One] = FairQueue(2)
        places.add(One("a"))
        self.assertFalse(places.enter("b"))

    def test_admitted_jobs(self) -> None:
        """An admitted job precedes those of its origin, doesn't precede other origins, and doesn't expire."""
        places: FairQueue[One] = FairQueue(2)
        for job in (One("a", 1.0), One("b", 1.0), One("a", 2.0, admitted=True)):
            places.add(job)
        self.assertEqual(places.oldest(), 1.0)
        self.assertEqual(places.expired(1.0), [One("a", 1.0), One("b", 1.0)])
        self.assertEqual((places.waiting, places.oldest()), (1, None))
        places.add(One("a", 3.0))
        self.assertEqual(places.take(), One("a", 2.0, admitted=True))
        self.assertEqual(places.take(), One("a", 3.0))

    def test_room(self) -> None:
        """Room is made by the newest job of the origin with most waiting jobs, and not by one with as many."""
        places: FairQueue[One] = FairQueue(1)
        for number in range(3):
            places.add(One("a", float(number)))
        self.assertIsNone(places.make_room("a"))
        self.assertEqual(places.make_room("b"), One("a", 2.0))
        places.add(One("b", 3.0))
        self.assertIsNone(places.make_room("b"))
        self.assertEqual(places.make_room("c"), One("a", 1.0))

    def test_cleared(self) -> None:
        """All waiting jobs can be removed."""
        places: FairQueue[One] = FairQueue(1)
        jobs = [One("a"), One("b"), One("a", admitted=True)]
        for job in jobs:
            places.add(job)
        self.assertCountEqual(places.clear(), jobs)
        self.assertEqual((places.waiting, places.take()), (0, None))


class FairQueuePropertyTests(SynchronousTestCase):
    """Jobs come and end in any order."""

    @given(st.integers(1, 20), st.lists(st.one_of(ORIGINS, st.integers(0, 50)), max_size=120))
    def test_rules(self, size: int, events: list[str | int]) -> None:
        """The share holds, no place is free while a job waits, the order of an origin is kept, and every job begins."""
        pool, came = Pool(size), 0
        given: defaultdict[str, list[float]] = defaultdict(list)
        for event in events:
            if isinstance(event, str):
                came += 1
                given[event].append(float(came))
                pool.come(One(event, float(came)))
            elif pool.running:
                pool.end(event)
            self.assertLessEqual(pool.places.holding, size)
            self.assertTrue(pool.places.holding == size or not pool.places.waiting)
        while pool.running:
            pool.end(0)
        self.assertEqual((len(pool.begun), pool.places.waiting, pool.places.held), (came, 0, {}))
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
        while pool.places.waiting:
            before = len(pool.begun)
            # The job of another origin that has just begun is the only one that ends, so that all stay below their share.
            pool.end(len(pool.running) - 1)
            (begun,) = pool.begun[before:]
            left[begun.origin] -= 1
            round_of = [job.origin for job in pool.begun[size:]][-len(+left) :] if +left else []
            self.assertEqual(len(set(round_of)), len(round_of), pool.begun)

    @given(st.integers(1, 20), st.lists(ORIGINS, max_size=80))
    def test_growth(self, size: int, waiting: list[str]) -> None:
        """However many origins wait, there are at most twice as many places, of which a waiting one gets its share."""
        pool = Pool(size)
        for _ in range(size):
            pool.come(One("z"))
        for origin in waiting:
            pool.come(One(origin))
        while pool.places.grow(0.0):
            pool.begin_waiting()
        self.assertLessEqual(pool.places.holding, 2 * size)
        for origin, number in pool.places.held.items():
            if origin != "z":
                self.assertLessEqual(number, pool.places.share)
        if len(set(waiting)) <= size:
            self.assertTrue(set(waiting) <= set(pool.places.held))
