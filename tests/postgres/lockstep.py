"""Processes on a virtual clock, with threads of which one runs at a time, so that a seed determines everything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

REACTOR = 0


class Killed(BaseException):
    """The process of a thread was killed."""


class Call:
    """A delayed call of a process."""

    def __init__(
        self, process: Process, lane: int, function: Callable[..., Any], arguments: tuple[object, ...]
    ) -> None:
        self._process = process
        self.lane = lane
        self._function = function
        self._arguments = arguments
        self._is_active = True
        self._timer: Any = None

    def start(self, delay: float) -> None:
        """Call it later."""
        # LoopingCall makes delays that are too small to change the time.
        self._timer = self._process.clock.callLater(max(delay, 1e-6), self.due)

    def reset(self, delay: float) -> None:
        """Call it at another time. One that waits for the end of a pause is called then."""
        if self._timer.active():
            self._timer.reset(max(delay, 1e-6))

    def getTime(self) -> float:
        """Return when it is called."""
        return self._timer.getTime() + self._process.offset

    def active(self) -> bool:
        """Return whether it is pending."""
        return self._is_active

    def cancel(self) -> None:
        """Don't call it."""
        self._is_active = False

    def due(self) -> None:
        """Call the function, or wait for the end of a pause."""
        if self._is_active and self._process.alive:
            if self.lane in self._process.paused or self._process.waiting.get(self.lane):
                self._process.waiting.setdefault(self.lane, []).append(self)
            else:
                self.run()

    def run(self) -> None:
        """Call the function."""
        if self._is_active and self._process.alive:
            self._is_active = False
            self._function(*self._arguments)


class Process:
    """A reactor and threads, each of which may be paused."""

    def __init__(self, clock: Clock, offset: float) -> None:
        self.clock = clock
        self.alive = True
        self.paused: set[int] = set()
        self.waiting: dict[int, list[Call]] = {}
        self.offset = offset
        self.threads: list[Thread] = []
        self.errors: list[Exception] = []

    def seconds(self) -> float:
        """Return the seconds since the boot of this machine."""
        return self.clock.seconds() + self.offset

    def callLater(self, delay: float, function: Callable[..., Any], *arguments: object) -> Call:
        """Call the function on the reactor."""
        return self.later(REACTOR, delay, function, *arguments)

    def callFromThread(self, function: Callable[..., Any], *arguments: object) -> None:
        """Call the function on the reactor soon."""
        self.later(REACTOR, 0.0, function, *arguments)

    def later(self, lane: int, delay: float, function: Callable[..., Any], *arguments: object) -> Call:
        """Call the function on the reactor or for a thread."""
        call = Call(self, lane, function, arguments)
        call.start(delay)
        return call

    def start_thread(self, function: Callable[[], None], name: str = "") -> Thread:
        """Run a function in a thread."""
        thread = Thread(self, len(self.threads) + 1, function)
        self.threads.append(thread)
        return thread

    def pause(self, lanes: set[int]) -> None:
        """Let nothing happen in these lanes."""
        self.paused |= lanes

    def resume(self, order: Callable[[list[int]], None]) -> None:
        """Let happen what is overdue, in the order of the lanes that the function makes."""
        self.paused.clear()
        lanes = list(self.waiting)
        order(lanes)
        for lane in lanes:
            while self.waiting.get(lane) and lane not in self.paused:
                self.waiting[lane].pop(0).run()

    def kill(self) -> None:
        """End everything."""
        self.alive = False
        for thread in self.threads:
            thread.kill()


class Thread:
    """A thread that runs only while the others wait for it."""

    def __init__(self, process: Process, lane: int, function: Callable[[], None]) -> None:
        self.process = process
        self.lane = lane
        self._function = function
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._awaited: object = None
        self._result: Any = None
        self._ended = False
        threading.Thread(target=self._run, daemon=True).start()
        process.later(lane, 0.0, self._continue)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        token = object()
        self.process.later(self.lane, seconds, self._arrive, token, None)
        self.wait_for(token)

    def wait_for(self, token: object) -> Any:
        """Wait until `deliver` is called for the token, and return the result, or raise the exception."""
        self._awaited = token
        self._back.release()
        self._go.acquire()
        if not self.process.alive:
            raise Killed
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    def deliver(self, token: object, result: Any = None) -> None:
        """End `wait_for`, unless something else has ended it."""
        self.process.later(self.lane, 0.0, self._arrive, token, result)

    def kill(self) -> None:
        """End the thread."""
        self._continue()

    def _arrive(self, token: object, result: Any) -> None:
        if self._awaited is token:
            self._result = result
            self._continue()

    def _continue(self) -> None:
        if not self._ended:
            self._awaited = None
            self._go.release()
            self._back.acquire()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if self.process.alive:
                self._function()
        except Killed:
            pass
        except Exception as error:
            self.process.errors.append(error)
        finally:
            self._ended = True
            self._back.release()
