"""Queues of work on the reactor: one at a time, one at a time for each key, or in time slices; and a bot's queues and pools."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IDelayedCall

from errklein.running._limits import result_within
from errklein.running._runner import InFlightCounter, Runner
from errklein.running.pool import WorkerPool
from errklein.running.threads import ThreadWaits

T = TypeVar("T")

NOTICE_AFTER = 10.0  # the time that work waits before `notice` is called, in seconds
TIMEOUT = 5.0  # the time that work waits for work of another key, in seconds

QUEUE_LIMIT = 10_000  # the number of works that may wait in one queue, so that memory is limited if one never ends


class SerialQueue:
    """Runs work one after the other, each in the context of its caller. Work that had to wait begins in a reactor turn
    of its own, so a lot of short work neither blocks the reactor nor recurses. Twisted's DeferredLock recurses, and
    runs work in the context of the code that released the lock. With `hung_after`, work that has been running for so
    many seconds no longer delays the next."""

    def __init__(self, reactor: Any, hung_after: float | None = None) -> None:
        self._reactor = reactor
        self._hung_after = hung_after
        self._waiting: deque[tuple[Context, Callable[[], Any], Deferred[Any]]] = deque()
        self._running: Deferred[Any] | None = None  # the result of the work for which the next waits
        self._next: IDelayedCall | None = None
        self._notices: dict[Deferred[Any], IDelayedCall] = {}

    def run(self, work: Callable[[], Deferred[T]], notice: Callable[[], None] | None = None) -> Deferred[T]:
        """Run the work now or after all before it. If it hasn't begun after NOTICE_AFTER seconds, call `notice`."""
        done: Deferred[T] = Deferred()
        idle = self.idle
        self._waiting.append((copy_context(), work, done))
        if idle:
            self._begin()
        elif notice is not None:
            self._notices[done] = self._reactor.callLater(NOTICE_AFTER, copy_context().run, self._notify, done, notice)
        return done

    @property
    def idle(self) -> bool:
        return self._running is None and self._next is None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def stop(self) -> None:
        self._waiting.clear()
        while self._notices:
            self._notices.popitem()[1].cancel()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin(self) -> None:
        context, work, done = self._waiting.popleft()
        timer = self._notices.pop(done, None)
        if timer is not None:
            timer.cancel()
        self._running = done
        if self._hung_after is not None:
            self._next = self._reactor.callLater(self._hung_after, self._continue)
        context.run(maybeDeferred, work).addBoth(self._end, done)

    def _notify(self, done: Deferred[Any], notice: Callable[[], None]) -> None:
        del self._notices[done]
        notice()

    def _end(self, result: Any, done: Deferred[Any]) -> None:
        if self._running is done:
            if self._next is not None:
                self._next.cancel()
            self._running, self._next = None, self._reactor.callLater(0, self._continue) if self._waiting else None
        done.callback(result)

    def _continue(self) -> None:
        """Begin the next work, also if the running one hangs."""
        self._running = self._next = None
        if self._waiting:
            self._begin()


class KeyedQueueFull(Exception):
    """The work was not run, since too much work is waiting in its queue."""


@dataclass(frozen=True, eq=False, slots=True)
class QueuedWork:
    """Work in the queue of `key`, and a Deferred of its result."""

    key: Hashable
    result: Deferred[Any]


class KeyedQueues:
    """Runs work of one key one after the other, in order, and work of different keys concurrently. Use it on the
    reactor only."""

    def __init__(self, reactor: Any, timeout: float = TIMEOUT, limit: int = QUEUE_LIMIT) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._limit = limit
        self._queues: dict[Hashable, SerialQueue] = {}
        self._since: dict[Hashable, float] = {}
        self._waits: dict[Hashable, Deferred[Any]] = {}  # what the first work of a queue waits for in another one
        self._in_flight = InFlightCounter()

    def run(self, key: Hashable, work: Callable[[], Deferred[Any]], after: QueuedWork | None = None) -> QueuedWork:
        """Run the work after all work before it in the queue of the key, which may be now. It also waits for the work
        `after` of another key, for at most `timeout` seconds; not at all if that queue's current work has been running
        for so long. So slow work delays only its own queue. If the queue is full, the result fails with KeyedQueueFull.
        """
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = SerialQueue(self._reactor)
        if queue.waiting >= self._limit:
            return QueuedWork(key, fail(KeyedQueueFull(f"{queue.waiting} calls are waiting")))
        self._in_flight.enter()
        return QueuedWork(key, queue.run(partial(self._begin, key, work, after)).addBoth(self._ended, key))

    def when_idle(self) -> Deferred[None]:
        return self._in_flight.when_none()

    def stop(self) -> None:
        for queue in self._queues.values():
            queue.stop()
        while self._waits:
            self._waits.popitem()[1].cancel()

    def _begin(self, key: Hashable, work: Callable[[], Deferred[Any]], after: QueuedWork | None) -> Deferred[Any]:
        if after is None or after.result.called or self._is_slow(after.key):
            return self._start(key, work)
        waiting = self._waits[key] = result_within(self._reactor, self._timeout, after.result)
        return waiting.addBoth(self._go_on, key, work)

    def _go_on(self, _: object, key: Hashable, work: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        # A stopped queue has forgotten the work, which must neither begin nor end then.
        return Deferred() if self._waits.pop(key, None) is None else self._start(key, work)

    def _start(self, key: Hashable, work: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        self._since[key] = self._reactor.seconds()
        return work()

    def _is_slow(self, key: Hashable) -> bool:
        since = self._since.get(key)
        return since is not None and self._reactor.seconds() - since >= self._timeout

    def _ended(self, result: Any, key: Hashable) -> Any:
        self._since.pop(key, None)
        if self._queues[key].idle:
            del self._queues[key]
        self._in_flight.leave()
        return result


class TimeSlices:
    """Runs work in order: at once, until it has used `share` seconds of this reactor turn, then in the next turn. Work must
    not raise exceptions. Twisted's Cooperator keeps no order between tasks, and begins none of them before the next turn."""

    def __init__(self, reactor: Any, share: float = 0.01) -> None:
        self._reactor = reactor
        self._share = share
        self._waiting: deque[Callable[[], object]] = deque()
        self._next: IDelayedCall | None = None
        self._until = 0.0

    def do(self, work: Callable[[], object]) -> None:
        if not self._waiting and self.has_time():
            work()
        else:
            self._waiting.append(work)

    def stop(self) -> None:
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def has_time(self) -> bool:
        """Return whether this reactor turn has time left for work."""
        if self._next is None:
            self._until = self._reactor.seconds() + self._share
            self._next = self._reactor.callLater(0, self._turn)
            return True
        return bool(self._reactor.seconds() < self._until)

    def _turn(self) -> None:
        self._next = None
        while self._waiting and self.has_time():
            self._waiting.popleft()()


@dataclass(frozen=True)
class Workers:
    """Runners of plugins' code: commands in one pool, the rest in another. Filters and callbacks queue by plugin.
    `core` runs the core's own commands, so that they work while plugins hold all threads. `values` reads and writes
    plugins' values."""

    commands: Runner
    core: Runner
    others: Runner
    values: WorkerPool
    queues: KeyedQueues
    waits: ThreadWaits
