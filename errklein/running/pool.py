"""Pools of worker threads with bounded queues, whose threads origins share. Twisted's own pool has an unbounded queue,
threads that keep a stopping process alive, and one wake-up of the reactor per result. Here, a `WorkerPool` has its
queue on the reactor, where jobs are counted, timed and rejected. A `FairQueue` decides whose job is next.
`WorkerThreads` are daemons, which are woken once for several jobs. All threading goes through `start_thread` and the
reactor's `callFromThread`, which tests replace."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context, copy_context
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.running import context
from errklein.running._limits import cancel_timers
from errklein.running.threads import call_from_thread, loop_of

T = TypeVar("T")
StartThread = Callable[[Callable[[], None], str], None]
PERIOD = 0.1  # the time between two checks of a pool in which jobs wait, in seconds

GROW_AFTER = 0.2
"""The time that a job waits before the pool gets another thread for it, if others use the threads, in seconds."""

FULL_AFTER = 60.0  # the time for which jobs wait without a break before it is reported, in seconds


class Overloaded(Exception):
    """A pool has neither a free thread nor room in its queue, or the job has waited too long."""

    def __init__(self, pool: str, reason: str, retry_after: float) -> None:
        super().__init__(f"the {pool} pool is overloaded: {reason}")
        self.retry_after = retry_after  # the time after which a retry is reasonable, in seconds


class PoolStopped(Exception):
    """The pool accepts no jobs any more, because the service is stopping."""


class ThreadReactor(Protocol):
    """The part of a reactor that code with threads uses."""

    def callFromThread(self, callable: Callable[..., Any], *args: object) -> None: ...

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object) -> IDelayedCall: ...

    def seconds(self) -> float: ...


@dataclass(frozen=True)
class ThreadUse:
    """A job in a thread."""

    origin: str
    name: str  # such as "Builds.report"
    seconds: float  # the time for which it has been running
    replaced: bool = False  # whether another thread replaces its thread, so that it keeps none from others


@dataclass(frozen=True)
class PoolStatus:
    """The state of a pool of threads at one time, for administrators and metrics."""

    name: str  # such as "commands"
    size: int  # the number of threads that all origins share
    threads: int  # the number of threads that were started
    uses: tuple[ThreadUse, ...]  # the jobs in threads, those that have been running longest first
    waiting: Mapping[str, int]  # the number of jobs that wait for a thread, by origin; see `running.context.origin`
    full: float = 0.0  # the time for which jobs have been waiting without a break, in seconds
    refusal: str = ""  # the reason why the last thread could not be started; "" if it could

    @property
    def running(self) -> Mapping[str, int]:
        """The number of jobs in threads, by origin."""
        return Counter(use.origin for use in self.uses)


@dataclass(eq=False, slots=True)
class Job:
    """A function to call in a thread, which `prepare` returns on the reactor, and its result."""

    prepare: Callable[[], Callable[[], Any]]
    since: float  # the time when the job began to wait; later, the time when it was passed to a thread
    origin: str
    follow_up: bool  # whether it precedes other jobs of its origin, and is never rejected
    name: Callable[[], str]
    replaced: bool = False  # whether it uses no slot, since another thread replaces its thread
    deferred: Deferred[Any] = field(default_factory=Deferred)
    context: Context = field(default_factory=copy_context)
    """That of the caller, in which the callbacks of `deferred` run."""
    function: Callable[[], Any] | None = None
    result: Any = None

    def end(self, result: Any) -> None:
        self.context.run(self.deferred.callback, result)

    def run(self) -> None:
        assert self.function is not None
        try:
            self.result = self.function()
        except BaseException:
            self.result = Failure()
        self.function = None


def start_daemon_thread(target: Callable[[], None], name: str) -> None:
    """Run `target` in a thread that doesn't keep the process alive."""
    threading.Thread(target=target, name=name, daemon=True).start()


@dataclass(eq=False)
class WorkerPool:
    """Runs at most `size` jobs at once, in threads that are started on demand. At most `queue` jobs wait, each for at
    most `wait` seconds; None means no limit. If the pool is `shared`, origins share the threads: see `FairQueue`. When
    a job of an origin with less than its share has waited for GROW_AFTER seconds, another thread starts for it; there
    are at most `size` of these. Otherwise, jobs run in the order in which they come. A job that has been running for
    `overdue` seconds while others wait is replaced: its name is logged, and another thread starts for the others. At
    most `spare` jobs are replaced at a time, and at most a quarter of that of one origin."""

    log: ClassVar[Logger] = Logger()

    reactor: ThreadReactor
    name: str
    size: int
    _: KW_ONLY
    queue: int | None = None
    wait: float | None = None
    shared: bool = False
    spare: int = 0
    overdue: float = 5.0
    start_thread: StartThread = start_daemon_thread
    report: Callable[[PoolStatus], object] = lambda status: None
    """Called once when jobs have been waiting for FULL_AFTER seconds, and when the system refuses to start a thread."""

    def __post_init__(self) -> None:
        self._jobs: dict[Job, None] = {}  # the jobs that were passed to threads, in this order
        self._slots = FairQueue(self.size)
        self._threads = WorkerThreads(self.reactor, self.start_thread, self._collect)
        self._check_timer: IDelayedCall | None = None
        self._full_since: float | None = None
        self._full_reported = False
        self._exhausted = False
        self._refusal = ""
        self._stopped = False

    @property
    def running(self) -> int:
        """The number of jobs in threads, including those whose callers no longer wait."""
        # If the system refuses to start a thread, jobs wait for the existing ones.
        return min(len(self._jobs), self._threads.count)

    @property
    def waiting(self) -> int:
        return len(self._jobs) - self.running + self._slots.waiting

    def status(self) -> PoolStatus:
        now, jobs = self.reactor.seconds(), list(self._jobs)
        uses = [ThreadUse(job.origin, job.name(), now - job.since, job.replaced) for job in jobs[: self.running]]
        waiting = Counter(job.origin for job in jobs[self.running :]) + self._slots.waiting_by_origin()
        full = 0.0 if self._full_since is None else now - self._full_since
        return PoolStatus(self.name, self.size, self._threads.count, tuple(uses), waiting, full, self._refusal)

    def run(
        self,
        prepare: Callable[[], Callable[[], T]],
        *,
        follow_up: bool = False,
        name: Callable[[], str] = lambda: "an unnamed job",
        origin: str | None = None,
    ) -> Deferred[T]:
        """Call `prepare` on the reactor when a thread is free, so that the function is chosen at the last moment, and
        the function that it returns in that thread. The Deferred fires on the reactor with the result. It fails with
        the exception of `prepare` or the function, with Overloaded, or with PoolStopped. Its callbacks run in the
        context of the caller. It must not be cancelled, since threads can't be stopped. A `follow_up` belongs to an
        earlier job, for instance as the next item of a response: it precedes waiting jobs of its origin and is never
        rejected. `name` returns the job's name for the log. The default of `origin` is that of the current context."""
        if not self.shared:
            origin = ""
        elif origin is None:
            origin = context.origin.get()
        job = Job(prepare, self.reactor.seconds(), origin, follow_up, name)
        if self._stopped:
            job.end(Failure(PoolStopped(f"the {self.name} pool has stopped")))
        elif self._slots.enter(origin):
            self._begin(job)
        else:
            self._wait(job)
        return job.deferred

    def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        cancel_timers(self._check_timer)
        self._check_timer = None
        for job in self._slots.clear():
            job.end(Failure(PoolStopped(f"the {self.name} pool has stopped")))
        self._threads.stop()

    def _wait(self, job: Job) -> None:
        if self._full_since is None:
            self._full_since, self._full_reported = job.since, False
        self._check_later()
        if not job.follow_up and self.queue is not None and self._slots.waiting >= self.queue:
            rejected = self._slots.make_room(job.origin) or job
            reason = f"{self.running} jobs run and {self.waiting} wait"
            rejected.end(Failure(Overloaded(self.name, reason, self.wait or 1.0)))
            if rejected is job:
                return
        self._slots.add(job)

    def _begin(self, job: Job) -> None:
        try:
            job.function = job.prepare()
            if self._threads.count <= len(self._jobs):
                self._start_thread()
        except BaseException:
            self._slots.leave(job.origin)
            job.end(Failure())
            return
        self._jobs[job] = None
        self._threads.put(job)

    def _begin_waiting(self) -> None:
        while (job := self._slots.take()) is not None:
            job.since = self.reactor.seconds()
            self._begin(job)
        if not self._slots.waiting:
            self._full_since = None

    def _start_thread(self) -> None:
        count = self._threads.count
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

    def _collect(self) -> None:
        ended = self._threads.results
        while ended:
            job: Job = ended.popleft()
            del self._jobs[job]
            if not job.replaced:
                self._slots.leave(job.origin)
            self._exhausted = False
            if self._full_since is not None:
                self._begin_waiting()
            # The traceback of a Failure refers to the job. A job without a result doesn't keep it in memory in turn.
            result, job.result = job.result, None
            job.end(result)

    def _check(self) -> None:
        """Reject jobs that have waited too long, and start further threads for others. Called while jobs wait."""
        self._check_timer = None
        now = self.reactor.seconds()
        if self.wait is not None:
            for job in self._slots.expired(now - self.wait):
                reason = f"no thread became free in {self.wait:g} s"
                job.end(Failure(Overloaded(self.name, reason, self.wait)))
        while self._slots.grow(now - GROW_AFTER):
            self._begin_waiting()
        if self.spare:
            self._replace_overdue(now)
        if self._full_since is None or self._stopped:
            return
        if not self._full_reported and now - self._full_since >= FULL_AFTER:
            self._full_reported = True
            self.report(self.status())
        self._check_later()

    def _check_later(self) -> None:
        if self._check_timer is None:
            self._check_timer = self.reactor.callLater(PERIOD, self._check)

    def _replace_overdue(self, now: float) -> None:
        """Replace the threads of overdue jobs, as long as jobs wait."""
        replaced = Counter(job.origin for job in self._jobs if job.replaced)
        for job in [job for job in self._jobs if now - job.since >= self.overdue and not job.replaced]:
            if not self._slots.waiting:
                return
            if replaced[job.origin] >= max(1, self.spare // 4):
                continue
            if replaced.total() >= self.spare:
                self._log_exhausted()
                return
            job.replaced = True
            replaced[job.origin] += 1
            self._slots.leave(job.origin)
            text = (
                "{job} has been running for {seconds:.0f} s, and all threads of the {pool} pool are busy; another "
                "thread replaces its thread"
            )
            self.log.warn(text, job=job.name(), seconds=now - job.since, pool=self.name)
            self._begin_waiting()

    def _log_exhausted(self) -> None:
        """Log once that no further job may be replaced, until a job ends."""
        if not self._exhausted:
            self._exhausted = True
            jobs = ", ".join(job.name() for job in self._jobs)
            text = "The {pool} pool is exhausted: its {size} threads and {spare} spare ones are busy with {jobs}"
            self.log.error(text, pool=self.name, size=self.size, spare=self.spare, jobs=jobs)


class FairQueue:
    """The slots in which jobs run, and the jobs that wait for one. An origin is a route, a person or a plugin. While
    others wait, it uses at most its share of the slots. Waiting origins take turns, and the jobs of one origin keep
    their order. An origin that is alone may use all slots."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.share = max(1, size // 4)
        self.grown = 0  # the number of additional slots, which only origins with less than their share may take
        self.used: dict[str, int] = {}  # the number of slots that each origin uses
        self.in_use = 0  # the number of slots that are in use
        self.waiting = 0  # the number of waiting jobs
        self._lines: dict[str, deque[Job]] = {}  # the waiting jobs by origin, in the order of the origins' turns

    def enter(self, origin: str) -> bool:
        if self.in_use < self.size:
            enters = not self._lines
        else:
            # No other one below its share is waiting, as it would have the slot.
            enters = self.in_use < self.size + self.grown and self.used.get(origin, 0) < self.share
        if enters:
            self._use(origin)
        return enters

    def leave(self, origin: str) -> None:
        """Give a slot back. The additional slots exist until a slot of the others is free."""
        left = self.used[origin] - 1
        if left:
            self.used[origin] = left
        else:
            del self.used[origin]
        self.in_use -= 1
        if self.in_use < self.size:
            self.grown = 0

    def add(self, job: Job) -> None:
        line = self._lines.setdefault(job.origin, deque())
        if job.follow_up:
            line.insert(sum(other.follow_up for other in line), job)
        else:
            line.append(job)
        self.waiting += 1

    def take(self) -> Job | None:
        """Return the next job that may have a slot, and take the slot. Return None if all must wait."""
        origin = self._next_origin() if self._lines else None
        if origin is None:
            return None
        # The other origins are next.
        line = self._lines.pop(origin)
        job = line.popleft()
        if line:
            self._lines[origin] = line
        self.waiting -= 1
        self._use(origin)
        return job

    def grow(self, latest: float) -> bool:
        """Add a slot for an origin that uses less than its share and has been waiting since `latest`, or longer. Return
        whether there is such an origin. There are never more additional slots than slots."""
        if self.grown >= self.size or all(self._lines[origin][0].since > latest for origin in self._below_share()):
            return False
        self.grown += 1
        return True

    def expired(self, latest: float) -> list[Job]:
        waiting = [job for line in self._lines.values() for job in line]
        expired = [job for job in waiting if job.since <= latest and not job.follow_up]
        for job in expired:
            self._remove(job)
        return expired

    def make_room(self, origin: str) -> Job | None:
        """Remove and return the newest job of the origin with most waiting jobs, unless `origin` had as many afterwards."""
        waiting = {other: len(line) for other, line in self._lines.items() if not line[-1].follow_up}
        most = max(waiting, key=waiting.__getitem__, default=origin)
        if waiting.get(most, 0) < waiting.get(origin, 0) + 2:
            return None
        job = self._lines[most][-1]
        self._remove(job)
        return job

    def clear(self) -> list[Job]:
        jobs = [job for line in self._lines.values() for job in line]
        self._lines.clear()
        self.waiting = 0
        return jobs

    def waiting_by_origin(self) -> Counter[str]:
        return Counter({origin: len(line) for origin, line in self._lines.items()})

    def _use(self, origin: str) -> None:
        self.used[origin] = self.used.get(origin, 0) + 1
        self.in_use += 1

    def _next_origin(self) -> str | None:
        if self.in_use >= self.size + self.grown:
            return None
        # Few origins use their share, so the first ones decide.
        below = next(self._below_share(), None)
        if below is not None or self.in_use >= self.size:
            return below
        return min(self._lines, key=self.used.__getitem__)

    def _below_share(self) -> Iterator[str]:
        return (origin for origin in self._lines if self.used.get(origin, 0) < self.share)

    def _remove(self, job: Job) -> None:
        line = self._lines[job.origin]
        line.remove(job)
        if not line:
            del self._lines[job.origin]
        self.waiting -= 1


class WorkerThreads:
    """Threads that are started one by one and run jobs in batches until `stop` is called. `ended` is called on the
    reactor when jobs have ended, which are in `results`.

    The interpreter runs one thread at a time, so waking a thread for each short job costs more than the job. Jobs that
    the reactor passes to the threads in one turn therefore wake one thread, which runs them one after the other. Before
    each job that could delay others, it wakes a second thread. That one begins when the first waits for something, and
    then takes the remaining jobs and delivers the results; if the first doesn't wait, it finds nothing to do. A job
    that blocks delays no other job, and short jobs need about one change of threads for each turn of the reactor."""

    def __init__(self, reactor: ThreadReactor, start_thread: StartThread, ended: Callable[[], None]) -> None:
        self._start_thread = start_thread
        self._ended = ended
        self._reactor = reactor
        # On asyncio's loop, a call at the end of the turn costs little.
        loop = loop_of(reactor) if isinstance(reactor, AsyncioSelectorReactor) else None
        self._soon: Callable[..., object] = (lambda function: function()) if loop is None else loop.call_soon
        self.count = 0  # the number of threads that were started
        self.results: deque[Job] = deque()
        self._jobs: deque[Job | None] = deque()
        # The locks on which idle threads wait; the last one is the thread that has worked most recently.
        self._idle: list[threading.Lock] = []
        # Whether a thread that was woken hasn't looked for a job yet.
        self._searching = False
        self._passing = False
        self._delivering = False

    def start_one(self, name: str) -> None:
        self._start_thread(self._work, name)
        self.count += 1

    def put(self, job: Job) -> None:
        self._jobs.append(job)
        if not self._passing:
            self._passing = True
            self._soon(self._pass_jobs)

    def stop(self) -> None:
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
            call_from_thread(self._reactor, self._collect)

    def _collect(self) -> None:
        self._delivering = False
        self._ended()
