"""A pool without threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from errklein.running import WorkerPool, blocking_in_place

T = TypeVar("T")


class InlinePool(WorkerPool):
    """Runs each job at once, where it was asked for: a blocking handler is done when the call returns."""

    def run(self, prepare: Callable[[], Callable[[], T]], **options: object) -> Deferred[T]:
        """The Deferred has already fired with the job's result, or with what it raised."""

        def do() -> T:
            job = prepare()
            with blocking_in_place():
                return job()

        return maybeDeferred(do)
