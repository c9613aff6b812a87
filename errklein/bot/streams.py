"""Files that people send to the bot: each plugin that wants them gets a copy."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Stream
from errklein.chat.streams import STREAM_WAITING_TO_START
from errklein.running import WorkerPool
from errklein.running.tee import Tee

if TYPE_CHECKING:
    from errklein.bot import Bot

MOST_AT_ONCE = 16
"""How many files may arrive at the same time; more are rejected."""


@dataclass(frozen=True, eq=False)
class _Plugin:
    """A plugin that gets a copy."""

    name: str
    callback_stream: Callable[[Stream], Any]


class Streams:
    """Offers incoming streams to plugins. Used on the reactor only."""

    log = Logger()

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._arriving: set[Tee] = set()
        self._stopped = False

    def offer(self, stream: Stream) -> None:
        """Copy the stream to each active plugin that has a `callback_stream`; reject it if there is none."""
        plugins = [_Plugin(*found) for found in self._bot.plugin_manager.callbacks("callback_stream")]
        if not plugins or self._stopped or len(self._arriving) >= MOST_AT_ONCE:
            if plugins:
                self.log.warn("The stream {name} is rejected: too many at once", name=stream.name)
            if stream.status == STREAM_WAITING_TO_START:
                stream.reject()
            return
        # A copy that waits for a thread would hold up the others.
        pool = WorkerPool(self._bot.reactor, f"stream {stream.name}", len(plugins))
        context = copy_context()
        left = len(plugins)

        def over(done: Callable[[], None], _: Any) -> None:
            nonlocal left
            left -= 1
            if not left:
                pool.stop()
                self._arriving.discard(tee)
            done()

        def begin(plugin: _Plugin, copy: Stream, done: Callable[[], None]) -> None:
            running = self._bot.runner.run(plugin.callback_stream, copy, pool=pool)
            running.addErrback(self._failed, plugin).addBoth(partial(over, done))

        def call(plugin: _Plugin, copy: Stream, done: Callable[[], None]) -> None:
            self._bot.reactor.callFromThread(context.copy().run, begin, plugin, copy, done)

        tee = Tee(stream, plugins, call)
        self._arriving.add(tee)
        tee.start()

    def stop(self) -> None:
        """Let those that arrive end here."""
        self._stopped = True
        for tee in self._arriving:
            tee.stop()

    def _failed(self, failure: Failure, plugin: _Plugin) -> None:
        self.log.failure("{plugin}: callback_stream failed", failure, plugin=plugin.name)
