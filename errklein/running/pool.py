"""A pool of worker threads with a bounded queue.

Twisted's own pool has an unbounded queue, threads that keep a stopping process alive, and one wake-up of the reactor
per result. This pool has its queue on the reactor, where jobs are counted, timed and rejected. Its threads are daemons,
which `WorkerThreads` wakes once for several jobs.

All threading goes through `start_thread` and the reactor's `callFromThread`, which tests replace.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.running._coroutines import loop_of
from errklein.running._pool_status import PoolStatus
from errklein.running._worker_threads import StartThread, WorkerThreads, start_daemon_thread

T = TypeVar("T")


class Overloaded(Exception):
    """A pool has neither a free thread nor room in its queue, or the job has waited too long."""

    def __init__(self, pool: str, reason: str, retry_after: float) -> None:
        super().__init__(f"the {pool} pool is overloaded: {reason}")
        self.retry_after = retry_after
        """The time after which a retry is reasonable, in seconds."""


class PoolStopped(Exception):
    """The pool accepts no jobs any more, because the service is stopping."""


class PoolReactor(Protocol):
    """The part of a reactor that a pool uses."""

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """Call the function on the reactor soon. May be called in any thread."""

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object) -> IDelayedCall:
        """Call the function after `delay` seconds."""

    def seconds(self) -> float:
        """Return the time on the reactor's clock, in seconds."""


@dataclass(eq=False, slots=True)
class _Job:
    prepare: Callable[[], Callable[[], Any]]
    since: float
    """The time when the job began to wait; after `_begin`, the time when it was passed to a thread."""
    name: Callable[[], str]
    replaced: bool = False
    deferred: Deferred[Any] = field(default_factory=Deferred)
    function: Callable[[], Any] | None = None
    result: Any = None

    def run(self) -> None:
        """Call the function and keep its result, or the Failure of its exception. Called in a thread."""
        assert self.function is not None
        try:
            self.result = self.function()
        except BaseException:
            self.result = Failure()
        self.function = None


def _unnamed() -> str:
    return "an unnamed job"


@dataclass(eq=False)
class WorkerPool:
    """Runs at most `size` jobs at once, in threads. At most `queue` jobs wait, each for at most `wait` seconds.

    None for `queue` or `wait` means no limit. Threads are started on demand. `ahead` jobs are passed to the threads
    before one is free: then short jobs follow each other without waiting for the reactor, but the function to call is
    chosen earlier.

    With `overdue`, a job that has been running for that many seconds while others wait is replaced: it no longer counts
    against `size`, so another thread starts, and its name is logged. At most `spare` jobs are replaced at a time.
    `ahead` must be 0 then.
    """

    log: ClassVar[Logger] = Logger()

    reactor: PoolReactor
    name: str
    size: int
    _: KW_ONLY
    queue: int | None = None
    wait: float | None = None
    ahead: int = 0
    overdue: float | None = None
    spare: int = 0
    start_thread: StartThread = start_daemon_thread

    def __post_init__(self) -> None:
        self._in_threads: dict[_Job, None] = {}
        self._replaced = 0
        self._replacing: IDelayedCall | None = None
        self._exhausted = False
        self._waiting: deque[_Job] = deque()
        self._admitted: deque[_Job] = deque()
        self._running = 0
        self._threads = self._make_threads()
        self._expiry: IDelayedCall | None = None
        self._stopped = False

    @property
    def running(self) -> int:
        """The number of jobs in threads, including those whose callers no longer wait."""
        return min(self._running, self.size + self._replaced)

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for a thread."""
        return self._running - self.running + len(self._waiting) + len(self._admitted)

    def status(self) -> PoolStatus:
        """Return the state of the pool."""
        full_since = self._waiting[0].since if self._waiting else None
        running, waiting = Counter({"": self.running}), Counter({"": self.waiting})
        return PoolStatus(self.name, self.size, self._threads.count, +running, +waiting, full_since)

    def run(
        self, prepare: Callable[[], Callable[[], T]], *, admitted: bool = False, name: Callable[[], str] = _unnamed
    ) -> Deferred[T]:
        """Call `prepare` on the reactor when a thread is free, and the function that it returns in that thread.

        So the function is chosen at the last moment. The Deferred fires on the reactor with the result. It fails with
        the exception of `prepare` or the function, with Overloaded, or with PoolStopped. It must not be cancelled,
        since threads can't be stopped.

        An `admitted` job belongs to an earlier one, for instance as the next item of a response: it precedes waiting
        jobs and is never rejected. `name` returns the job's name for the log.
        """
        job = _Job(prepare, self.reactor.seconds(), name)
        if self._stopped:
            job.deferred.errback(PoolStopped(f"the {self.name} pool has stopped"))
        elif self._running < self._most and not self._waiting and not self._admitted:
            self._begin(job)
        elif admitted:
            self._admitted.append(job)
            self._watch_threads()
        elif self.queue is not None and len(self._waiting) >= self.queue:
            reason = f"{self._running} jobs run and {len(self._waiting)} wait"
            job.deferred.errback(Overloaded(self.name, reason, self.wait or 1.0))
        else:
            self._waiting.append(job)
            self._watch_queue()
            self._watch_threads()
        return job.deferred

    def stop(self) -> None:
        """Reject new jobs and fail those that wait. Running jobs continue, and their threads end after them."""
        if self._stopped:
            return
        self._stopped = True
        for timer in (self._expiry, self._replacing):
            if timer is not None:
                timer.cancel()
        self._expiry = self._replacing = None
        handed = self._taken_back()
        self._running -= len(handed)
        for job in (*handed, *self._admitted, *self._waiting):
            job.deferred.errback(PoolStopped(f"the {self.name} pool has stopped"))
        self._admitted.clear()
        self._waiting.clear()
        self._threads.stop()

    def _begin(self, job: _Job) -> None:
        try:
            job.function = job.prepare()
            self._start_thread_for(self._running + 1)
        except BaseException:
            job.deferred.errback(Failure())
            return
        self._running += 1
        if self.overdue is not None:
            job.since = self.reactor.seconds()
            self._in_threads[job] = None
        self._threads.put(job)

    def _start_thread_for(self, jobs: int) -> None:
        if self._threads.count < min(jobs, self.size + self._replaced):
            try:
                self._threads.start_one(f"errklein {self.name} {self._threads.count + 1}")
            except RuntimeError as error:
                # The system limits the number of threads. The job waits for another one, if there is any.
                if not self._threads.count:
                    raise
                self.log.warn("The {pool} pool has no further thread: {error}", pool=self.name, error=str(error))

    def _make_threads(self) -> WorkerThreads:
        loop = loop_of(self.reactor)
        if loop is None or not isinstance(self.reactor, AsyncioSelectorReactor):
            return WorkerThreads(
                self.start_thread, lambda function: function(), self.reactor.callFromThread, self._collect
            )
        # Twisted's callFromThread does the same with more calls.
        return WorkerThreads(self.start_thread, loop.call_soon, loop.call_soon_threadsafe, self._collect)

    def _collect(self) -> None:
        ended = self._threads.results
        while ended:
            job: _Job = ended.popleft()
            self._running -= 1
            self._in_threads.pop(job, None)
            self._replaced -= job.replaced
            self._exhausted = False
            self._begin_waiting()
            # The traceback of a Failure refers to the job. A job without a result doesn't keep it in memory in turn.
            result, job.result = job.result, None
            # A Failure makes this an errback.
            job.deferred.callback(result)
        self._watch_threads()

    @property
    def _most(self) -> int:
        """The number of jobs that may be passed to threads."""
        return self.size + self._replaced + self.ahead

    def _watch_threads(self) -> None:
        """Schedule `_replace` for when the first running job is overdue, if others wait."""
        if self.overdue is None or self._replacing is not None or self._exhausted:
            return
        if self._admitted or self._waiting:
            begun = next(job.since for job in self._in_threads if not job.replaced)
            due = begun + self.overdue - self.reactor.seconds()
            self._replacing = self.reactor.callLater(max(0.0, due), self._replace)

    def _replace(self) -> None:
        """Start further threads in place of those with overdue jobs."""
        self._replacing = None
        assert self.overdue is not None
        now = self.reactor.seconds()
        for job in [job for job in self._in_threads if not job.replaced and now - job.since >= self.overdue]:
            if not (self._admitted or self._waiting):
                return
            if self._replaced >= self.spare:
                self._exhausted = True
                self.log.error(
                    "The {pool} pool is exhausted: its {size} threads and {spare} spare ones are busy with {jobs}",
                    pool=self.name,
                    size=self.size,
                    spare=self.spare,
                    jobs=", ".join(job.name() for job in self._in_threads),
                )
                return
            job.replaced = True
            self._replaced += 1
            self.log.warn(
                "{job} has been running for {seconds:.0f} s, and all threads of the {pool} pool are busy; another "
                "thread takes its place",
                job=job.name(),
                seconds=now - job.since,
                pool=self.name,
            )
            self._begin_waiting()
        self._watch_threads()

    def _taken_back(self) -> list[_Job]:
        """Take back and return the jobs that were passed to the threads before one was free."""
        handed: list[_Job] = self._threads.take_back()
        # Each free thread is about to take one of them.
        free = max(0, self.size + self._replaced - (self._running - len(handed)))
        for job in handed[:free]:
            self._threads.put(job)
        return handed[free:]

    def _begin_waiting(self) -> None:
        while (self._admitted or self._waiting) and self._running < self._most:
            self._begin((self._admitted or self._waiting).popleft())

    def _watch_queue(self) -> None:
        if self.wait is None or self._expiry is not None or not self._waiting:
            return
        due = self._waiting[0].since + self.wait
        self._expiry = self.reactor.callLater(max(0.0, due - self.reactor.seconds()), self._expire)

    def _expire(self) -> None:
        self._expiry = None
        assert self.wait is not None
        latest = self.reactor.seconds() - self.wait
        while self._waiting and self._waiting[0].since <= latest:
            job = self._waiting.popleft()
            reason = f"no thread became free in {self.wait:g} s"
            job.deferred.errback(Overloaded(self.name, reason, self.wait))
        self._watch_queue()
