"""A worker pool without threads, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from errklein.running import WorkerPool
from errklein.testing._loop import blocking_apart

T = TypeVar("T")


class InlinePool(WorkerPool):
    """Runs each job at once in the calling thread, so that a blocking handler is done when the call returns."""

    def run(self, prepare: Callable[[], Callable[[], T]], **options: object) -> Deferred[T]:
        """Return a Deferred that has already fired with the job's result or error."""

        def do() -> T:
            job = prepare()
            with blocking_apart():
                return job()

        return maybeDeferred(do)
