"""Drives a coroutine that may await Deferreds and asyncio's futures alike.

With an asyncio reactor the coroutine runs as an asyncio task, since libraries ask for the current task; each Deferred
that it yields is turned into a future. With any other reactor it may await Deferreds only. Where the coroutine makes
tasks of others, as `asyncio.gather` does, the loop's task factory lets those await Deferreds too.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def loop_of(reactor: Any) -> asyncio.AbstractEventLoop | None:
    """The event loop that `reactor` runs on; None if it is no asyncio reactor."""
    loop = getattr(reactor, "_asyncioEventloop", None)
    return loop if isinstance(loop, asyncio.AbstractEventLoop) else None


def drive(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None) -> Deferred[T]:
    """Run the coroutine, from now on, on the reactor. The Deferred fires with its result and may be cancelled."""
    if loop is None:
        return Deferred.fromCoroutine(work)
    task: asyncio.Task[T]
    if sys.version_info >= (3, 12) and loop.is_running():
        # Without a turn of the loop for a coroutine that has nothing to wait for.
        task = asyncio.Task(_bridge(work, loop), loop=loop, eager_start=True)
    else:
        task = asyncio.Task(_bridge(work, loop), loop=loop)

    def cancel(_: Deferred[T]) -> None:
        task.cancel()

    result: Deferred[T] = Deferred(cancel)
    if task.done():
        _settle(task, result)
    else:
        task.add_done_callback(lambda finished: _settle(finished, result))
    return result


def let_tasks_await_deferreds(loop: asyncio.AbstractEventLoop) -> None:
    """Have every task that is made on the loop from now on able to await Deferreds."""

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_bridge(work, loop) if asyncio.iscoroutine(work) else work, loop=loop, **options)

    loop.set_task_factory(factory)


def _settle(task: asyncio.Task[T], result: Deferred[T]) -> None:
    if result.called:
        return
    if task.cancelled():
        result.errback(Failure(asyncio.CancelledError()))
        return
    error = task.exception()
    if error is None:
        result.callback(task.result())
    else:
        result.errback(Failure(error))


async def _bridge(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    try:
        return await _steps(work, loop)
    except (SystemExit, KeyboardInterrupt):
        # Raised by a task, they would end the event loop. As its result they fail the Deferred, like any other error.
        return Failure()  # type: ignore[return-value]


@coroutine
def _steps(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> Generator[Any, Any, T]:
    error: BaseException | None = None
    value: Any = None
    while True:
        try:
            awaited = work.throw(error) if error is not None else work.send(value)
        except StopIteration as stop:
            result: T = stop.value
            return result
        error = value = None
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
    """A future that is done when `deferred` has fired; the coroutine then takes the result from the Deferred itself."""
    future: asyncio.Future[None] = loop.create_future()

    def done(result: Any) -> Any:
        if not future.done():
            future.set_result(None)
        return result

    deferred.addBoth(done)

    def cancelled(finished: asyncio.Future[None]) -> None:
        if finished.cancelled():
            # The coroutine has got asyncio's CancelledError; nobody is left to take this one.
            deferred.addErrback(lambda _: None)
            deferred.cancel()

    future.add_done_callback(cancelled)
    return future
