"""Waiting, but not for ever."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred


async def ended_within(reactor: Any, seconds: float, awaited: Deferred[Any]) -> bool:
    """Wait until the Deferred has fired, but no longer than so many seconds; whether it has.

    Its result, or failure, is left to it, and it isn't cancelled.
    """
    done: Deferred[bool] = Deferred()
    timer = reactor.callLater(seconds, done.callback, False)

    def finish(result: Any) -> Any:
        if timer.active():
            timer.cancel()
            done.callback(True)
        return result

    awaited.addBoth(finish)
    return await done
