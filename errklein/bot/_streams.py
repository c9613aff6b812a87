"""Incoming files, which are copied for each plugin with a `callback_stream`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from errklein.bot.stream_copier import StreamCopier
from errklein.chat import STREAM_WAITING_TO_START, Stream
from errklein.running import Runner, WorkerPool
from errklein.running.context import assigned, origin

if TYPE_CHECKING:
    from errklein.bot._events import FindCallbacks

MOST_AT_ONCE = 16
"""The maximal number of files that are received at the same time; further ones are rejected."""


class Streams:
    """Passes a copy of each incoming stream to each plugin that overrides `callback_stream`. Used on the reactor only."""

    log = Logger()

    def __init__(self, reactor: Any, runner: Runner, find_callbacks: FindCallbacks) -> None:
        self._reactor = reactor
        self._runner = runner
        self._find_callbacks = find_callbacks
        self._arriving = 0
        self._copiers: set[StreamCopier] = set()
        self._stopped = False

    def offer(self, stream: Stream) -> None:
        """Copy the stream for each active plugin with a `callback_stream`. Without one, reject the stream."""
        plugins = {one.plugin: one.method for one in self._find_callbacks("callback_stream")}
        if not plugins or self._stopped or self._arriving >= MOST_AT_ONCE:
            if plugins:
                self.log.warn(
                    "The stream {name} is rejected: {most} streams are being received already",
                    name=stream.name,
                    most=MOST_AT_ONCE,
                )
            if stream.status == STREAM_WAITING_TO_START:
                stream.reject()
            return
        Deferred.fromCoroutine(self._copy(stream, plugins))

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
            pool.stop()

    async def _read(self, plugin: str, callback: Callable[[Stream], Any], copier: StreamCopier, copy: Stream) -> None:
        pool = self._new_pool(copy)
        try:
            with assigned(origin, f"plugin:{plugin}"):
                running = self._runner.run(callback, copy, pool=pool)
            await running
        except Exception:
            self.log.failure("{plugin}: callback_stream failed", plugin=plugin)
        finally:
            copier.returned(copy)
            pool.stop()

    def _new_pool(self, stream: Stream) -> WorkerPool:
        # Each plugin and the copying have a thread of their own, so that none waits for another.
        return WorkerPool(self._reactor, f"stream {stream.name}", 1)
