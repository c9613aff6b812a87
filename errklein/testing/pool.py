"""A pool without threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from errklein.running import WorkerPool
from errklein.running.threads import blocking_in_place

T = TypeVar("T")


class InlinePool(WorkerPool):
    """Runs each job at once, where it was asked for: a blocking handler is done when the call returns."""

    def __init__(self, reactor: Any, name: str, size: int = 1, **limits: Any) -> None:
        super().__init__(reactor, name, size, **limits)

    def run(
        self, prepare: Callable[[], Callable[[], T]], *, admitted: bool = False, name: Callable[[], str] | None = None
    ) -> Deferred[T]:
        """The Deferred has already fired with the job's result, or with what it raised."""
        return maybeDeferred(self._do, prepare)

    def _do(self, prepare: Callable[[], Callable[[], T]]) -> T:
        job = prepare()
        with blocking_in_place():
            return job()
