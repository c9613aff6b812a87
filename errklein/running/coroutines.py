"""Drives a coroutine that may await Deferreds and asyncio's futures alike.

With an asyncio reactor the coroutine runs as an asyncio task, since libraries ask for the current task; each Deferred
that it yields is turned into a future. With any other reactor it may await Deferreds only. Where the coroutine makes
tasks of others, as `asyncio.gather` does, the loop's task factory lets those await Deferreds too.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

T = TypeVar("T")


def loop_of(reactor: Any) -> asyncio.AbstractEventLoop | None:
    """The event loop that `reactor` runs on; None if it is no asyncio reactor."""
    loop = getattr(reactor, "_asyncioEventloop", None)
    return loop if isinstance(loop, asyncio.AbstractEventLoop) else None


def drive(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None) -> Deferred[T]:
    """Run the coroutine, from now on, on the reactor. The Deferred fires with its result and may be cancelled."""
    try:
        begun = begin(work, loop)
    except BaseException:
        return fail(Failure())
    return begun if isinstance(begun, Deferred) else succeed(begun)


def begin(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None) -> T | Deferred[T]:
    """As `drive`; what needn't wait for anything is done when this returns its result, or raises what it raises."""
    if loop is None:
        return Deferred.fromCoroutine(work)
    if not loop.is_running():
        task = asyncio.Task(_bridge(work, loop), loop=loop)
    elif sys.version_info >= (3, 12):
        # Without a turn of the loop for a coroutine that has nothing to wait for.
        task = asyncio.Task(_bridge(work, loop), loop=loop, eager_start=True)
        if task.done():
            return _result(task)
    else:
        task, done = _begun_by_hand(work, loop)
        if done is not None:
            return done.result()
    started: asyncio.Task[T] = task

    def cancel(_: Deferred[T]) -> None:
        started.cancel()

    result: Deferred[T] = Deferred(cancel)
    started.add_done_callback(lambda finished: _settle(finished, result))
    return result


def let_tasks_await_deferreds(loop: asyncio.AbstractEventLoop) -> None:
    """Have every task that is made on the loop from now on able to await Deferreds."""

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_bridge(work, loop) if asyncio.iscoroutine(work) else work, loop=loop, **options)

    loop.set_task_factory(factory)


def _settle(task: asyncio.Task[T], result: Deferred[T]) -> None:
    if result.called:
        return
    try:
        value = _result(task)
    except BaseException:
        result.errback(Failure())
    else:
        result.callback(value)


def _result(task: asyncio.Task[T]) -> T:
    if task.cancelled():
        raise asyncio.CancelledError
    value = task.result()
    if isinstance(value, Failure):
        value.raiseException()
    return value


async def _bridge(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    try:
        return await _steps(work, loop)
    except (SystemExit, KeyboardInterrupt):
        # Raised by a task, they would end the event loop. As its result they fail the Deferred, like any other error.
        return Failure()  # type: ignore[return-value]


@coroutine
def _steps(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> Generator[Any, Any, T]:
    try:
        awaited = work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    return (yield from _rest(work, loop, awaited, None))


def _rest(
    work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, awaited: Any, error: BaseException | None
) -> Generator[Any, Any, T]:
    """The steps of a coroutine that awaits something, or is about to get an error there."""
    while True:
        value: Any = None
        if error is None:
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
        try:
            awaited = work.throw(error) if error is not None else work.send(value)
        except StopIteration as stop:
            result: T = stop.value
            return result
        error = None


class _Done(Generic[T]):
    """How a coroutine ended in its first step."""

    def __init__(self, value: T | Failure) -> None:
        self._value = value

    def result(self) -> T:
        if isinstance(self._value, Failure):
            self._value.raiseException()
        return self._value


def _begun_by_hand(
    work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop
) -> tuple[asyncio.Task[T], _Done[T] | None]:
    """A task whose first step has been taken, as later Pythons do it themselves, and how it ended if it is done.

    The step sees the task as the current one, by what asyncio has for those who extend it:
    https://docs.python.org/3/library/asyncio-extending.html
    """
    context = copy_context()
    steps = _first_and_rest(work, loop)
    task: asyncio.Task[T] = asyncio.Task(steps, loop=loop, context=context)
    current = asyncio.current_task(loop)
    if current is not None:
        asyncio.tasks._leave_task(loop, current)
    asyncio.tasks._enter_task(loop, task)
    try:
        done = context.run(steps.send, None)
    finally:
        asyncio.tasks._leave_task(loop, task)
        if current is not None:
            asyncio.tasks._enter_task(loop, current)
    return task, done


def _first_and_rest(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> Generator[Any, Any, Any]:
    """Yields after the first step, to whom has taken it; the loop finds it when it takes the first step of the task."""
    try:
        awaited = work.send(None)
    except StopIteration as stop:
        yield _Done(stop.value)
        return None
    except BaseException:
        yield _Done(Failure())
        return None
    error: BaseException | None = None
    try:
        yield None
    except GeneratorExit:
        work.close()
        raise
    except BaseException as raised:
        error = raised
    try:
        return (yield from _rest(work, loop, awaited, error))
    except (SystemExit, KeyboardInterrupt):
        return Failure()


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
