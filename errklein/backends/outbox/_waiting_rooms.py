"""The rooms that messages wait for, since the bot is outside of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from twisted.python.failure import Failure

from errklein.backends.outbox._lanes import Entry
from errklein.backends.outbox._transport import Reports
from errklein.ports.outbox import RoomUnavailable

P = TypeVar("P")

PATIENCE = 10.0
"""The seconds after which a message that waits for its room is reported."""

Unavailable = Callable[[str], str | None]
"""Returns None for a recipient to which messages may be sent; "" for a room that the bot is about to join; the reason for a room that
the bot should be in, but isn't although it has tried. Called in any thread."""


class WaitingRooms(Generic[P]):
    """Finds messages that wait for a room, and tells whoever awaits them, and administrators, after a while.

    :param seconds: Returns the time of the reactor.
    """

    def __init__(self, seconds: Callable[[], float], unavailable: Unavailable, reports: Reports) -> None:
        self.since: dict[str, float] = {}
        """The times since when messages wait for rooms."""
        self._seconds = seconds
        self._unavailable = unavailable
        self._reports = reports
        self._reported: set[str] = set()

    def has(self, entry: Entry[P]) -> bool:
        """Return whether the message waits for its room."""
        recipient = entry.message.recipient
        if self._unavailable(recipient) is None:
            self._forget(recipient)
            return False
        self.since.setdefault(recipient, self._seconds())
        return True

    def are_shut_out(self) -> bool:
        """Return whether the bot has tried in vain to join all of the rooms."""
        return all(map(self._unavailable, self.since))

    def report(self, entries: Iterable[Entry[P]]) -> None:
        """Report those of all messages that have waited for PATIENCE."""
        waiting: defaultdict[str, list[Entry[P]]] = defaultdict(list)
        for entry in entries:
            if entry.message.recipient in self.since:
                waiting[entry.message.recipient].append(entry)
        # Rounding must not delay what is due.
        latest = self._seconds() - PATIENCE + 0.01
        for recipient, since in list(self.since.items()):
            reason, own = self._unavailable(recipient), waiting[recipient]
            if reason is None or not own:
                self._forget(recipient)
            elif since <= latest:
                if reason and recipient not in self._reported:
                    self._reported.add(recipient)
                    origins = Counter(entry.message.origin for entry in own)
                    self._reports.undelivered(recipient, origins, reason, True)
                text = f"the bot is not in {recipient} ({reason or 'it has not joined the room yet'})"
                text += "; the message is sent when it has joined the room"
                for entry in own:
                    if entry.since <= latest:
                        entry.settle(Failure(RoomUnavailable(text)))

    def _forget(self, recipient: str) -> None:
        self.since.pop(recipient, None)
        self._reported.discard(recipient)
