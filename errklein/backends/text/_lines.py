"""A conversation through pipes and files: each line of input is one message, messages of the bot are plain text."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from errklein.backends.text._console import Writer

_CHUNK = 65536


class LineConsole:
    """Reads lines from one file descriptor and writes messages to another. Neither is ever closed.

    `line_received` is called on the reactor with each line, empty ones too, `ended` once after the last one, or when nobody
    reads the output any more. The input may be anything that can be read, also a file, which an event loop can't watch:
    so a thread waits for it, and reads on only when what it has read has been handled.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        source: int | None,
        target: int | None,
        encoding: str,
        *,
        line_received: Callable[[str], None],
        ended: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._source = source
        self._encoding = encoding
        self._line_received = line_received
        self._ended: Callable[[], None] | None = ended
        self._writer = Writer(reactor, target, encoding, self._end)
        self._wake: int | None = None
        self._stopped: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to read."""
        if self._source is None:
            self._reactor.callLater(0, self._end)
            return
        waiting, self._wake = os.pipe()
        self._stopped = Deferred()
        reader = threading.Thread(
            target=self._read, args=(self._source, waiting), name="errklein standard input", daemon=True
        )
        reader.start()

    def show(self, text: str) -> Deferred[None]:
        """Write the text and a newline, in one piece."""
        return self._writer.write(f"{text}\n")

    def show_name(self, name: str) -> None:
        """Nothing: there is no prompt."""

    def close(self) -> Deferred[None]:
        """Stop reading; fires when the thread has ended."""
        self._ended = None
        self._writer.close()
        if self._wake is not None:
            os.close(self._wake)
            self._wake = None
        return self._stopped or succeed(None)

    def _read(self, source: int, waiting: int) -> None:
        """Read until the end of the input, or of `waiting`."""
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
                        self.log.failure("A line of standard input could not be handled")
        finally:
            handled.set()

    def _end(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def _has_stopped(self) -> None:
        assert self._stopped is not None
        self._stopped.callback(None)
