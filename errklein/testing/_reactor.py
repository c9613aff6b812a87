"""A reactor in memory, whose time passes when the test advances it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.testing import MemoryReactorClock

from errklein.testing._loop import TestLoop

_LONGEST = 120.0
"""The virtual seconds that `TestReactor.advance_until` lets pass at most."""


class TestReactor(MemoryReactorClock):
    """A reactor with virtual time and an asyncio event loop, without sockets and threads.

    It is Twisted's `MemoryReactorClock` with two additions: coroutines may use asyncio, whose `loop` has the same time, and
    `advance` runs each call at its own time. ::

        reactor = TestReactor()
        reactor.callLater(10, print, "ten seconds")
        reactor.loop.call_later(20, print, "twenty seconds")
        reactor.advance(30)

    A `TestBot` creates one, as `bot.reactor`.
    """

    __test__ = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.loop = TestLoop(self)
        """The asyncio event loop. Its `run_until_complete` lets virtual time pass as necessary."""
        # Here the runner of plugins' handlers looks for it, as in Twisted's asyncio reactor.
        self._asyncioEventloop = self.loop

    def advance(self, amount: float) -> None:
        """Let `amount` seconds pass. Delayed calls and timers run at their own times, in order.

        A poller with an interval of 10 s runs three times in `advance(30)`. `advance(0)` runs calls that are due already, and
        asyncio tasks that are ready.
        """
        end = self.rightNow + amount
        while self.calls and self.calls[0].getTime() <= end:
            self._advance_to(max(self.rightNow, self.calls[0].getTime()))
        self._advance_to(end)

    def advance_until(
        self, done: Callable[[], bool], delayed_calls: Callable[[], Collection[IDelayedCall]] | None = None
    ) -> None:
        """Let time pass until `done()` is true, for at most two minutes.

        Time advances from one delayed call to the next, and stops when none is left.

        :param done: Returns whether the awaited event has occurred.
        :param delayed_calls: Returns the delayed calls that count; by default all.
        """
        calls = delayed_calls or self.getDelayedCalls
        end = self.rightNow + _LONGEST
        self.advance(0)
        while not done() and (times := [call.getTime() for call in calls()]) and min(times) <= end:
            self.advance(min(times) - self.rightNow)

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """Call the function at once, since a test has no other threads."""
        self.loop.enter(callable, *args, **kwargs)

    def _advance_to(self, time: float) -> None:
        self.rightNow = time
        self.loop.enter(super().advance, 0)
