"""The thread in which a blocking backend runs."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class NetworkThread:
    """A daemon thread that executes functions one at a time: those of `do`, then that of `begin`.

    The thread has its own asyncio event loop, like a main thread. The loop runs only if the backend runs it.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._busy = threading.Lock()
        self._interruptible = False
        self._thread.start()

    def do(self, function: Callable[[], T]) -> T:
        """Call the function in the thread and wait; return its result or raise its exception."""
        done: Future[T] = Future()

        def job() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self._jobs.put(job)
        return done.result()

    def begin(self, function: Callable[[], None], ended: Callable[[], None]) -> None:
        """Call the function in the thread, and then `ended` in the same thread.

        Returns at once; `interrupt` stops the function.
        """

        def job() -> None:
            try:
                with self._busy:
                    self._interruptible = True
                function()
            except KeyboardInterrupt:
                pass
            finally:
                with self._busy:
                    self._interruptible = False
                ended()

        self._jobs.put(job)

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the function of `begin`, as Ctrl-C does in a main thread.

        It is raised when the thread next executes Python code or an iteration of its asyncio loop.
        """
        with self._busy:
            if not self._interruptible:
                return
            loop = self._running_loop()
            if loop is not None:
                # An idle loop waits for its sockets and must be woken.
                loop.call_soon_threadsafe(_ctrl_c)
            elif self._thread.ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread.ident), ctypes.py_object(KeyboardInterrupt)
                )

    def end(self) -> None:
        """Let the thread end after the queued functions."""
        self._jobs.put(None)

    def _running_loop(self) -> asyncio.AbstractEventLoop | None:
        frame = sys._current_frames().get(self._thread.ident or 0)
        while frame is not None:
            owner = frame.f_locals.get("self") if frame.f_code.co_name == "run_forever" else None
            if isinstance(owner, asyncio.AbstractEventLoop):
                return owner
            frame = frame.f_back
        return None

    def _work(self) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        while (job := self._jobs.get()) is not None:
            job()
        if not loop.is_running():
            loop.close()


def _ctrl_c() -> None:
    raise KeyboardInterrupt
