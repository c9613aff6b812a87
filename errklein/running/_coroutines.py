"""Runs coroutines that may await both Deferreds and asyncio's futures.

With an asyncio reactor, a coroutine has an asyncio task, since libraries use the current task, and may await both. With any
other reactor it may await only Deferreds. A task factory lets tasks that a coroutine creates, for instance with
`asyncio.gather`, await Deferreds too.

A task costs more than most handlers. A coroutine therefore runs without one until something uses the current task: `_Steps`
runs each step, and an `_UnusedTask`, which has not been initialised, is the current task. The first use of one of its
attributes makes it a real task, which runs the later steps.

The loop of a test runs only while the test calls it. Its method `enter(function, *args)` calls a function while the
loop runs, and then all callbacks that are ready.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable, Coroutine, Generator
from contextvars import Context, copy_context
from inspect import CORO_CLOSED, getcoroutinestate
from threading import Event, get_ident
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


def start_coroutine(
    work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None, context: Context
) -> T | Deferred[T]:
    """Run the coroutine in the context until it waits, and return a Deferred of its result, which may be cancelled.

    If it ends without waiting, return its result, or raise its exception, instead. Call it on the reactor, not in
    `context`.
    """
    if loop is None:
        return context.run(Deferred.fromCoroutine, work)
    task = _UnusedTask.__new__(_UnusedTask)
    task.work = work
    task.loop = loop
    task.context = context
    task.steps = None
    if not loop.is_running():
        if hasattr(loop, "enter"):
            started: T | Deferred[T] = loop.enter(start_coroutine, work, loop, context)
            return started
        return _Steps(task, work, loop, context, None)
    # See https://docs.python.org/3/library/asyncio-extending.html.
    current = asyncio.current_task(loop)
    if current is not None:
        _leave_task(loop, current)
    _enter_task(loop, task)
    try:
        awaited = context.run(work.send, None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        _leave_task(loop, task)
        if current is not None:
            _enter_task(loop, current)
    return _Steps(task, work, loop, context, awaited)


def install_task_factory(loop: asyncio.AbstractEventLoop) -> None:
    """Let all tasks that are created on the loop from now on await Deferreds."""

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_bridge(_steps(work, loop)) if asyncio.iscoroutine(work) else work, loop=loop, **options)

    loop.set_task_factory(factory)


class _Task(asyncio.Task[Any]):
    """The task of a coroutine. `awaited` is what the last step awaited that `_Steps` ran."""

    __slots__ = ("awaited", "context", "loop", "steps", "work")

    awaited: Any
    context: Context
    loop: asyncio.AbstractEventLoop
    steps: _Steps | None
    work: Coroutine[Any, Any, Any]


class _UnusedTask(_Task):
    """A task that is initialised when something uses it."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        loop = object.__getattribute__(self, "loop")
        if getattr(loop, "_thread_id", None) not in (None, get_ident()):
            # The loop may run a step now. It can't answer while it waits for this thread, and then runs no other step.
            used = Event()
            loop.call_soon_threadsafe(getattr, self, name)
            loop.call_soon_threadsafe(used.set)
            used.wait(1)
        if type(self) is not _UnusedTask:
            return getattr(self, name)
        self.__class__ = _Task  # type: ignore[assignment]
        later = _bridge(_later_steps(self, self.work, self.loop))
        later.send(None)
        _Task.__init__(self, later, loop=self.loop, context=self.context)
        if self.steps is not None:
            self.steps.hand_over()
        elif getcoroutinestate(self.work) == CORO_CLOSED:
            self.__class__ = _EndedTask  # type: ignore[assignment]
        return getattr(self, name)

    def __await__(self) -> Any:
        # A special method is looked up in the class; this expression uses the task, whose class then differs.
        return self.__await__()


class _EndedTask(_Task):
    """A task that is first used after its coroutine has ended. asyncio would regard it as pending until the next turn."""

    __slots__ = ()

    def done(self) -> bool:
        return True

    def cancel(self, msg: Any = None) -> bool:
        return False

    def result(self) -> None:
        return None

    def exception(self) -> None:
        return None


class _Steps(Deferred[Any]):
    """The result of a coroutine. Runs the steps after the first, which awaits `awaited`; None is the loop's next turn.

    The callbacks run in the context of the caller, where the variables of the coroutine are not visible.
    """

    __slots__ = ("_awaited", "_caller", "_context", "_error", "_loop", "_task", "_work")

    def __init__(
        self,
        task: _Task,
        work: Coroutine[Any, Any, Any],
        loop: asyncio.AbstractEventLoop,
        context: Context,
        awaited: Any,
    ) -> None:
        super().__init__(_Steps._cancel)  # type: ignore[arg-type]
        self._task = task
        self._work = work
        self._loop = loop
        self._context = context
        self._caller = copy_context()
        self._awaited: Any = None
        self._error: BaseException | None = None
        task.steps = self
        self._wait(awaited)

    def hand_over(self) -> None:
        """Let the task run the later steps: it is used while the coroutine waits, or runs a step."""
        awaited = self._awaited
        if isinstance(awaited, Deferred):
            self._awaited = None
            self._wait(awaited)
        elif awaited is not None and awaited.remove_done_callback(self._step):
            awaited._asyncio_future_blocking = True
            self._wait(awaited)

    def _wait(self, awaited: Any) -> None:
        if self._error is not None:
            # Cancelled during the step.
            self._task.cancel()
        if type(self._task) is _Task:
            self._task.steps = None
            self._task.awaited = awaited
            self._task.add_done_callback(self._settle, context=self._caller)
            return
        self._awaited = awaited
        if isinstance(awaited, Deferred):
            awaited.addBoth(self._fired, awaited)
        elif getattr(awaited, "_asyncio_future_blocking", None) and awaited.get_loop() is self._loop:
            awaited._asyncio_future_blocking = False
            awaited.add_done_callback(self._step, context=self._caller)
        else:
            if awaited is not None:
                self._awaited = None
                self._error = RuntimeError(
                    f"{awaited!r} can't be awaited: it is neither a Deferred nor a future of the reactor's loop"
                )
            self._loop.call_soon(self._step, context=self._caller)

    def _fired(self, result: Any, awaited: Deferred[Any]) -> Any:
        """Continue after the Deferred has fired. The coroutine takes the result from it."""
        if self._awaited is not awaited:
            return result
        self._awaited = None
        if self._loop.is_running() or not hasattr(self._loop, "enter"):
            self._loop.call_soon(self._step, context=self._caller)
            return result
        # The coroutine continues before the Deferred has its result, and can't take a failure from it.
        if isinstance(result, Failure):
            self._error, result = result.value, None
        self._loop.enter(self._caller.run, self._step)
        return result

    def _step(self, _: object = None) -> None:
        self._awaited = None
        error, self._error = self._error, None
        _enter_task(self._loop, self._task)
        try:
            work, run = self._work, self._context.run
            awaited = run(work.send, None) if error is None else run(work.throw, error)
        except StopIteration as stop:
            result = stop.value
        except BaseException:
            result = Failure()
        else:
            self._wait(awaited)
            return
        finally:
            _leave_task(self._loop, self._task)
        self._task.steps = None
        if not self.called:
            # A Failure makes this an errback.
            self.callback(result)
        # A Failure refers to this frame.
        del result

    def _cancel(self) -> None:
        awaited = self._awaited
        if type(self._task) is _Task:
            self._task.cancel()
        elif isinstance(awaited, Deferred):
            self._awaited = None
            self._error = asyncio.CancelledError()
            self._loop.call_soon(self._step, context=self._caller)
            _cancel(awaited)
        elif awaited is None or not awaited.cancel():
            self._error = asyncio.CancelledError()

    def _settle(self, task: asyncio.Task[Any]) -> None:
        if self.called:
            return
        try:
            result = unwrapped(task.result())
        except BaseException:
            result = Failure()
        self.callback(result)


async def _bridge(steps: Awaitable[T]) -> T:
    try:
        return await steps
    except (SystemExit, KeyboardInterrupt):
        # If a task raises them, they end the event loop. As its result, they fail the Deferred like any other error.
        return Failure()  # type: ignore[return-value]


@coroutine
def _later_steps(
    task: _Task, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop
) -> Generator[Any, Any, T | None]:
    """Yield None until the step has ended that began without the task, and run the steps after it."""
    value: Any = None
    error: BaseException | None = None
    try:
        yield
    except GeneratorExit:
        work.close()
        raise
    except BaseException as raised:
        error = raised
    if not hasattr(task, "awaited"):
        return None
    if error is None:
        value, error = yield from _outcome(task.awaited, work, loop)
    else:
        _cancel(task.awaited)
    return (yield from _steps(work, loop, value, error))


@coroutine
def _steps(
    work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, value: Any = None, error: BaseException | None = None
) -> Generator[Any, Any, T]:
    while True:
        try:
            awaited = work.send(value) if error is None else work.throw(error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        value, error = yield from _outcome(awaited, work, loop)


@coroutine
def _outcome(
    awaited: Any, work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop
) -> Generator[Any, Any, tuple[Any, BaseException | None]]:
    """Wait, and return what is to be sent into the coroutine, and the exception to be raised there."""
    try:
        if isinstance(awaited, Deferred):
            yield from _fired(awaited, loop).__await__()
            return None, None
        return (yield awaited), None
    except GeneratorExit:
        work.close()
        raise
    except BaseException as raised:
        return None, raised


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
            _cancel(deferred)

    future.add_done_callback(cancelled)
    return future


def _cancel(awaited: Any) -> None:
    """Cancel what a coroutine awaits. The coroutine gets asyncio's CancelledError from elsewhere."""
    if isinstance(awaited, Deferred):
        awaited.addErrback(lambda _: None)
    if hasattr(awaited, "cancel"):
        awaited.cancel()
