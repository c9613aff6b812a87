"""Queues of work by key.

Work of one key runs one after the other, in order. Work of different keys runs concurrently.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall

from errklein.running._in_flight import InFlightCounter
from errklein.running._serial_queue import SerialQueue

TIMEOUT = 5.0
"""The time that work waits for work of another key, in seconds."""

QUEUE_LIMIT = 10_000
"""The number of works that may wait in one queue, so that memory is limited if one never ends."""


class KeyedQueueFull(Exception):
    """The work was not run, since too much work is waiting in its queue."""


@dataclass(eq=False, slots=True)
class QueuedWork:
    """Work in the queue of `key`. `result` fires with its result; the functions in `when_ended` are called at its end."""

    key: Hashable
    result: Deferred[Any] = field(init=False)
    has_ended: bool = False
    when_ended: list[Callable[[], None]] = field(default_factory=list)


class KeyedQueues:
    """Runs work in the order of its queue. Use it on the reactor only."""

    def __init__(self, reactor: Any, timeout: float = TIMEOUT, limit: int = QUEUE_LIMIT) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._limit = limit
        self._queues: dict[Hashable, SerialQueue] = {}
        self._since: dict[Hashable, float] = {}
        self._timers: set[IDelayedCall] = set()
        self._in_flight = InFlightCounter()

    def run(self, key: Hashable, work: Callable[[], Deferred[Any]], after: QueuedWork | None = None) -> QueuedWork:
        """Run the work after all work before it in the queue of the key, which may be now.

        It also waits for the work `after` of another key, for at most `timeout` seconds; not at all if that queue's
        current work has been running for so long. So slow work delays only its own queue. If the queue is full, the
        result fails with KeyedQueueFull.
        """
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = SerialQueue(self._reactor)
        queued = QueuedWork(key)
        if queue.waiting >= self._limit:
            queued.has_ended = True
            queued.result = fail(KeyedQueueFull(f"{queue.waiting} calls are waiting"))
            return queued
        self._in_flight.enter()
        queued.result = queue.run(partial(self._begin, queued, work, after)).addBoth(self._ended, queued)
        return queued

    def when_idle(self) -> Deferred[None]:
        """Return a Deferred that fires when all queues are empty."""
        return self._in_flight.when_none()

    def stop(self) -> None:
        """Forget the work that hasn't begun."""
        for queue in self._queues.values():
            queue.stop()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _begin(self, queued: QueuedWork, work: Callable[[], Deferred[Any]], after: QueuedWork | None) -> Deferred[Any]:
        if after is None or after.has_ended or self._is_slow(after.key):
            return self._start(None, queued, work)
        return self._wait_for(after).addCallback(self._start, queued, work)

    def _start(self, _: None, queued: QueuedWork, work: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        self._since[queued.key] = self._reactor.seconds()
        return work()

    def _is_slow(self, key: Hashable) -> bool:
        since = self._since.get(key)
        return since is not None and self._reactor.seconds() - since >= self._timeout

    def _wait_for(self, other: QueuedWork) -> Deferred[None]:
        waited: Deferred[None] = Deferred()

        def go_on() -> None:
            if timer in self._timers:
                self._timers.discard(timer)
                if timer.active():
                    timer.cancel()
                waited.callback(None)

        timer: IDelayedCall = self._reactor.callLater(self._timeout, go_on)
        self._timers.add(timer)
        other.when_ended.append(go_on)
        return waited

    def _ended(self, result: Any, queued: QueuedWork) -> Any:
        self._since.pop(queued.key, None)
        if self._queues[queued.key].idle:
            del self._queues[queued.key]
        self._in_flight.leave()
        queued.has_ended = True
        for call in queued.when_ended:
            call()
        return result
