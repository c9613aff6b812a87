"""Tests for the pool of worker threads."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from errklein.running import Overloaded, PoolStatus, PoolStopped, ThreadUse, WorkerPool, context
from errklein.running.context import assigned
from tests.clocks import ThreadClock


class WorkerPoolTests(SynchronousTestCase):
    """Jobs run in real threads, with a clock for the time."""

    def pool(self, size: int = 2, queue: int | None = None, wait: float | None = None) -> WorkerPool:
        """Return a pool that is stopped at the end of the test."""
        self.clock = ThreadClock()
        pool = WorkerPool(self.clock, "test", size, queue=queue, wait=wait)
        self.addCleanup(pool.stop)
        return pool

    def blocked(self, pool: WorkerPool, jobs: int) -> threading.Event:
        """Run so many jobs until the event is set."""
        event = threading.Event()
        self.addCleanup(event.set)
        for _ in range(jobs):
            pool.run(lambda: lambda: event.wait(10)).addErrback(lambda failure: failure.trap(PoolStopped))
        return event

    def test_a_job_runs_in_a_thread_of_the_pool(self) -> None:
        """A job runs in a daemon thread with the pool's name, and its result arrives."""
        pool = self.pool()
        result = pool.run(lambda: threading.current_thread)
        self.assertNoResult(result)
        self.clock.turn()
        thread = self.successResultOf(result)
        self.assertIn("test", thread.name)
        self.assertTrue(thread.daemon)
        self.assertNotEqual(thread, threading.current_thread())

    def test_what_a_job_raises_arrives(self) -> None:
        """An exception, even SystemExit, fails the Deferred and has no other effect."""

        def leave() -> None:
            raise SystemExit(3)

        pool = self.pool()
        for _ in range(3):
            result = pool.run(lambda: leave)
            self.clock.turn()
            self.failureResultOf(result, SystemExit)

    def test_exceptions_are_not_kept(self) -> None:
        """When an exception has been handled, nothing keeps it, and its traceback, until the next garbage collection."""
        kept: list[weakref.ref[Exception]] = []

        class Failed(Exception):
            """An exception to which weak references are possible."""

        def fail() -> None:
            error = Failed()
            kept.append(weakref.ref(error))
            try:
                raise error
            finally:
                del error

        gc.disable()
        self.addCleanup(gc.enable)
        pool = self.pool()
        pool.run(lambda: fail).addErrback(lambda failure: None)
        self.clock.turn()
        self.assertIsNone(kept[0]())

    def test_jobs_beyond_the_size_wait(self) -> None:
        """At most `size` jobs run at once; the next is chosen when one has ended."""
        pool = self.pool(size=2)
        event = self.blocked(pool, 2)
        chosen = ["too early"]
        waiting = pool.run(lambda: lambda value=chosen[0]: value)
        self.assertEqual((pool.running, pool.waiting), (2, 1))
        chosen[0] = "at the last moment"
        event.set()
        while not waiting.called:
            self.clock.turn()
        self.assertEqual(self.successResultOf(waiting), "at the last moment")

    def test_a_full_queue_refuses_at_once(self) -> None:
        """A job for a full queue fails at once, with the time for a retry."""
        pool = self.pool(size=1, queue=1, wait=10)
        self.blocked(pool, 2)
        error = self.failureResultOf(pool.run(lambda: str), Overloaded).value
        self.assertIn("1 jobs run and 1 wait", str(error))
        self.assertEqual(error.retry_after, 10)

    def test_waiting_is_bounded(self) -> None:
        """A job that waits too long fails; the one after it has its own time limit."""
        pool = self.pool(size=1, queue=10, wait=10)
        self.blocked(pool, 1)
        first = pool.run(lambda: str)
        self.clock.advance(6)
        second = pool.run(lambda: str)
        self.clock.advance(4)
        self.failureResultOf(first, Overloaded)
        self.assertNoResult(second)
        self.clock.advance(6)
        self.failureResultOf(second, Overloaded)

    def test_follow_ups_go_first(self) -> None:
        """A job that belongs to an earlier one is never rejected, and precedes waiting jobs."""
        pool = self.pool(size=1, queue=1, wait=10)
        event = self.blocked(pool, 1)
        order: list[str] = []
        other = pool.run(lambda: lambda: order.append("other"))
        self.clock.advance(9)
        following = pool.run(lambda: lambda: order.append("follow-up"), follow_up=True)
        self.assertEqual(pool.waiting, 2)
        self.failureResultOf(pool.run(lambda: str), Overloaded)
        event.set()
        while not (other.called and following.called):
            self.clock.turn()
        self.assertEqual(order, ["follow-up", "other"])
        self.successResultOf(following)

    def lending(self, size: int = 2, spare: int = 3) -> WorkerPool:
        """Return a pool that replaces threads whose jobs have been running for 5 s."""
        self.clock = ThreadClock()
        pool = WorkerPool(self.clock, "test", size, shared=True, spare=spare)
        self.addCleanup(pool.stop)
        self.watch_log()
        return pool

    def watch_log(self) -> None:
        """Collect the lines of the log in `lines`."""
        self.lines: list[str] = []

        def observe(event: dict[str, Any]) -> None:
            self.lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def hang(self, pool: WorkerPool, *names: str) -> threading.Event:
        """Run a job of each name until the event is set."""
        event = threading.Event()
        self.addCleanup(event.set)
        for name in names:
            running = pool.run(lambda: lambda: event.wait(10), name=lambda name=name: name)
            running.addErrback(lambda failure: failure.trap(PoolStopped))
        return event

    def test_a_job_that_hangs_keeps_others_waiting_for_a_while_only(self) -> None:
        """After 5 s another thread replaces one that hangs, and the log names the job."""
        pool = self.lending()
        self.hang(pool, "Hangs.one", "Hangs.two")
        result = pool.run(lambda: lambda: "done")
        self.clock.advance(4.9)
        self.assertEqual((pool.running, pool.waiting), (2, 1))
        self.clock.advance(0.1)
        self.clock.turn()
        self.assertEqual(self.successResultOf(result), "done")
        self.assertEqual(len(self.lines), 1)
        self.assertIn("Hangs.one has been running for 5 s", self.lines[0])

    def test_no_thread_is_replaced_while_nobody_waits(self) -> None:
        """Long jobs aren't replaced while no other job waits."""
        pool = self.lending()
        self.hang(pool, "Hangs.one", "Hangs.two")
        self.clock.advance(100)
        self.assertEqual(self.lines, [])
        result = pool.run(lambda: lambda: "done")
        self.clock.advance(0.1)
        self.clock.turn()
        self.assertEqual(self.successResultOf(result), "done")

    def test_each_job_that_hangs_is_replaced(self) -> None:
        """Jobs of several origins that hang are each replaced and logged once, while spare threads last."""
        pool = self.lending(size=1, spare=2)
        for name in ("one", "two", "three", "four"):
            with assigned(context.origin, name):
                self.hang(pool, f"Hangs.{name}")
        waiting = pool.run(lambda: lambda: "done")
        for _ in range(4):
            self.clock.advance(5)
        self.assertNoResult(waiting)
        self.assertEqual(pool.running, 4)
        self.assertEqual(
            [line.partition(" has been")[0].split()[-1] for line in self.lines[:2]], ["Hangs.one", "Hangs.two"]
        )
        self.assertIn("exhausted", self.lines[2])
        self.assertIn("Hangs.one, Hangs.two, Hangs.three, Hangs.four", self.lines[2])
        self.assertEqual(len(self.lines), 3)
        waiting.addErrback(lambda failure: failure.trap(PoolStopped))

    def test_one_origin_does_not_use_all_spare_threads(self) -> None:
        """Hanging jobs of one origin are replaced until they use a quarter of the spare threads; those of others still are."""
        pool = self.lending(size=1, spare=8)
        with assigned(context.origin, "person:irc/eve"):
            self.hang(pool, *map(str, range(5)))
        for _ in range(4):
            self.clock.advance(5)
        self.assertEqual((pool.running, pool.waiting), (3, 2))
        with assigned(context.origin, "person:irc/bob"):
            self.hang(pool, "bob's")
            result = pool.run(lambda: lambda: "done")
        for _ in range(3):
            self.clock.advance(5)
        self.clock.turn()
        self.assertEqual(self.successResultOf(result), "done")
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()], [])

    def test_the_size_is_kept_when_what_hung_ends(self) -> None:
        """When a replaced job ends, no more jobs run at once than before."""
        pool = self.lending(size=1)
        event = self.hang(pool, "Hangs.one")
        result = pool.run(lambda: lambda: "done")
        self.clock.advance(5)
        while not result.called:
            self.clock.turn()
        event.set()
        while pool.running:
            self.clock.turn()
        self.hang(pool, "a", "b")
        self.assertEqual((pool.running, pool.waiting), (1, 1))

    def test_threads_that_the_system_refuses(self) -> None:
        """Jobs run in the existing threads if there are any, and fail otherwise. The next job tries again."""
        pool = self.pool(size=2)
        start, pool._threads._start_thread = pool._threads._start_thread, self.refuse
        self.failureResultOf(pool.run(lambda: str), RuntimeError)
        pool._threads._start_thread = start
        event = self.blocked(pool, 1)
        pool._threads._start_thread = self.refuse
        waiting = pool.run(lambda: lambda: "waited")
        self.assertEqual(pool._threads.count, 1)
        event.set()
        while not waiting.called and self.clock.turn():
            pass
        self.assertEqual(self.successResultOf(waiting), "waited")
        self.assertEqual((pool.running, pool.waiting), (0, 0))

    def refuse(self, target: Any, name: str) -> None:
        """Start no thread, as Python at the system's limit."""
        raise RuntimeError("can't start new thread")

    def test_context_of_callbacks(self) -> None:
        """The callbacks of a job's result run in the context of its caller, whether it has run, or not."""
        pool = self.pool(size=1)
        seen: list[str] = []
        for name in ("runs", "waits"):
            with assigned(context.origin, name):
                pool.run(lambda: str).addBoth(lambda _: seen.append(context.origin.get()))
            if name == "runs":
                self.clock.turn()
                self.blocked(pool, 1)
        pool.stop()
        self.assertEqual(seen, ["runs", "waits"])

    def test_a_pool_is_stopped_twice(self) -> None:
        """The second call has no effect, although results of the threads haven't arrived yet."""
        pool = self.pool(size=3)
        done = [pool.run(lambda: lambda: "done") for _ in range(2)]
        begun = threading.Event()
        gate = threading.Event()
        self.addCleanup(gate.set)
        last = pool.run(lambda: lambda: begun.set() or gate.wait(10))
        begun.wait(10)
        pool.stop()
        pool.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        gate.set()
        while not last.called and self.clock.turn():
            pass
        self.assertEqual([self.successResultOf(result) for result in (*done, last)], ["done", "done", True])

    def test_a_stopped_pool_refuses(self) -> None:
        """Waiting and new jobs fail when the pool stops."""
        pool = self.pool(size=1)
        self.blocked(pool, 1)
        waiting = pool.run(lambda: str)
        pool.stop()
        self.failureResultOf(waiting, PoolStopped)
        self.failureResultOf(pool.run(lambda: str), PoolStopped)

    def test_a_job_that_cannot_be_prepared_frees_its_place(self) -> None:
        """An exception of `prepare` fails only that job."""
        pool = self.pool(size=1)
        self.failureResultOf(pool.run(lambda: 1 // 0), ZeroDivisionError)  # type: ignore[arg-type, return-value]
        result = pool.run(lambda: lambda: "next")
        self.clock.turn()
        self.assertEqual(self.successResultOf(result), "next")

    def test_results_of_many_jobs_arrive_with_few_wakeups(self) -> None:
        """Jobs that end together cost one wake-up of the reactor."""
        pool = self.pool(size=4)
        barrier = threading.Barrier(4)
        results = [pool.run(lambda: lambda: (barrier.wait(10), threading.current_thread().name)) for _ in range(4)]
        while not all(result.called for result in results):
            self.clock.turn()
        places, names = zip(*(self.successResultOf(result) for result in results), strict=True)
        self.assertEqual(sorted(places), [0, 1, 2, 3])
        self.assertEqual(sorted(names), [f"errklein test {number}" for number in (1, 2, 3, 4)])

    def sharing(self, size: int = 2, **options: Any) -> WorkerPool:
        """Return a pool that origins share."""
        self.clock = ThreadClock()
        pool = WorkerPool(self.clock, "test", size, shared=True, **options)
        self.addCleanup(pool.stop)
        return pool

    def held_by(self, pool: WorkerPool, origin: str, jobs: int) -> threading.Event:
        """Run so many jobs of the origin until the event is set."""
        with assigned(context.origin, origin):
            return self.hang(pool, *[f"{origin}.hangs"] * jobs)

    def run_for(self, pool: WorkerPool, origin: str, function: Callable[[], Any] = lambda: "done") -> Deferred[Any]:
        """Run a job of the origin."""
        return pool.run(lambda: function, origin=origin)

    def test_another_origin_gets_a_thread(self) -> None:
        """If one origin holds all threads, another one gets a thread after 0.2 s, and its next job at once."""
        pool = self.sharing()
        event = self.held_by(pool, "hog", 3)
        first = self.run_for(pool, "other")
        self.clock.advance(0.1)
        self.assertEqual((pool.running, pool.waiting), (2, 2))
        self.clock.advance(0.1)
        self.clock.turn()
        self.assertEqual(self.successResultOf(first), "done")
        second = self.run_for(pool, "other")
        self.assertEqual(pool.status().waiting, {"hog": 1})
        self.clock.turn()
        self.assertEqual(self.successResultOf(second), "done")
        event.set()
        while pool.running:
            self.clock.turn()
        self.assertEqual(pool.status().threads, 3)

    def test_most_threads(self) -> None:
        """A pool grows to twice its size, and never for the origin that holds its threads."""
        pool = self.sharing()
        self.held_by(pool, "hog", 3)
        for origin in "abc":
            self.held_by(pool, origin, 2)
        for _ in range(10):
            self.clock.advance(1)
        self.assertEqual(pool.status().running, {"hog": 2, "a": 1, "b": 1})
        self.assertEqual(pool.status().waiting, {"hog": 1, "a": 1, "b": 1, "c": 2})

    def test_room_in_a_full_queue(self) -> None:
        """If the queue is full, the newest job of the origin with most waiting jobs is refused."""
        pool = self.sharing(size=1, queue=3, wait=10)
        self.held_by(pool, "hog", 1)
        waiting = [self.run_for(pool, "hog") for _ in range(3)]
        self.failureResultOf(self.run_for(pool, "hog"), Overloaded)
        other = self.run_for(pool, "other")
        self.failureResultOf(waiting.pop(), Overloaded)
        self.clock.advance(0.2)
        self.clock.turn()
        self.assertEqual(self.successResultOf(other), "done")
        for job in waiting:
            job.addErrback(lambda failure: failure.trap(PoolStopped))

    def test_without_spare_threads(self) -> None:
        """In a pool without spare threads, jobs run one after the other in the order in which they come."""
        pool = self.pool(size=1)
        event = self.held_by(pool, "hog", 1)
        order: list[str] = []
        done = [self.run_for(pool, origin, partial(order.append, origin)) for origin in "aabab"]
        self.clock.advance(100)
        self.assertEqual((pool.running, pool.waiting), (1, 5))
        event.set()
        while not done[-1].called:
            self.clock.turn()
        self.assertEqual("".join(order), "aabab")

    def test_growth_before_a_job_is_overdue(self) -> None:
        """Another origin gets a thread after 0.2 s also if a waiting job of the first one gets its own after 5 s."""
        pool = self.lending()
        self.held_by(pool, "hog", 3)
        other = self.run_for(pool, "other")
        self.clock.advance(0.2)
        self.clock.turn()
        self.assertEqual(self.successResultOf(other), "done")
        self.assertEqual(pool.waiting, 1)
        self.clock.advance(4.8)
        self.assertEqual(pool.waiting, 0)

    def test_status(self) -> None:
        """The state of a pool names the jobs in threads and their times, and for how long others have been waiting."""
        pool = self.sharing()
        self.clock.advance(1)
        event = self.held_by(pool, "hog", 3)
        self.clock.advance(30)
        status = pool.status()
        self.assertEqual(status.uses, (ThreadUse("hog", "hog.hangs", 30.0),) * 2)
        self.assertEqual((status.name, status.size, status.threads), ("test", 2, 2))
        self.assertEqual((status.waiting, status.full, status.refusal), ({"hog": 1}, 30.0, ""))
        event.set()
        while pool.running:
            self.clock.turn()
        self.assertEqual(pool.status(), PoolStatus("test", 2, 2, (), Counter()))

    def test_full_until_a_thread_is_free(self) -> None:
        """A pool is full until a thread is free, also if the jobs that have waited were refused."""
        pool = self.sharing(size=1, queue=0)
        event = self.held_by(pool, "hog", 1)
        self.failureResultOf(self.run_for(pool, "hog"), Overloaded)
        self.clock.advance(30)
        self.assertEqual(pool.status().full, 30.0)
        event.set()
        while pool.running:
            self.clock.turn()
        self.assertEqual(pool.status().full, 0.0)

    def test_short_lack_of_threads_is_not_reported(self) -> None:
        """A pool that was full for less than a minute reports nothing, and has no timer afterwards."""
        reports: list[object] = []
        pool = self.sharing(size=1, report=reports.append)
        event = self.held_by(pool, "hog", 2)
        self.clock.advance(50)
        event.set()
        while pool.running:
            self.clock.turn()
        self.clock.advance(20)
        self.assertEqual((reports, self.clock.getDelayedCalls()), ([], []))

    def test_full_pool_is_reported_once(self) -> None:
        """A pool that has been full for a minute reports it once, and again when it was free meanwhile."""
        reports: list[float] = []
        pool = self.sharing(size=1, report=lambda status: reports.append(status.full))
        event = self.held_by(pool, "hog", 2)
        self.clock.advance(50)
        event.set()
        while pool.running:
            self.clock.turn()
        event = self.held_by(pool, "hog", 2)
        self.clock.advance(59)
        self.assertEqual(reports, [])
        for _ in range(10):
            self.clock.advance(1)
        self.assertEqual(reports, [60.0])
        event.set()
        while pool.running:
            self.clock.turn()
        self.held_by(pool, "hog", 2)
        self.clock.advance(60)
        self.assertEqual(reports, [60.0, 60.0])

    def test_refused_threads_are_reported_once(self) -> None:
        """A pool reports once that the system refuses to start a thread, until it has started one."""
        reports: list[str] = []
        pool = self.sharing(size=4, report=lambda status: reports.append(status.refusal))
        self.held_by(pool, "hog", 1)
        start, pool._threads._start_thread = pool._threads._start_thread, self.refuse
        self.held_by(pool, "hog", 2)
        self.assertEqual(reports, ["can't start new thread"])
        pool._threads._start_thread = start
        self.held_by(pool, "hog", 1)
        self.assertEqual(pool.status().refusal, "")
