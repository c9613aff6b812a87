"""A job for a thread of a pool, and the job that the calling thread runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class ReplacesThreads(Protocol):
    """A pool in which another thread takes the place of one that waits."""

    def waits_for_reactor(self, job: Job, waits: bool) -> None:
        """Note that the job begins to wait for the reactor, or goes on. Called on the reactor."""


class _Running(threading.local):
    job: Job | None = None


_running = _Running()


def running_job() -> Job | None:
    """Return the job that the calling thread runs; None if the thread isn't one of a pool."""
    return _running.job


@dataclass(eq=False, slots=True)
class Job:
    """A function to call in a thread, which `prepare` returns on the reactor, and its result."""

    pool: ReplacesThreads
    prepare: Callable[[], Callable[[], Any]]
    since: float
    """The time when the job began to wait; later, the time when it was passed to a thread."""
    origin: str
    admitted: bool
    name: Callable[[], str]
    replaced: bool = False
    """Whether its thread doesn't count, so that another one can take its place."""
    deferred: Deferred[Any] = field(default_factory=Deferred)
    function: Callable[[], Any] | None = None
    result: Any = None

    def run(self) -> None:
        """Call the function and keep its result, or the Failure of its exception. Called in a thread."""
        assert self.function is not None
        _running.job = self
        try:
            self.result = self.function()
        except BaseException:
            self.result = Failure()
        _running.job = self.function = None
