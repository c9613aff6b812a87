"""Runs coroutines that may await both Deferreds and asyncio's futures.

With an asyncio reactor, a coroutine runs as an asyncio task, since libraries use the current task, and each Deferred
that it awaits becomes a future. With any other reactor it may await only Deferreds. A task factory lets tasks that a
coroutine creates, for instance with `asyncio.gather`, await Deferreds too.

The loop of a test runs only while the test calls it. Its method `enter(function, *args)` calls a function while the
loop runs, and then all callbacks that are ready.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from errklein.running.threads import unwrapped

T = TypeVar("T")


def loop_of(reactor: Any) -> asyncio.AbstractEventLoop | None:
    """Return the event loop of the reactor; None if it isn't an asyncio reactor."""
    loop = getattr(reactor, "_asyncioEventloop", None)
    return loop if isinstance(loop, asyncio.AbstractEventLoop) else None


def start_coroutine(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None) -> T | Deferred[T]:
    """Run the coroutine on the reactor until it waits, and return a Deferred of its result, which may be cancelled.

    If it ends without waiting, return its result, or raise its exception, instead.
    """
    if loop is None:
        return Deferred.fromCoroutine(work)
    task: asyncio.Task[Any]
    if not loop.is_running():
        if hasattr(loop, "enter"):
            started: T | Deferred[T] = loop.enter(start_coroutine, work, loop)
            return started
        task = asyncio.Task(_bridge(work, loop), loop=loop)
    elif sys.version_info >= (3, 12):
        task = asyncio.Task(_bridge(work, loop), loop=loop, eager_start=True)
        if task.done():
            return _result(task)
    else:
        # Equivalent to an eager task in later versions: the first step runs here, and the task begins with the second.
        steps = _steps(work, loop)
        awaited: list[Any] = [None]
        later = _later_steps(steps, awaited)
        later.send(None)
        context = copy_context()
        task = asyncio.Task(later, loop=loop, context=context)
        current = asyncio.current_task(loop)
        # See https://docs.python.org/3/library/asyncio-extending.html.
        if current is not None:
            asyncio.tasks._leave_task(loop, current)
        asyncio.tasks._enter_task(loop, task)
        try:
            awaited.append(context.run(steps.send, None))
        except StopIteration as stop:
            value: T = stop.value
            return value
        finally:
            asyncio.tasks._leave_task(loop, task)
            if current is not None:
                asyncio.tasks._enter_task(loop, current)

    def cancel(_: Deferred[T]) -> None:
        task.cancel()

    result: Deferred[T] = Deferred(cancel)
    task.add_done_callback(lambda finished: _settle(finished, result))
    return result


def install_task_factory(loop: asyncio.AbstractEventLoop) -> None:
    """Let all tasks that are created on the loop from now on await Deferreds."""

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_bridge(work, loop) if asyncio.iscoroutine(work) else work, loop=loop, **options)

    loop.set_task_factory(factory)


def _settle(task: asyncio.Task[Any], result: Deferred[Any]) -> None:
    if result.called:
        return
    try:
        value = _result(task)
    except BaseException:
        result.errback(Failure())
    else:
        result.callback(value)


def _result(task: asyncio.Task[Any]) -> Any:
    return unwrapped(task.result())


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
        value = error = None
        try:
            if isinstance(awaited, Deferred):
                yield from _fired(awaited, loop).__await__()
            else:
                value = yield awaited
        except GeneratorExit:
            work.close()
            raise
        except BaseException as raised:
            error = raised


def _fired(deferred: Deferred[Any], loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """Return a future that is done when the Deferred has fired. The coroutine takes the result from the Deferred."""
    future: asyncio.Future[None] = loop.create_future()

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

    deferred.addBoth(done)

    def cancelled(finished: asyncio.Future[None]) -> None:
        if finished.cancelled():
            # The coroutine got asyncio's CancelledError, so nothing else handles this error.
            deferred.addErrback(lambda _: None)
            deferred.cancel()

    future.add_done_callback(cancelled)
    return future


@coroutine
def _later_steps(steps: Generator[Any, Any, Any], awaited: list[Any]) -> Generator[Any, Any, Any]:
    """Yield None until other code has run the first step; `awaited` then contains what that step awaits, if anything."""
    has_begun = False
    try:
        while awaited:
            try:
                yield awaited.pop()
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:
                awaited[:] = [steps.throw(error)]
            else:
                if has_begun:
                    return (yield from steps)
            has_begun = True
    except StopIteration as stop:
        return stop.value
    except (SystemExit, KeyboardInterrupt):
        return Failure()
