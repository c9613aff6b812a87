"""Tells whether a bot that is silent will stay so, so that a test needn't wait for what can't come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from typing import Any

from errklein.running import loop_of

_POOLS = ("errklein commands ", "errklein plugins ", "errklein webhooks ", "errklein decoding ")
"""How the names of threads begin whose work is counted by the bot's runner."""


def stays_idle(reactor: Any, seconds: float, other_threads: Collection[threading.Thread]) -> bool:
    """Whether nothing is left that could make an idle bot speak within so many seconds.

    That could be a delayed call, such as a poller's; a task of asyncio's; a socket or a process; or a thread, unless it
    is one of `other_threads`, which have nothing to do with the bot. To be called on the reactor.
    """
    loop = loop_of(reactor)
    assert loop is not None
    before = loop.time() + seconds
    due = [handle for handle in getattr(loop, "_scheduled", ()) if not handle.cancelled() and handle.when() <= before]
    # One of the readers wakes the reactor when a thread calls it.
    is_connected = len(reactor.getReaders()) > 1 or reactor.getWriters()
    others = {*other_threads, threading.current_thread()}
    threads = [
        thread for thread in threading.enumerate() if thread not in others and not thread.name.startswith(_POOLS)
    ]
    soon = [call for call in reactor.getDelayedCalls() if call.getTime() <= reactor.seconds() + seconds]
    return not (due or soon or is_connected or threads or asyncio.all_tasks(loop))
