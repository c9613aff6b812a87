"""Copies one stream of bytes to several readers, each in a thread of its own, through pipes of the system."""

from __future__ import annotations

import io
import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twisted.logger import Logger

from errklein.chat.streams import STREAM_TRANSFER_IN_PROGRESS, STREAM_WAITING_TO_START, Stream

CHUNK_SIZE = 4096
"""How many bytes are copied at once."""


class Client(Protocol):
    """Gets a copy of the stream."""

    def callback_stream(self, stream: Stream) -> Any:
        """Accept the stream and read it, or reject it."""


Call = Callable[[Any, Stream, Callable[[], None]], None]
"""Has the client get the stream, without waiting for it, and calls the function when that is over; in any thread."""


def call_in_thread(client: Client, stream: Stream, over: Callable[[], None]) -> None:
    """Let the client have the stream in a thread that doesn't keep the process alive."""

    def run() -> None:
        try:
            client.callback_stream(stream)
        except Exception:
            Tee.log.failure("{client}: callback_stream failed", client=type(client).__name__)
        finally:
            over()

    threading.Thread(target=run, name="errklein stream", daemon=True).start()


class Tee:
    """Copies `incoming_stream` to each of `clients`.

    Nothing is read before each client has accepted its copy, begun to read it, rejected it, or come back; or DECIDE_WITHIN
    seconds have passed. Then the incoming stream is accepted, unless nobody wants it. Of what a client doesn't read the
    system keeps a pipe full, 64 kB on Linux; whoever reads nothing for READ_WITHIN seconds loses the rest, so that the
    others get theirs. A client that comes back without having accepted or rejected its copy has rejected it.
    """

    log = Logger()

    DECIDE_WITHIN = 60.0
    READ_WITHIN = 30.0

    def __init__(self, incoming_stream: Stream, clients: Iterable[Any], call: Call = call_in_thread) -> None:
        self._incoming = incoming_stream
        self._clients = list(clients)
        self._call = call
        self._changed = threading.Condition()
        self._stopped = False

    def start(self) -> None:
        """Copy in a thread that doesn't keep the process alive."""
        threading.Thread(target=self.run, name="errklein tee", daemon=True).start()

    def stop(self) -> None:
        """Copy nothing any more; who reads finds the stream in error."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def run(self) -> None:
        """Copy, and return when each client has come back."""
        branches = [_Branch(self._incoming, client, self._changed) for client in self._clients]
        for branch in branches:
            self._call(branch.client, branch.copy, branch.come_back)
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or all(b.decided for b in branches), self.DECIDE_WITHIN)
        try:
            self._copy(branches)
        except Exception as error:
            self._fail(branches, str(error) or type(error).__name__)
        finally:
            for branch in branches:
                branch.close()
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or all(branch.came_back for branch in branches))

    def _copy(self, branches: list[_Branch]) -> None:
        incoming = self._incoming
        waiting = incoming.status == STREAM_WAITING_TO_START
        if not any(branch.is_wanted for branch in branches):
            if waiting:
                incoming.reject()
            return
        if waiting:
            incoming.accept()
        copied = 0
        while chunk := incoming.read1(CHUNK_SIZE):
            reading = [branch for branch in branches if branch.write(chunk, self.READ_WITHIN)]
            if self._stopped or not reading:
                self._fail(branches, "the bot stops" if self._stopped else "nobody reads it any more")
                return
            copied += len(chunk)
            for stream in (incoming, *(branch.copy for branch in reading)):
                stream.ack_data(copied)
        if incoming.status == STREAM_TRANSFER_IN_PROGRESS:
            incoming.success()

    def _fail(self, branches: list[_Branch], reason: str) -> None:
        self.log.warn("The stream {name} ended early: {reason}", name=self._incoming.name, reason=reason)
        self._incoming.error(reason)
        for branch in branches:
            branch.fail(reason)


class _Branch:
    """A client, its `copy` of the stream, and the end of the pipe that is written to."""

    def __init__(self, incoming: Stream, client: Any, changed: threading.Condition) -> None:
        self.client = client
        self.came_back = False
        self._changed = changed
        self._reads = False
        read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self.copy = _Copy(incoming, _Pipe(read_end, self._begins_to_read), self._notify)

    @property
    def is_wanted(self) -> bool:
        """Whether the client has accepted the copy, or reads it."""
        return self._write_end >= 0 and (self._reads or self.copy.status == STREAM_TRANSFER_IN_PROGRESS)

    @property
    def decided(self) -> bool:
        """Whether it is known if the client wants the copy."""
        return self.came_back or self._reads or self.copy.status != STREAM_WAITING_TO_START

    def write(self, chunk: bytes, within: float) -> bool:
        """Give the client a chunk. False if it has gone, or hasn't read anything for so many seconds."""
        rest = memoryview(chunk)
        until = time.monotonic() + within
        while self._write_end >= 0 and rest:
            try:
                rest = rest[os.write(self._write_end, rest) :]
                until = time.monotonic() + within
            except BlockingIOError:
                if not self._has_room(until - time.monotonic()):
                    Tee.log.warn(
                        "{client} hasn't read its stream for {seconds:g} s and doesn't get the rest of it",
                        client=_name_of(self.client),
                        seconds=within,
                    )
                    self.fail(f"nothing was read for {within:g} s")
            except OSError:
                self.close()
        return self._write_end >= 0

    def fail(self, reason: str) -> None:
        """Let the client find the copy in error, if it hasn't come to its end, and no more in it."""
        if self._write_end >= 0 and self.copy.status in (STREAM_WAITING_TO_START, STREAM_TRANSFER_IN_PROGRESS):
            self.copy.error(reason)
        self.close()

    def close(self) -> None:
        """Let the client find no more in the pipe."""
        if self._write_end >= 0:
            os.close(self._write_end)
            self._write_end = -1

    def come_back(self) -> None:
        """The client has returned; who reads on later, as is told by having accepted, may."""
        if self.copy.status == STREAM_WAITING_TO_START:
            Tee.log.warn(
                "{client} has neither accepted nor rejected the stream {name}, which counts as a rejection",
                client=_name_of(self.client),
                name=self.copy.name,
            )
            self.copy.reject()
        if self.copy.status != STREAM_TRANSFER_IN_PROGRESS:
            self.copy.close()
        with self._changed:
            self.came_back = True
            self._changed.notify_all()

    def _has_room(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._write_end, select.POLLOUT)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def _begins_to_read(self) -> None:
        if not self._reads:
            self._reads = True
            self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


class _Pipe(io.FileIO):
    """The end of a pipe that is read; tells when that begins."""

    def __init__(self, descriptor: int, read: Callable[[], None]) -> None:
        super().__init__(descriptor, "rb")
        self._read = read

    def readinto(self, buffer: Any) -> int:
        """As in any file."""
        self._read()
        return super().readinto(buffer) or 0

    def readall(self) -> bytes:
        """As in any file."""
        self._read()
        return super().readall() or b""


class _Copy(Stream):
    """A copy of a stream; tells when it is accepted or rejected."""

    def __init__(self, original: Stream, source: _Pipe, decided: Callable[[], None]) -> None:
        super().__init__(original.identifier, source, original.name, original.size, original.stream_type)
        self._decided = decided

    def accept(self) -> None:
        """Begin the transfer."""
        super().accept()
        self._decided()

    def reject(self) -> None:
        """Refuse the stream."""
        super().reject()
        self._decided()


def _name_of(client: Any) -> str:
    return str(getattr(client, "name", None) or type(client).__name__)
