"""A clock for tests with real threads."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from twisted.internet.task import Clock


class ThreadClock(Clock):
    """A clock that runs calls from threads when the test waits for them."""

    def __init__(self) -> None:
        super().__init__()
        self._wakeups: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """Queue a call; used in other threads."""
        self._wakeups.put(lambda: callable(*args, **kwargs))

    def turn(self, timeout: float = 10.0) -> bool:
        """Run one call from a thread, if there is one within `timeout` seconds."""
        try:
            self._wakeups.get(timeout=timeout)()
        except Empty:
            return False
        return True
