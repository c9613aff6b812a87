"""Tests for threads that run jobs in batches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.running.pool import WorkerThreads, start_daemon_thread
from tests.clocks import ThreadClock


class Job:
    """A job that notes its thread when it ends."""

    def __init__(self, function: Callable[[], Any] = lambda: None) -> None:
        self.function = function
        self.thread: threading.Thread | None = None

    def run(self) -> None:
        """Call the function."""
        self.function()
        self.thread = threading.current_thread()


class WorkerThreadsTests(SynchronousTestCase):
    """The test is the reactor: it ends turns, and collects results when a thread asks for that."""

    def setUp(self) -> None:
        """Create threads, of which none has started."""
        self.turn: list[Callable[[], None]] = []
        self.wakeups: Queue[Callable[[], None]] = Queue()
        self.ended: list[Job] = []
        self.started: list[threading.Thread] = []
        reactor = ThreadClock()
        self.patch(reactor, "callFromThread", self.wakeups.put)
        self.threads = WorkerThreads(reactor, self.start, self.collect)
        self.threads._soon = self.turn.append
        self.addCleanup(self.threads.stop)

    def start(self, target: Callable[[], None], name: str) -> None:
        """Start a thread."""
        self.started.append(threading.Thread(target=target, name=name, daemon=True))
        self.started[-1].start()

    def collect(self) -> None:
        """Move the results to `ended`."""
        while self.threads.results:
            self.ended.append(self.threads.results.popleft())

    def put(self, *jobs: Job) -> None:
        """Pass the jobs to the threads in one turn."""
        for job in jobs:
            self.threads.put(job)
        while self.turn:
            self.turn.pop()()

    def wait_for(self, *jobs: Job) -> None:
        """Collect results until the jobs have ended."""
        while not set(jobs) <= set(self.ended):
            self.wakeups.get(timeout=60)()

    def start_all(self, count: int) -> None:
        """Start threads, and wait until each of them has begun."""
        barrier = threading.Barrier(count + 1)
        jobs = [Job(lambda: barrier.wait(10) and None) for _ in range(count)]
        for job in jobs:
            self.threads.start_one("errklein test")
            self.put(job)
        barrier.wait(10)
        self.wait_for(*jobs)

    def test_short_jobs_of_a_turn_need_one_wakeup(self) -> None:
        """One thread runs all of them in their order, and wakes the reactor once."""
        self.threads.start_one("only")
        gate = threading.Event()
        jobs = [Job(lambda: gate.wait(10) and None), *(Job() for _ in range(5))]
        self.put(*jobs)
        self.assertEqual(self.turn, [])
        gate.set()
        self.threads.stop()
        self.started[0].join(10)
        self.assertEqual(self.wakeups.qsize(), 1)
        self.wait_for(*jobs)
        self.assertEqual(self.ended, jobs)

    def test_a_job_that_blocks_delays_no_other(self) -> None:
        """The jobs before and behind it end while it blocks, in whichever thread it is."""
        self.start_all(2)
        for _ in range(20):
            gate = threading.Event()
            self.addCleanup(gate.set)
            blocks = Job(lambda gate=gate: gate.wait(10) and None)  # type: ignore[misc]
            before, behind = [Job(), Job()], [Job(), Job()]
            self.put(*before, blocks, *behind)
            self.wait_for(*before, *behind)
            self.assertNotIn(blocks, self.ended)
            gate.set()
            self.wait_for(blocks)

    def test_many_that_block_run_at_once(self) -> None:
        """Jobs that block each get a thread, although the turn wakes only one."""
        self.start_all(5)
        barrier = threading.Barrier(5)
        jobs = [Job(lambda: barrier.wait(10) and None) for _ in range(5)]
        self.put(*jobs)
        self.wait_for(*jobs)
        self.assertEqual(len({job.thread for job in jobs}), 5)

    def test_stopped(self) -> None:
        """Busy and idle threads end, after the jobs that were passed to them."""
        self.start_all(3)
        gate = threading.Event()
        jobs = [Job(lambda: gate.wait(10) and None), Job(), Job()]
        self.put(*jobs)
        self.threads.stop()
        gate.set()
        for thread in self.started:
            thread.join(10)
            self.assertFalse(thread.is_alive())
        self.wait_for(*jobs)

    def test_thread_that_nobody_waits_for(self) -> None:
        """A thread doesn't keep the process alive."""
        daemon: Queue[bool] = Queue()
        start_daemon_thread(lambda: daemon.put(threading.current_thread().daemon), "errklein test")
        self.assertTrue(daemon.get(timeout=60))
