"""A reactor that runs in a thread of its own, so that tests and programs which embed a bot may block.

There is one for the process, since a reactor can't be run twice; it is started by the first that needs it and runs
until the process ends.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache, partial
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.main import installReactor
from twisted.python import threadable
from twisted.python.threadpool import ThreadPool

from errklein.running._coroutines import install_task_factory
from errklein.running.threads import register_reactor_thread, unwrapped


class WaitTimeout(AssertionError):
    """The result of `ReactorThread.wait` did not arrive in time; an assertion of tests."""


class ReactorThread:
    """Runs `reactor`, which has an asyncio loop, in `thread`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.reactor: Any = AsyncioSelectorReactor(self._loop)
        self.thread = threading.Thread(target=self._run, name="errklein reactor", daemon=True)
        self._started = threading.Event()

    def start(self) -> None:
        """Start the thread, unless it runs already."""
        if not self._started.is_set():
            self.thread.start()
            self._started.wait()

    def wait(self, work: Callable[..., Any], *args: Any, timeout: float | None, what: str) -> Any:
        """What `work`, called on the reactor, returns or its Deferred fires with; raises what it fails with.

        Raises WaitTimeout, which names `what`, if that takes longer than `timeout` seconds; None waits as long as it takes.
        Not for the reactor's thread.
        """
        done: Future[Any] = Future()
        self.reactor.callFromThread(lambda: maybeDeferred(work, *args).addBoth(done.set_result))
        try:
            result = done.result(timeout)
        except TimeoutError:
            raise WaitTimeout(f"timed out after {timeout:g} s, waiting for {what}") from None
        return unwrapped(result)

    def _run(self) -> None:
        # The reactor's own threads would keep the process alive, since the reactor never stops.
        pool = ThreadPool(0, 10, "errklein reactor's threads")
        pool.threadFactory = partial(threading.Thread, daemon=True)  # type: ignore[assignment]
        self.reactor.threadpool = pool
        self.reactor.callWhenRunning(pool.start)
        asyncio.set_event_loop(self._loop)
        install_task_factory(self._loop)
        register_reactor_thread(self.reactor)
        known = threadable.ioThread
        self.reactor.callWhenRunning(self._running, known)
        self.reactor.run(installSignalHandlers=False)

    def _running(self, known: Any) -> None:
        if _global_reactor() is not self.reactor:
            # Twisted knows one reactor's thread, which is not this one's: whoever runs the other reactor relies on it.
            threadable.ioThread = known
        self._started.set()


@cache
def reactor_thread() -> ReactorThread:
    """The process's reactor for those who block; not started yet.

    It becomes the reactor that `from twisted.internet import reactor` means, so that what plugins use runs on it, unless
    there is one already, or trial is about to choose one.
    """
    made = ReactorThread()
    if _global_reactor() is None and "twisted.trial.runner" not in sys.modules:
        installReactor(made.reactor)
    return made


def _global_reactor() -> Any:
    return sys.modules.get("twisted.internet.reactor")
