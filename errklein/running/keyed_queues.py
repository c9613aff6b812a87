"""Work that stands in lines: of each line one piece at a time, in order, while different lines go on side by side."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall

from errklein.running.in_flight import InFlightCounter
from errklein.running.serial_queue import SerialQueue

PATIENCE = 5.0
"""For how many seconds a piece waits for one of another line."""


MOST_WAITING = 10_000
"""How many pieces may wait in a line, lest one that never ends fills the memory with those behind it."""


class KeyedQueueFull(Exception):
    """A piece was not done, since too many wait before it."""


class Piece:
    """A piece of work in a line; `result` fires with what comes of it."""

    def __init__(self, line: Hashable) -> None:
        self.line = line
        self.result: Deferred[Any]
        self.over = False
        self._waiting: list[Callable[[], None]] = []

    def when_over(self, call: Callable[[], None]) -> None:
        """Call that as soon as the piece has ended, however; it has not yet."""
        self._waiting.append(call)

    def end(self) -> None:
        """Called when the piece has ended."""
        self.over = True
        for call in self._waiting:
            call()


class Lines:
    """Does pieces of work in the order of their lines. Used on the reactor only."""

    def __init__(self, reactor: Any, patience: float = PATIENCE, most: int = MOST_WAITING) -> None:
        self._reactor = reactor
        self._patience = patience
        self._most = most
        self._lines: dict[Hashable, SerialQueue] = {}
        self._since: dict[Hashable, float] = {}
        self._timers: set[IDelayedCall] = set()
        self._tally = InFlightCounter()

    def run(self, line: Hashable, work: Callable[[], Deferred[Any]], after: Piece | None = None) -> Piece:
        """Do the work as soon as all before it in the line have ended, perhaps at once.

        It also comes after a piece of another line, if one is given; but what takes too long holds up its own line only:
        nobody waits for another one more than `patience` seconds, or for a line whose first piece has taken longer.
        The result is KeyedQueueFull if `most` pieces wait in the line already.
        """
        pieces = self._lines.get(line)
        if pieces is None:
            pieces = self._lines[line] = SerialQueue(self._reactor)
        piece = Piece(line)
        if pieces.waiting >= self._most:
            piece.over = True
            piece.result = fail(KeyedQueueFull(f"{pieces.waiting} wait already"))
            return piece
        self._tally.enter()
        piece.result = pieces.run(partial(self._begin, piece, work, after)).addBoth(self._ended, piece)
        return piece

    def when_idle(self) -> Deferred[None]:
        """Fires as soon as all lines have come to their end."""
        return self._tally.when_none()

    def stop(self) -> None:
        """Forget what hasn't begun."""
        for pieces in self._lines.values():
            pieces.stop()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _begin(self, piece: Piece, work: Callable[[], Deferred[Any]], after: Piece | None) -> Deferred[Any]:
        if after is None or after.over or self._held_up(after.line):
            return self._start(None, piece, work)
        return self._wait_for(after).addCallback(self._start, piece, work)

    def _start(self, _: None, piece: Piece, work: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        self._since[piece.line] = self._reactor.seconds()
        return work()

    def _held_up(self, line: Hashable) -> bool:
        since = self._since.get(line)
        return since is not None and self._reactor.seconds() - since >= self._patience

    def _wait_for(self, other: Piece) -> Deferred[None]:
        waited: Deferred[None] = Deferred()

        def give_up() -> None:
            self._timers.discard(timer)
            waited.callback(None)

        def come() -> None:
            if timer.active():
                timer.cancel()
                give_up()

        timer: IDelayedCall = self._reactor.callLater(self._patience, give_up)
        self._timers.add(timer)
        other.when_over(come)
        return waited

    def _ended(self, result: Any, piece: Piece) -> Any:
        self._since.pop(piece.line, None)
        if self._lines[piece.line].idle:
            del self._lines[piece.line]
        self._tally.leave()
        piece.end()
        return result
