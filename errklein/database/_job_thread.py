"""A thread that runs jobs one after the other, and something else regularly."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from errklein.running import start_daemon_thread


class ThreadReactor(Protocol):
    """The part of a reactor that the thread uses."""

    def callFromThread(self, callable: Callable[..., Any], *args: object) -> None:
        """Call the function on the reactor soon. May be called in any thread."""


class JobThread:
    """Runs functions in one thread, in the order in which they are passed.

    :param regularly: Called in the thread between two jobs, about once a second, and again at once while it returns True.
    """

    def __init__(
        self,
        reactor: ThreadReactor,
        name: str,
        regularly: Callable[[], bool] = lambda: False,
        start_thread: Callable[[Callable[[], None], str], None] = start_daemon_thread,
    ) -> None:
        self._reactor = reactor
        self._regularly = regularly
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = SimpleQueue()
        start_thread(self._work, name)

    def run(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Call the function in the thread. The Deferred fires on the reactor, with its result or exception."""
        done: Deferred[Any] = Deferred()
        self._jobs.put((function, done))
        return done

    def stop(self) -> None:
        """End the thread after the jobs that were passed to it."""
        self._jobs.put(None)

    def _work(self) -> None:
        due = monotonic() + 1.0
        while True:
            try:
                job = self._jobs.get(timeout=max(0.0, due - monotonic()))
            except Empty:
                pass
            else:
                if job is None:
                    return
                function, done = job
                try:
                    self._reactor.callFromThread(done.callback, function())
                except Exception as error:
                    self._reactor.callFromThread(done.errback, error)
                # An idle thread must not keep what it has written in memory.
                job = function = done = None  # type: ignore[assignment]
            if monotonic() >= due:
                due = monotonic() + (0.0 if self._regularly() else 1.0)
