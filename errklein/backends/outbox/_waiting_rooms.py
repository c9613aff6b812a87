"""The rooms that messages wait for, since the bot is outside of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from errklein.backends.outbox._lanes import Entry
from errklein.backends.outbox._transport import Reports
from errklein.ports import RoomUnavailable

P = TypeVar("P")

PATIENCE = 10.0
"""The seconds after which a message that waits for its room is reported."""

Unavailable = Callable[[str], str | None]
"""Returns None for a recipient to which messages may be sent; "" for a room that the bot is about to join; the reason for a room that
the bot should be in, but isn't although it has tried. Called in any thread."""


class WaitingRooms(Generic[P]):
    """Finds messages that wait for a room, and tells whoever awaits them, and administrators, after a while.

    :param entries: Returns all messages of the outbox.
    :param available: Called when messages don't wait for their room any more.
    """

    def __init__(
        self,
        reactor: Any,
        unavailable: Unavailable,
        reports: Reports,
        entries: Callable[[], Iterable[Entry[P]]],
        available: Callable[[], None],
    ) -> None:
        self.since: dict[str, float] = {}
        """The times since when messages wait for rooms."""
        self._seconds = reactor.seconds
        self._unavailable = unavailable
        self._reports = reports
        self._entries = entries
        self._available = available
        self._reported: set[str] = set()
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def has(self, entry: Entry[P]) -> bool:
        """Return whether the message waits for its room."""
        recipient = entry.message.recipient
        if self._unavailable(recipient) is None:
            self._forget(recipient)
            return False
        self.since.setdefault(recipient, self._seconds())
        if not self._loop.running:
            self._loop.start(1.0, now=False)
        return True

    def are_shut_out(self) -> bool:
        """Return whether the bot has tried in vain to join all of the rooms."""
        return all(map(self._unavailable, self.since))

    def stop(self) -> None:
        """Report nothing more."""
        self.since.clear()
        if self._loop.running:
            self._loop.stop()

    def _forget(self, recipient: str) -> None:
        self.since.pop(recipient, None)
        self._reported.discard(recipient)

    def _look(self) -> None:
        waiting: defaultdict[str, list[Entry[P]]] = defaultdict(list)
        for entry in self._entries():
            if entry.message.recipient in self.since:
                waiting[entry.message.recipient].append(entry)
        # Rounding must not delay what is due.
        latest = self._seconds() - PATIENCE + 0.01
        for recipient, since in list(self.since.items()):
            reason, entries = self._unavailable(recipient), waiting[recipient]
            if reason is None or not entries:
                self._forget(recipient)
                self._available()
            elif since <= latest:
                if reason and recipient not in self._reported:
                    self._reported.add(recipient)
                    origins = Counter(each.message.origin for each in entries)
                    self._reports.undelivered(recipient, origins, reason, True)
                text = f"the bot is not in {recipient} ({reason or 'it has not joined the room yet'})"
                failure = Failure(RoomUnavailable(f"{text}; the message is sent when it has joined the room"))
                for entry in entries:
                    if entry.delivery is not None and entry.since <= latest:
                        delivery, entry.delivery = entry.delivery, None
                        settle_quietly(delivery, failure)
        if not self.since:
            self.stop()


def settle_quietly(delivery: Deferred[None] | None, failure: Failure | None) -> None:
    """Fire the Deferred. An ignored failure isn't logged as unhandled, since the outbox has already logged it."""
    if delivery is None:
        return
    delivery.callback(failure)
    # Iterating, as `await` does, marks the failure as handled and keeps it for later callbacks.
    with suppress(Exception):
        next(iter(delivery), None)
