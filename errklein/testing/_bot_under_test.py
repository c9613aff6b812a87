"""The bot behind `BlockingTestBot`, with the methods that errbot's Test backend has."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from queue import Empty
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from errklein.backends.test import TestBackend
from errklein.chat import Identifier
from errklein.compat.bot import ErrbotBot
from errklein.running import loop_of
from errklein.running.reactors import reactor_thread
from errklein.text import to_plain

_POOLS = tuple(f"errklein {name} " for name in ("commands", "plugins", "webhooks", "decoding", "stored values"))
"""The prefixes of the names of the bot's threads, whose work its runner counts."""


def stays_idle(reactor: Any, seconds: float, other_threads: Collection[threading.Thread]) -> bool:
    """Return whether an idle bot stays idle for `seconds`. Called on the reactor.

    It doesn't if there is a delayed call, such as a poller's, an asyncio task, a socket, a process, or a thread that isn't one
    of `other_threads`, which don't belong to the bot.
    """
    loop = loop_of(reactor)
    assert loop is not None
    before = loop.time() + seconds
    due = [handle for handle in getattr(loop, "_scheduled", ()) if not handle.cancelled() and handle.when() <= before]
    # One reader is always there: it wakes the reactor when a thread calls it.
    is_connected = len(reactor.getReaders()) > 1 or reactor.getWriters()
    others = {*other_threads, threading.current_thread()}
    threads = [
        thread for thread in threading.enumerate() if thread not in others and not thread.name.startswith(_POOLS)
    ]
    soon = [call for call in reactor.getDelayedCalls() if call.getTime() <= reactor.seconds() + seconds]
    return not (due or soon or is_connected or threads or asyncio.all_tasks(loop))


_LONGEST_CALLBACK = 1.0
"""The longest time, in seconds, that a reply waits for plugins' callbacks for earlier messages."""
_USUAL = 0.05
"""The time in which most replies arrive, in seconds."""


class _Default(int):
    """A number that differs in identity from an equal one that a test passes."""


REPLY_TIMEOUT: float = _Default(5)
"""The timeout of calls that don't specify one, in seconds."""


class BotUnderTest(ErrbotBot):
    """A bot on one network in memory. As on errbot, it has the attributes of its network, such as `push_message`."""

    md = SimpleNamespace(convert=to_plain)
    """Converts Markdown to the text that tests read."""
    other_threads: Collection[threading.Thread] = ()
    """Threads that don't belong to the bot."""

    @property
    def test_backend(self) -> TestBackend:
        """The backend."""
        backend = next(iter(self.backends.values()))
        assert isinstance(backend, TestBackend)
        return backend

    @property
    def sender(self) -> Identifier:
        """The sender of pushed messages, which tests may assign."""
        return self.test_backend.sender

    @sender.setter
    def sender(self, sender: Identifier) -> None:
        self.test_backend.sender = sender

    def pop_message(self, timeout: float = REPLY_TIMEOUT, block: bool = True) -> str | bytes:
        """Return the next message that the bot sends; see `BlockingTestBot.pop_message`.

        Plugins' callbacks for earlier messages have run by then, unless they take longer than a second.
        """
        queue = self.test_backend.outgoing_message_queue
        # A test with a timeout of its own may use it to measure time.
        if timeout is not REPLY_TIMEOUT or not block:
            return self._after_callbacks(queue.get(block and timeout > 0, timeout))
        try:
            return self._after_callbacks(queue.get(timeout=_USUAL))
        except Empty:
            pass
        silent = threading.Event()

        async def listen() -> None:
            # The second round finds calls that a thread made just before it ended.
            for _ in range(2):
                await self.settled()
                if not stays_idle(self.reactor, timeout, self.other_threads):
                    return
            silent.set()
            queue.wake()

        self.reactor.callFromThread(lambda: Deferred.fromCoroutine(listen()))
        return self._after_callbacks(queue.get_unless(silent.is_set, timeout - _USUAL))

    def _after_callbacks(self, said: str | bytes) -> str | bytes:
        # errbot's Test backend waits for plugins' callbacks, and tests rely on their effects.
        if threading.current_thread() is not reactor_thread().thread:
            heard = threading.Event()
            self.reactor.callFromThread(lambda: self.queues.when_idle().addBoth(lambda _: heard.set()))
            heard.wait(_LONGEST_CALLBACK)
        return said

    async def settled(self) -> None:
        """Return when all messages are handled, and no handler runs or waits."""
        parts = (self.runner, self.queues, self.dispatcher, self.web)
        while True:
            await DeferredList([part.when_idle() for part in parts])
            # Calls from threads, and delayed calls that are due, run in the reactor's next turn.
            await deferLater(self.reactor, 0)
            if not self.runner.running() and all(part.when_idle().called for part in parts):
                return
