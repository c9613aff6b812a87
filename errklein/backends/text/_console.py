"""The interface of consoles, and non-blocking output to a file descriptor."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed

_ATOMIC = 4096
"""Number of bytes that a ready pipe accepts without blocking (PIPE_BUF on Linux)."""


class Console(Protocol):
    """The input and output of a text conversation. Methods are called on the reactor."""

    def start(self) -> None:
        """Start to read input."""

    def show(self, text: str) -> Deferred[None]:
        """Show a message. Fires when it is written."""

    def show_name(self, name: str) -> None:
        """Set the name in the prompt."""

    def close(self) -> Deferred[None]:
        """Stop reading input. Fires when no thread of the console is left."""


class Writer:
    """Writes to a file descriptor without blocking the reactor.

    Text that fits is written at once, and other text in a thread. If writing fails, for example because the reader has
    closed a pipe, `broken` is called once and all further text is dropped. Without a descriptor all text is dropped.

    :param reactor: The reactor.
    :param descriptor: The file descriptor, which is never closed; None to drop all text.
    :param encoding: The encoding of the text.
    :param broken: Called on the reactor when writing fails.
    """

    def __init__(self, reactor: Any, descriptor: int | None, encoding: str, broken: Callable[[], None]) -> None:
        self._reactor = reactor
        self._descriptor = -1 if descriptor is None else descriptor
        self._encoding = encoding
        self._broken: Callable[[], None] | None = None if descriptor is None else broken
        self._jobs: SimpleQueue[tuple[bytes, Deferred[None]] | None] = SimpleQueue()
        self._queued = 0
        self._running = False
        self._poll = select.poll()
        if descriptor is not None:
            self._poll.register(descriptor, select.POLLOUT)

    def write(self, text: str) -> Deferred[None]:
        """Write the text without other output in between. Fires when it is written or dropped."""
        data = text.encode(self._encoding, "replace")
        if self._broken is None:
            return succeed(None)
        if self._queued == 0 and len(data) <= _ATOMIC and self._poll.poll(0):
            try:
                written = os.write(self._descriptor, data)
            except BlockingIOError:
                written = 0
            except OSError:
                self._break()
                return succeed(None)
            data = data[written:]
            if not data:
                return succeed(None)
        done: Deferred[None] = Deferred()
        self._queued += 1
        self._jobs.put((data, done))
        if not self._running:
            self._running = True
            threading.Thread(target=self._work, name="errklein standard output", daemon=True).start()
        return done

    def close(self) -> None:
        """End the thread after it has written the queued text."""
        self._jobs.put(None)

    def _work(self) -> None:
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        while (job := self._jobs.get()) is not None:
            data, done = job
            failed = False
            while data and not failed:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:
                    ready.poll()
                except OSError:
                    failed = True
            self._reactor.callFromThread(self._written, done, failed)

    def _written(self, done: Deferred[None], failed: bool) -> None:
        self._queued -= 1
        if failed:
            self._break()
        done.callback(None)

    def _break(self) -> None:
        broken, self._broken = self._broken, None
        if broken is not None:
            broken()
