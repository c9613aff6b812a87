"""The rooms that messages wait for, since the bot is outside of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from errklein.backends.outbox._lanes import Entry
from errklein.ports import RoomUnavailable

P = TypeVar("P")

PATIENCE = 10.0
"""The seconds after which a message that waits for its room is reported."""


@dataclass
class _Room:
    """Since when messages wait for a room, and whether administrators know."""

    since: float
    is_reported: bool = False


class WaitingRooms(Generic[P]):
    """Finds messages that wait for a room, and tells whoever awaits them, and administrators, after a while.

    :param unavailable: As for `Outbox`.
    :param report: Reports a room; see `Reports.waiting`.
    :param entries: Returns all messages of the outbox.
    """

    def __init__(
        self,
        reactor: Any,
        unavailable: Callable[[str], str],
        report: Callable[[str, Mapping[str, int], str], bool],
        entries: Callable[[], Iterable[Entry[P]]],
    ) -> None:
        self._reactor = reactor
        self._unavailable = unavailable
        self._report = report
        self._entries = entries
        self._rooms: dict[str, _Room] = {}
        self._timer: IDelayedCall | None = None
        self._stopped = False

    def has(self, entry: Entry[P]) -> bool:
        """Return whether the message waits for its room."""
        recipient = entry.message.recipient
        if not self._unavailable(recipient):
            self._rooms.pop(recipient, None)
            return False
        self._rooms.setdefault(recipient, _Room(self._reactor.seconds()))
        if self._timer is None and not self._stopped:
            self._timer = self._reactor.callLater(PATIENCE, self._look)
        return True

    def stop(self) -> None:
        """Report nothing more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        due = now + PATIENCE
        waiting: dict[str, list[Entry[P]]] = {recipient: [] for recipient in self._rooms}
        for entry in self._entries():
            if entry.message.recipient in waiting:
                waiting[entry.message.recipient].append(entry)
        for recipient, entries in waiting.items():
            reason = self._unavailable(recipient)
            if not (reason and entries):
                self._rooms.pop(recipient, None)
                continue
            room = self._rooms[recipient]
            if not room.is_reported and now - room.since > PATIENCE - 0.01:
                room.is_reported = self._report(recipient, Counter(each.message.origin for each in entries), reason)
            text = f"the bot is not in {recipient} ({reason}); the message is sent when it has joined the room"
            for entry in entries:
                ends = max(room.since, entry.since) + PATIENCE
                if entry.delivery is not None and ends > now + 0.01:
                    due = min(due, ends)
                elif entry.delivery is not None:
                    delivery, entry.delivery = entry.delivery, None
                    settle_quietly(delivery, Failure(RoomUnavailable(text)))
        if self._rooms and not self._stopped and self._timer is None:
            self._timer = self._reactor.callLater(max(0.1, due - now), self._look)


def settle_quietly(delivery: Deferred[None] | None, failure: Failure | None) -> None:
    """Fire the Deferred. An ignored failure isn't logged as unhandled, since the outbox has already logged it."""
    if delivery is None:
        return
    delivery.callback(failure)
    # Iterating, as `await` does, marks the failure as handled and keeps it for later callbacks.
    with suppress(Exception):
        next(iter(delivery), None)
