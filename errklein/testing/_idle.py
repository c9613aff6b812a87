"""A check whether a bot under test can still send a message, so that tests don't wait in vain."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from typing import Any

from errklein.running import loop_of

_POOLS = ("errklein commands ", "errklein plugins ", "errklein webhooks ", "errklein decoding ")
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
