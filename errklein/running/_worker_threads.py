"""Threads that run jobs in batches.

The interpreter runs one thread at a time, so waking a thread for each short job costs more than the job. Jobs that the
reactor passes to the threads in one turn therefore wake one thread, which runs them one after the other. Before each job
that could delay others, it wakes a second thread. That one begins when the first waits for something, and then takes the
remaining jobs and delivers the results; if the first doesn't wait, it finds nothing to do. A job that blocks delays no other
job, and short jobs need about one change of threads for each turn of the reactor.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

StartThread = Callable[[Callable[[], None], str], None]


def start_daemon_thread(target: Callable[[], None], name: str) -> None:
    """Run `target` in a thread that doesn't keep the process alive."""
    threading.Thread(target=target, name=name, daemon=True).start()


class ThreadJob(Protocol):
    """Work for a thread."""

    def run(self) -> None:
        """Do the work and keep its result. It must not raise exceptions."""


class WorkerThreads:
    """Threads that are started one by one and run jobs until `stop` is called.

    :param soon: Calls a function on the reactor at the end of this turn; used on the reactor.
    :param wake: Calls a function on the reactor; used in any thread.
    :param ended: Called on the reactor when jobs have ended, which are in `results`.
    """

    def __init__(
        self,
        start_thread: StartThread,
        soon: Callable[[Callable[[], None]], object],
        wake: Callable[[Callable[[], None]], object],
        ended: Callable[[], None],
    ) -> None:
        self._start_thread = start_thread
        self._soon = soon
        self._wake = wake
        self._ended = ended
        self.count = 0
        """The number of threads that were started."""
        self.results: deque[Any] = deque()
        self._jobs: deque[Any] = deque()
        # The locks on which idle threads wait; the last one is the thread that has worked most recently.
        self._idle: list[threading.Lock] = []
        # Whether a thread that was woken hasn't looked for a job yet.
        self._searching = False
        self._passing = False
        self._delivering = False

    def start_one(self, name: str) -> None:
        """Start another thread."""
        self._start_thread(self._work, name)
        self.count += 1

    def put(self, job: ThreadJob) -> None:
        """Pass a job to the threads."""
        self._jobs.append(job)
        if not self._passing:
            self._passing = True
            self._soon(self._pass_jobs)

    def take_back(self) -> list[Any]:
        """Return the jobs that no thread has begun, and forget them."""
        taken = []
        try:
            while True:
                taken.append(self._jobs.popleft())
        except IndexError:
            return taken

    def stop(self) -> None:
        """End all threads after the jobs that were passed to them."""
        self._jobs.extend([None] * self.count)
        while self._wake_one():
            self._searching = False

    def _pass_jobs(self) -> None:
        self._passing = False
        if not self._searching:
            self._wake_one()

    def _wake_one(self) -> bool:
        try:
            lock = self._idle.pop()
        except IndexError:
            return False
        self._searching = True
        lock.release()
        return True

    def _work(self) -> None:
        jobs, results = self._jobs, self.results
        waiting = threading.Lock()
        waiting.acquire()
        while True:
            try:
                job = jobs.popleft()
            except IndexError:
                self._wait(waiting)
                continue
            if job is None:
                self._deliver()
                return
            if (jobs or results) and not self._searching and not self._wake_one():
                self._deliver()
            job.run()
            results.append(job)
            job = None

    def _wait(self, waiting: threading.Lock) -> None:
        """Deliver the results, and wait until there are jobs."""
        self._deliver()
        self._idle.append(waiting)
        if self._jobs:
            # A job that was added before the lock was may have woken no thread.
            try:
                self._idle.remove(waiting)
                return
            except ValueError:
                pass
        waiting.acquire()
        self._searching = False
        self._deliver()

    def _deliver(self) -> None:
        # Only a thread that finds the flag cleared wakes the reactor. A result appended after the reactor has cleared
        # the flag is collected by the call that this thread requests.
        if self.results and not self._delivering:
            self._delivering = True
            self._wake(self._collect)

    def _collect(self) -> None:
        self._delivering = False
        self._ended()
