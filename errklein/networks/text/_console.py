"""Consoles: their base class, whose output doesn't block, and the console for pipes and files. The output of the latter
is the bot's messages, and each line of its input is a message."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

_ATOMIC = 4096  # number of bytes that a ready pipe accepts without blocking (PIPE_BUF on Linux)


class Console:
    """Base class of the output of a text conversation, and of what its input is reported to. Methods are called on the reactor.

    Output doesn't block the reactor: text that fits is written at once, and other text in a thread. If writing fails, for example
    because the reader has closed a pipe, the conversation ends and all further text is dropped.

    :param target: The file descriptor for output, which is never closed; None to drop all text.
    :param encoding: The encoding of the text.
    :param line_received: Called on the reactor with each line, including empty ones.
    :param ended: Called on the reactor once, after the last line, or when the output can't be written any more.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        target: int | None,
        encoding: str,
        line_received: Callable[[str], None],
        ended: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._descriptor = -1 if target is None else target
        self._encoding = encoding
        self._line_received = line_received
        self._ended: Callable[[], None] | None = ended
        self._stopped: Deferred[None] | None = None
        self._is_writable = target is not None
        self._writes: SimpleQueue[tuple[bytes, Deferred[None]] | None] = SimpleQueue()
        self._queued = 0
        self._has_writer = False
        self._poll = select.poll()
        if target is not None:
            self._poll.register(target, select.POLLOUT)

    def start(self) -> None:
        raise NotImplementedError

    def show(self, text: str) -> Deferred[None]:
        data = f"{text}\n".encode(self._encoding, "replace")
        if not self._is_writable:
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
        self._writes.put((data, done))
        if not self._has_writer:
            self._has_writer = True
            threading.Thread(target=self._write, name="errklein standard output", daemon=True).start()
        return done

    def show_name(self, name: str) -> None:
        """Set the name in the prompt, if there is one."""

    def close(self) -> Deferred[None]:
        self._ended = None
        self._writes.put(None)
        return self._stopped or succeed(None)

    def _write(self) -> None:
        """Write the queued text. Runs in a thread until `close`."""
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        while (job := self._writes.get()) is not None:
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
        self._is_writable = False
        self._end()

    def _end(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def _has_stopped(self) -> None:
        assert self._stopped is not None
        self._stopped.callback(None)


_CHUNK = 65536


class LineConsole(Console):
    """Reads lines from one file descriptor and writes messages to another. There is no prompt.

    A thread reads the input, since event loops can't watch regular files. It reads more only after the lines so far are
    handled. The descriptors are never closed.

    :param source: The descriptor for input; None for no input.
    :param encoding: The encoding of input and output.
    :param callbacks: `line_received` and `ended` of `Console`.
    """

    def __init__(
        self, reactor: Any, source: int | None, target: int | None, encoding: str, *callbacks: Callable[..., None]
    ) -> None:
        super().__init__(reactor, target, encoding, *callbacks)
        self._source = source
        self._wake: int | None = None

    def start(self) -> None:
        if self._source is None:
            self._reactor.callLater(0, self._end)
            return
        waiting, self._wake = os.pipe()
        self._stopped = Deferred()
        reader = threading.Thread(
            target=self._read, args=(self._source, waiting), name="errklein standard input", daemon=True
        )
        reader.start()

    def close(self) -> Deferred[None]:
        if self._wake is not None:
            os.close(self._wake)
            self._wake = None
        return super().close()

    def _read(self, source: int, waiting: int) -> None:
        """Read until the input ends, or until `close` closes the other end of the pipe `waiting`."""
        poll = select.poll()
        poll.register(source, select.POLLIN)
        poll.register(waiting, select.POLLIN)
        rest: list[bytes] = []
        try:
            while not any(ready == waiting for ready, _ in poll.poll()):
                try:
                    data = os.read(source, _CHUNK)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                *lines, last = data.split(b"\n")
                if lines:
                    lines[0] = b"".join([*rest, lines[0]])
                    rest = []
                rest.append(last)
                if not data:
                    lines.append(b"".join(rest))
                if lines:
                    handled = threading.Event()
                    self._reactor.callFromThread(self._handle_lines, lines, handled)
                    handled.wait()
                if not data:
                    self._reactor.callFromThread(self._end)
                    break
        finally:
            os.close(waiting)
            self._reactor.callFromThread(self._has_stopped)

    def _handle_lines(self, lines: Sequence[bytes], handled: threading.Event) -> None:
        try:
            for line in lines:
                text = line.decode(self._encoding, "replace").rstrip("\r")
                if self._ended is not None:
                    try:
                        self._line_received(text)
                    except Exception:
                        self.log.failure("Handling a line of standard input failed")
        finally:
            handled.set()
