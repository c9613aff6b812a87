"""The asyncio reactor: its installation, and one in a separate thread, for tests and programs that embed a bot and block. A
process has one such thread, since a reactor can't run twice. It is started on first use and runs until the process ends."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache, partial
from typing import Any

from twisted.internet import asyncioreactor
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.main import installReactor
from twisted.python import threadable
from twisted.python.threadpool import ThreadPool

from errklein.running._coroutines import install_task_factory
from errklein.running.threads import register_reactor_thread, unwrapped


def install_asyncio_reactor() -> None:
    """Install the asyncio reactor, unless the process has a reactor already."""
    if "twisted.internet.reactor" in sys.modules:
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)


class WaitTimeout(AssertionError):
    """The result of `ReactorThread.wait` didn't arrive in time. It is an AssertionError, for tests."""


class ReactorThread:
    """Runs `reactor`, which has an asyncio loop, in `thread`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.reactor: Any = AsyncioSelectorReactor(self._loop)
        self.thread = threading.Thread(target=self._run, name="errklein reactor", daemon=True)
        self._started = threading.Event()

    def start(self) -> None:
        if not self._started.is_set():
            self.thread.start()
            self._started.wait()

    def wait(self, work: Callable[..., Any], *args: Any, timeout: float | None, what: str) -> Any:
        """Call `work` on the reactor and return its result, or that of the Deferred that it returns. Raises its
        exceptions. Raises WaitTimeout, whose text contains `what`, after `timeout` seconds; None means no timeout.
        Don't call it in the reactor's thread."""
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
            # Twisted knows the thread of one reactor only. Code that uses the other reactor relies on that.
            threadable.ioThread = known
        self._started.set()


@cache
def reactor_thread() -> ReactorThread:
    """Return the process's ReactorThread, which may not be started yet. Its reactor becomes `twisted.internet.reactor`,
    so that everything plugins use runs on it, unless there is a reactor already or trial is about to choose one."""
    made = ReactorThread()
    if _global_reactor() is None and "twisted.trial.runner" not in sys.modules:
        installReactor(made.reactor)
    return made


def _global_reactor() -> Any:
    return sys.modules.get("twisted.internet.reactor")
