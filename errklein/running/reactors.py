"""Coroutines that may await both Deferreds and asyncio's futures, and the asyncio reactor: its installation, and one in
a separate thread, for tests and programs that embed a bot and block. With an asyncio reactor, a coroutine has an
asyncio task, since libraries use the current task. From Python 3.12 on, the task is eager: it runs its first step at
once, and most handlers need no other. With any other reactor, a coroutine may await only Deferreds. The loop of a test
runs only while the test calls it. Its method `enter(function, *args)` calls a function while the loop runs, and then
all callbacks that are ready."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import cache, partial
from types import coroutine
from typing import Any, NoReturn, TypeVar

from twisted.internet import asyncioreactor
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.main import installReactor
from twisted.python import threadable
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from errklein.chat.handles import Handle, without_handle
from errklein.running.threads import register_reactor_thread, unwrapped

T = TypeVar("T")

_OPTIONS: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


def start_coroutine(
    work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None, context: Context
) -> T | Deferred[T]:
    """Run the coroutine in the context, and return a Deferred of its result, which may be cancelled. If its task is
    eager and it ends without waiting, return its result, or raise its exception, instead. The callbacks of the Deferred
    run in the context of the caller. Call it on the reactor, not in `context`. What `send` returns counts as None."""
    if loop is None:
        return context.run(Deferred.fromCoroutine, work).addCallback(without_handle)
    if not loop.is_running() and hasattr(loop, "enter"):
        started: T | Deferred[T] = loop.enter(start_coroutine, work, loop, context)
        return started
    task = asyncio.Task(_bridge(work, loop), loop=loop, context=context, **_OPTIONS)
    try:
        if task.done():
            value = unwrapped(task.result())
            return None if isinstance(value, Handle) else value  # type: ignore[return-value]
        result: Deferred[T] = Deferred(lambda _, task=task: task.cancel())  # type: ignore[misc]
        task.add_done_callback(partial(_settle, result, work), context=copy_context())
        return result
    finally:
        # The traceback of an exception, which the task refers to, refers to this frame.
        del task


def install_task_factory(loop: asyncio.AbstractEventLoop) -> None:
    """Let all tasks that are created on the loop from now on, for instance by `asyncio.gather`, await Deferreds."""

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_bridge(work, loop) if asyncio.iscoroutine(work) else work, loop=loop, **options)

    loop.set_task_factory(factory)


def _settle(result: Deferred[Any], work: Coroutine[Any, Any, Any], task: asyncio.Task[Any]) -> None:
    # A task that was cancelled before its first step has never begun the coroutine.
    work.close()
    if result.called:
        return
    try:
        outcome = task.result()
        if isinstance(outcome, Handle):
            outcome = None
    except BaseException:
        outcome = Failure()
    # A Failure makes this an errback.
    result.callback(outcome)
    # The traceback of an exception, which the task refers to, refers to this frame.
    del outcome, task


async def _bridge(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    try:
        return await _steps(work, loop)
    except (SystemExit, KeyboardInterrupt):
        # If a task raises them, they end the event loop. As its result, they fail the Deferred like any other error.
        return Failure()  # type: ignore[return-value]


@coroutine
def _steps(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> Generator[Any, Any, T]:
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            awaited = work.send(value) if error is None else work.throw(error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            # The traceback of the exception refers to this frame.
            error = None
        try:
            value = (yield from _fired(awaited, loop)) if isinstance(awaited, Deferred) else (yield awaited)
        except GeneratorExit:
            # The garbage collector may have closed the coroutine before.
            work.close()
            raise
        except BaseException as raised:
            error = raised


def _fired(deferred: Deferred[Any], loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
    """Return a future that is done when the Deferred has fired. The coroutine takes the result from the Deferred."""
    future: asyncio.Future[Any] = loop.create_future()

    def done(result: Any) -> Any:
        if future.done():
            return result
        if loop.is_running() or not hasattr(loop, "enter"):
            future.set_result(None)
            return result
        # The coroutine continues before the Deferred has its result, and can't take a failure from it.
        if isinstance(result, Failure):
            loop.enter(future.set_exception, result.value)
            return None
        loop.enter(future.set_result, None)
        return result

    def cancelled(finished: asyncio.Future[Any]) -> None:
        if finished.cancelled():
            deferred.addErrback(lambda _: None)
            deferred.cancel()

    deferred.addBoth(done)
    future.add_done_callback(cancelled)
    return future


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
        """Call `work` on the reactor and return its result, or that of the Deferred that it returns. Raises its exceptions,
        and after `timeout` seconds WaitTimeout, whose text contains `what`. Don't call it in the reactor's thread."""
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
    """Return the process's only ReactorThread, since a reactor can't run twice. It may not be started yet, and runs until the
    process ends. Its reactor becomes `twisted.internet.reactor`, so that everything plugins use runs on it, unless there is a
    reactor already or trial is about to choose one."""
    made = ReactorThread()
    if _global_reactor() is None and "twisted.trial.runner" not in sys.modules:
        installReactor(made.reactor)
    return made


def _global_reactor() -> Any:
    return sys.modules.get("twisted.internet.reactor")


class CannotRestart(Exception):
    """This process can't be restarted. The text is one line with the reason."""


def cannot_restart(*, at_once: bool = False) -> NoReturn:
    """Raise CannotRestart. Used as the restart function of a bot that isn't run by twistd."""
    raise CannotRestart("the program that runs this bot must start it again")
