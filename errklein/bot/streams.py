"""Incoming files, which are copied for each plugin that reads them. The stream is written to a temporary file. Each
copy reads the file on its own and waits at the end for more, so a slow reader doesn't delay the others."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from errklein.chat import STREAM_REJECTED, STREAM_TRANSFER_IN_PROGRESS, STREAM_WAITING_TO_START, Stream
from errklein.running import Runner, WorkerPool
from errklein.running.context import assigned, origin

if TYPE_CHECKING:
    from errklein.bot._events import FindCallbacks

CHUNK_SIZE = 4096  # the maximal number of bytes per read from the incoming stream

SIZE_LIMIT = 1 << 30
"""The maximal size of a stream in bytes, since it is stored in a temporary file. A larger stream ends with an error."""


class StreamCopier:
    """Copies a stream for several readers. The incoming stream is accepted when a reader accepts its copy or begins to
    read it, and rejected if each reader rejects its copy or returns without doing either. A reader may go on reading an
    accepted copy after it returned. The temporary file has no name, so the system deletes it when the copying has ended
    and all copies are closed. The constructor, which creates the file, and `run` block, so they are called in a thread.
    `returned` and `stop` may be called in any thread."""

    log = Logger()

    def __init__(self, incoming: Stream, readers: Iterable[str], size_limit: int = SIZE_LIMIT) -> None:
        self._incoming, self._size_limit = incoming, size_limit
        self._changed = threading.Condition()
        self.size, self.ended = 0, False  # of the part that is in the file, and whether there comes no more
        descriptor, path = tempfile.mkstemp(prefix="errklein-stream-")
        self._file = io.FileIO(descriptor, "wb")
        try:
            self.copies = {_Copy(incoming, path, self): reader for reader in readers}
        finally:
            Path(path).unlink()

    def notify(self) -> None:
        """Let threads that wait look again."""
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.ended or condition())

    def run(self) -> None:
        """Copy the stream. Return when it is complete, when no reader is left, or after `stop`."""
        with self._file:
            try:
                self.wait_for(lambda: self._is_wanted() or not self._has_readers())
                if self._is_wanted():
                    self._copy()
                elif self._incoming.status == STREAM_WAITING_TO_START:
                    self._incoming.reject()
            except Exception as error:
                self._fail(str(error) or type(error).__name__)
            finally:
                self._end()

    def returned(self, copy: Stream) -> None:
        """Note that the reader of the copy has returned."""
        if copy.status == STREAM_WAITING_TO_START:
            self.log.warn(
                "{reader} returned without accepting or rejecting the stream {name}, which is a rejection",
                reader=next(reader for known, reader in self.copies.items() if known is copy),
                name=copy.name,
            )
            copy.reject()
        if copy.status != STREAM_TRANSFER_IN_PROGRESS:
            # Closing the copy itself would wait for a thread that reads it.
            copy.raw.close()

    def stop(self) -> None:
        self._fail("the bot is stopping")
        self._end()

    def _end(self) -> None:
        self.ended = True
        self.notify()

    def _is_wanted(self) -> bool:
        return any(copy.is_wanted for copy in self.copies)

    def _has_readers(self) -> bool:
        return any(not copy.closed and copy.status != STREAM_REJECTED for copy in self.copies)

    def _copy(self) -> None:
        incoming, size = self._incoming, 0
        if incoming.status == STREAM_WAITING_TO_START:
            incoming.accept()
        while not self.ended and (chunk := incoming.read1(CHUNK_SIZE)):
            size += len(chunk)
            too_large = f"it has more than {self._size_limit} bytes" if size > self._size_limit else ""
            if reason := too_large if self._has_readers() else "no plugin reads it":
                self._fail(reason)
                return
            while chunk:
                chunk = chunk[self._file.write(chunk) :]
            self.size = size
            self.notify()
            for stream in (incoming, *self.copies):
                stream.ack_data(size)
        if incoming.status == STREAM_TRANSFER_IN_PROGRESS:
            incoming.success()

    def _fail(self, reason: str) -> None:
        if self.ended:
            return
        self.log.warn("The stream {name} ended early: {reason}", name=self._incoming.name, reason=reason)
        for stream in (self._incoming, *self.copies):
            if stream.status in (STREAM_WAITING_TO_START, STREAM_TRANSFER_IN_PROGRESS):
                stream.error(reason)


class _GrowingFile(io.RawIOBase):
    """Reads the file while it grows: at its end, waits for more."""

    def __init__(self, path: str, copier: StreamCopier) -> None:
        self.was_read = False
        self._file, self._copier, self._position = io.FileIO(path), copier, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.was_read:
            self.was_read = True
            self._copier.notify()
        self._copier.wait_for(lambda: self.closed or self._copier.size > self._position)
        count = 0 if self.closed else self._file.readinto(buffer) or 0
        self._position += count
        return count

    def close(self) -> None:
        super().close()
        self._file.close()
        self._copier.notify()


class _Copy(Stream):
    """A copy of a stream, which wakes the copier when it is accepted or rejected."""

    def __init__(self, original: Stream, path: str, copier: StreamCopier) -> None:
        self._file, self._copier = _GrowingFile(path, copier), copier
        super().__init__(original.identifier, self._file, original.name, original.size, original.stream_type)

    @property
    def is_wanted(self) -> bool:
        """True if the copy was accepted, or a reader has begun to read it."""
        return not self.closed and (self._file.was_read or self.status == STREAM_TRANSFER_IN_PROGRESS)

    def accept(self) -> None:
        super().accept()
        self._copier.notify()

    def reject(self) -> None:
        super().reject()
        self._copier.notify()


MOST_AT_ONCE = 16  # the maximal number of files that are received at the same time; further ones are rejected


class Streams:
    """Passes a copy of each incoming stream to each plugin that overrides `callback_stream`. Used on the reactor only."""

    log = Logger()

    def __init__(self, reactor: Any, runner: Runner, find_callbacks: FindCallbacks) -> None:
        self._reactor, self._runner, self._find_callbacks = reactor, runner, find_callbacks
        self._arriving = 0
        self._copiers: set[StreamCopier] = set()
        self._stopped = False

    def offer(self, stream: Stream) -> None:
        """Copy the stream for each active plugin with a `callback_stream`. Without one, reject the stream."""
        plugins = {one.plugin: one.method for one in self._find_callbacks("callback_stream")}
        if plugins and not self._stopped and self._arriving < MOST_AT_ONCE:
            Deferred.fromCoroutine(self._copy(stream, plugins))
            return
        if plugins:
            text = "The stream {name} is rejected: {most} streams are being received already"
            self.log.warn(text, name=stream.name, most=MOST_AT_ONCE)
        if stream.status == STREAM_WAITING_TO_START:
            stream.reject()

    def stop(self) -> None:
        """End the streams that are being copied with an error, and reject new ones."""
        self._stopped = True
        for copier in self._copiers:
            copier.stop()

    async def _copy(self, stream: Stream, plugins: Mapping[str, Callable[[Stream], Any]]) -> None:
        self._arriving += 1
        pool = self._new_pool(stream)
        copier: StreamCopier | None = None
        try:
            copier = await pool.run(lambda: partial(StreamCopier, stream, plugins))
            self._copiers.add(copier)
            if self._stopped:
                copier.stop()
            reading = [
                Deferred.fromCoroutine(self._read(plugin, callback, copier, copy))
                for (plugin, callback), copy in zip(plugins.items(), copier.copies, strict=True)
            ]
            await pool.run(lambda: copier.run)
            await DeferredList(reading)
        except Exception as error:
            self.log.failure("The stream {name} could not be copied", name=stream.name)
            stream.error(str(error))
        finally:
            self._arriving -= 1
            if copier is not None:
                self._copiers.discard(copier)
                # A plugin may keep its copy, which refers to the copier, and so to the others.
                copier.copies.clear()
            pool.stop()

    async def _read(self, plugin: str, callback: Callable[[Stream], Any], copier: StreamCopier, copy: Stream) -> None:
        pool = self._new_pool(copy)
        try:
            with assigned(origin, f"plugin:{plugin}"):
                running = self._runner.using(pool).run(callback, copy)
            await running
        except Exception:
            self.log.failure("{plugin}: callback_stream failed", plugin=plugin)
        finally:
            copier.returned(copy)
            pool.stop()

    def _new_pool(self, stream: Stream) -> WorkerPool:
        # Each plugin and the copying have a thread of their own, so that none waits for another.
        return WorkerPool(self._reactor, f"stream {stream.name}", 1)
