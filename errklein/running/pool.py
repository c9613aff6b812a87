"""A pool of worker threads with a bounded queue, whose threads origins share.

Twisted's own pool has an unbounded queue, threads that keep a stopping process alive, and one wake-up of the reactor
per result. This pool has its queue on the reactor, where jobs are counted, timed and rejected. Its threads are daemons,
which `WorkerThreads` wakes once for several jobs.

All threading goes through `start_thread` and the reactor's `callFromThread`, which tests replace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from math import inf
from typing import Any, ClassVar, Protocol, TypeVar

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.running import context
from errklein.running._coroutines import loop_of
from errklein.running._fair_queue import FairQueue
from errklein.running._jobs import Job
from errklein.running._pool_status import PoolStatus, ThreadUse
from errklein.running._worker_threads import StartThread, WorkerThreads, start_daemon_thread

T = TypeVar("T")

GROW_AFTER = 0.2
"""The time that a job waits before the pool gets another thread for it, if others hold the threads, in seconds."""


FULL_AFTER = 60.0
"""The time for which jobs wait without a break before it is reported, in seconds."""


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


def _unnamed() -> str:
    return "an unnamed job"


@dataclass(eq=False)
class WorkerPool:
    """Runs at most `size` jobs at once, in threads. At most `queue` jobs wait, each for at most `wait` seconds.

    None for `queue` or `wait` means no limit. Threads are started on demand. `ahead` jobs are passed to the threads
    before one is free: then short jobs follow each other without waiting for the reactor, but the function to call is chosen
    earlier. If one of them hasn't begun after GROW_AFTER seconds, they are taken back, and none is passed ahead for a while.

    With `spare`, origins share the threads: see `FairQueue`. When a job of an origin with less than its share has waited
    for GROW_AFTER seconds, another thread starts for it; there are at most `size` of these. A job that waits for the reactor
    in `ThreadWaits` is replaced: it doesn't count against `size`, so that another thread takes its place. With `overdue`, so is
    a job that has been running for that many seconds while others wait, and its name is logged; those of one origin are at
    most a quarter of `spare`. At most `spare` jobs are replaced at a time. Without `spare`, jobs run in the order in which
    they come.
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
    report: Callable[[PoolStatus], object] = lambda status: None
    """Called once when jobs have been waiting for FULL_AFTER seconds, and when the system refuses to start a thread."""

    def __post_init__(self) -> None:
        self._jobs: dict[Job, None] = {}
        """The jobs that were passed to threads, in this order."""
        self._places: FairQueue[Job] = FairQueue(self.size, self.ahead)
        self._replaced: Counter[str] = Counter()
        """The number of replaced jobs of each origin."""
        self._exhausted = False
        self._full_since: float | None = None
        self._full_check: IDelayedCall | None = None
        self._refusal = ""
        self._threads = self._make_threads()
        self._relief: IDelayedCall | None = None
        self._expiry: IDelayedCall | None = None
        self._stopped = False

    @property
    def running(self) -> int:
        """The number of jobs in threads, including those whose callers no longer wait."""
        return min(len(self._jobs), self._threads.count)

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for a thread."""
        return len(self._jobs) - self.running + self._places.waiting

    def status(self) -> PoolStatus:
        """Return the state of the pool."""
        now, in_threads = self.reactor.seconds(), list(self._jobs)
        uses = [ThreadUse(job.origin, job.name(), now - job.since, job.replaced) for job in in_threads[: self.running]]
        waiting = Counter(job.origin for job in in_threads[self.running :]) + self._places.waiting_by_origin()
        full = 0.0 if self._full_since is None else now - self._full_since
        return PoolStatus(self.name, self.size, self._threads.count, tuple(uses), waiting, full, self._refusal)

    def run(
        self,
        prepare: Callable[[], Callable[[], T]],
        *,
        admitted: bool = False,
        name: Callable[[], str] = _unnamed,
        origin: str | None = None,
    ) -> Deferred[T]:
        """Call `prepare` on the reactor when a thread is free, and the function that it returns in that thread.

        So the function is chosen at the last moment. The Deferred fires on the reactor with the result. It fails with
        the exception of `prepare` or the function, with Overloaded, or with PoolStopped. It must not be cancelled,
        since threads can't be stopped.

        An `admitted` job belongs to an earlier one, for instance as the next item of a response: it precedes waiting
        jobs of its origin and is never rejected. `name` returns the job's name for the log. The default of `origin` is that
        of the current context.
        """
        if not self.spare:
            origin = ""
        elif origin is None:
            origin = context.origin.get()
        job = Job(self, prepare, self.reactor.seconds(), origin, admitted, name)
        if self._stopped:
            job.deferred.errback(PoolStopped(f"the {self.name} pool has stopped"))
        elif self._places.enter(origin):
            self._begin(job)
        elif admitted or self.queue is None or self._places.waiting < self.queue or self._make_room(origin):
            self._wait(job)
        else:
            self._reject(job)
        return job.deferred

    def waits_for_reactor(self, job: Job, waits: bool) -> None:
        """Note that the job in a thread begins to wait for the reactor, or goes on."""
        if waits and not job.replaced and self._can_replace():
            self._replace(job)
            self._begin_waiting()
        elif not waits and job.replaced:
            job.replaced = False
            self._replaced.subtract([job.origin])
            self._places.hold(job.origin)

    def stop(self) -> None:
        """Reject new jobs and fail those that wait. Running jobs continue, and their threads end after them."""
        if self._stopped:
            return
        self._stopped = True
        for timer in (self._expiry, self._relief, self._full_check):
            if timer is not None:
                timer.cancel()
        self._expiry = self._relief = self._full_check = None
        for job in (*self._taken_back(), *self._places.clear()):
            job.deferred.errback(PoolStopped(f"the {self.name} pool has stopped"))
        self._threads.stop()

    def _wait(self, job: Job) -> None:
        if self._full_since is None:
            self._note_full(job)
        is_first = self._places.add(job)
        if is_first:
            self._watch_threads()
        if self.wait is not None and self._expiry is None:
            self._watch_queue()

    def _reject(self, job: Job) -> None:
        if self._full_since is None:
            self._note_full(job)
        reason = f"{self.running} jobs run and {self.waiting} wait"
        job.deferred.errback(Overloaded(self.name, reason, self.wait or 1.0))

    def _note_full(self, job: Job) -> None:
        self._full_since = job.since
        if self._full_check is None:
            self._full_check = self.reactor.callLater(FULL_AFTER, self._check_full)

    def _check_full(self) -> None:
        self._full_check = None
        if self._full_since is None:
            return
        left = self._full_since + FULL_AFTER - self.reactor.seconds()
        if left > 0:
            self._full_check = self.reactor.callLater(left, self._check_full)
        else:
            self.report(self.status())

    def _make_room(self, origin: str) -> bool:
        job = self._places.make_room(origin)
        if job is None:
            return False
        self._reject(job)
        return True

    def _begin(self, job: Job) -> None:
        """Pass a job, which has a place, to the threads."""
        try:
            if job.function is None:
                job.function = job.prepare()
            if self._threads.count <= len(self._jobs):
                self._start_thread()
        except BaseException:
            self._places.leave(job.origin)
            job.deferred.errback(Failure())
            return
        self._jobs[job] = None
        self._threads.put(job)
        if self.ahead and self._relief is None and self._places.holding > self.size:
            self._relief = self.reactor.callLater(GROW_AFTER, self._relieve)

    def _start_thread(self) -> None:
        """Start another thread, unless there are enough."""
        count = self._threads.count
        if count < self.size + self._places.grown + self._replaced.total():
            try:
                self._threads.start_one(f"errklein {self.name} {count + 1}")
                self._refusal = ""
            except RuntimeError as error:
                # The system limits the number of threads. The job waits for another one, if there is any.
                is_known, self._refusal = bool(self._refusal), str(error)
                if not is_known:
                    self.report(self.status())
                if not count:
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
            job: Job = ended.popleft()
            self._forget(job)
            self._exhausted = False
            if self._full_since is not None:
                self._begin_waiting()
            # The traceback of a Failure refers to the job. A job without a result doesn't keep it in memory in turn.
            result, job.result = job.result, None
            # A Failure makes this an errback.
            job.deferred.callback(result)
        self._watch_threads()

    def _forget(self, job: Job) -> None:
        del self._jobs[job]
        if job.replaced:
            self._replaced.subtract([job.origin])
        else:
            self._places.leave(job.origin)

    def _watch_threads(self) -> None:
        """Schedule `_relieve` for the time when waiting jobs should get further threads."""
        if not (self.ahead or (self.spare and self._places.waiting)):
            return
        if self._relief is not None and self.overdue is None:
            # No job has been waiting for longer than the one for which it was scheduled.
            return
        starving = self._places.starving_since()
        due = min(inf if starving is None else starving, self._ahead_since()) + GROW_AFTER
        if self.overdue is not None and not self._exhausted:
            first = next((job.since for job in self._jobs if self._may_be_overdue(job)), inf)
            due = min(due, first + self.overdue)
        if due < (inf if self._relief is None else self._relief.getTime()):
            if self._relief is not None:
                self._relief.cancel()
            self._relief = self.reactor.callLater(max(0.0, due - self.reactor.seconds()), self._relieve)

    def _relieve(self) -> None:
        """Start further threads for origins that have waited too long, and in place of those with overdue jobs."""
        self._relief = None
        now = self.reactor.seconds()
        if self._ahead_since() <= now - GROW_AFTER:
            handed = self._taken_back()
            if handed and self._full_since is None:
                self._note_full(handed[0])
            self._places.hold_up(handed)
            self._begin_waiting()
        while self._places.grow(now - GROW_AFTER):
            self._begin_waiting()
        if self.overdue is not None:
            for job in [job for job in self._jobs if now - job.since >= self.overdue]:
                if not self._may_be_overdue(job):
                    continue
                if not (self._places.waiting and self._can_replace()):
                    break
                self._replace(job)
                self.log.warn(
                    "{job} has been running for {seconds:.0f} s, and all threads of the {pool} pool are busy; another "
                    "thread takes its place",
                    job=job.name(),
                    seconds=now - job.since,
                    pool=self.name,
                )
                self._begin_waiting()
        self._watch_threads()

    def _ahead_since(self) -> float:
        """Return the time when the first job was passed ahead that no thread has begun; `inf` if there is none."""
        return next((job.since for job in islice(self._jobs, self.running, None)), inf) if self._places.ahead else inf

    def _replace(self, job: Job) -> None:
        job.replaced = True
        # Origins whose jobs have all ended are dropped.
        self._replaced = +self._replaced + Counter([job.origin])
        self._places.leave(job.origin)

    def _may_be_overdue(self, job: Job) -> bool:
        """Return whether the job holds a thread, and its origin doesn't use its part of the spare ones."""
        return not job.replaced and self._replaced[job.origin] < max(1, self.spare // 4)

    def _can_replace(self) -> bool:
        """Return whether another job may be replaced. If not, log it once."""
        if self._replaced.total() < self.spare:
            return True
        if not self._exhausted:
            self._exhausted = True
            self.log.error(
                "The {pool} pool is exhausted: its {size} threads and {spare} spare ones are busy with {jobs}",
                pool=self.name,
                size=self.size,
                spare=self.spare,
                jobs=", ".join(job.name() for job in self._jobs),
            )
        return False

    def _taken_back(self) -> list[Job]:
        """Take back and return the jobs that were passed to the threads before one was free."""
        handed: list[Job] = self._threads.take_back()
        # Each free thread is about to take one of them.
        free = max(0, self._threads.count - (len(self._jobs) - len(handed)))
        for job in handed[:free]:
            self._threads.put(job)
        for job in handed[free:]:
            del self._jobs[job]
        return handed[free:]

    def _begin_waiting(self) -> None:
        while (job := self._places.take()) is not None:
            job.since = self.reactor.seconds()
            self._begin(job)
        if not self._places.waiting:
            self._full_since = None

    def _watch_queue(self) -> None:
        oldest = self._places.oldest()
        if self.wait is not None and oldest is not None:
            due = oldest + self.wait
            self._expiry = self.reactor.callLater(max(0.0, due - self.reactor.seconds()), self._expire)

    def _expire(self) -> None:
        self._expiry = None
        assert self.wait is not None
        for job in self._places.expired(self.reactor.seconds() - self.wait):
            reason = f"no thread became free in {self.wait:g} s"
            job.deferred.errback(Overloaded(self.name, reason, self.wait))
        self._watch_queue()
