"""The store of outgoing messages without a file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from twisted.internet.defer import Deferred, succeed

from errklein.chat.outgoing import OutgoingMessage


class MemoryOutboxStore:
    """Implements `errklein.ports.OutboxStore`. The outboxes have the messages; nothing survives the process."""

    unwritten = False

    def __init__(self) -> None:
        self._ids = count(1)

    def next_id(self) -> int:
        """See `OutboxStore.next_id`."""
        return next(self._ids)

    def add(self, message: OutgoingMessage) -> None:
        """See `OutboxStore.add`."""

    def advance(self, id: int, sent: int) -> None:
        """See `OutboxStore.advance`."""

    def remove(self, ids: Sequence[int]) -> None:
        """See `OutboxStore.remove`."""

    def flush(self) -> Deferred[None]:
        """See `OutboxStore.flush`."""
        return succeed(None)

    def load(self) -> Deferred[Sequence[OutgoingMessage]]:
        """See `OutboxStore.load`."""
        return succeed(())
