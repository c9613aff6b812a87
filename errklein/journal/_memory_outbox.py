"""The store of outgoing messages without a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import chain, count

from twisted.internet.defer import Deferred, succeed

from errklein.chat.outgoing import MOST_FOUND, MessageRecord, MessageState, OutgoingMessage, waiting_record
from errklein.journal._bounds import bounded_reason
from errklein.journal._message_records import MOST_UNSENT, is_wanted


class MemoryOutboxStore:
    """Implements `errklein.ports.outbox.OutboxStore`. The messages survive as long as the object, which tests use for several bots."""

    unwritten = False
    durable = False

    def __init__(self) -> None:
        self._ids = count(1)
        self._first_id = 1
        self._messages: dict[int, OutgoingMessage] = {}
        self._ended: deque[MessageRecord] = deque(maxlen=MOST_UNSENT)

    def next_id(self) -> int:
        """See `OutboxStore.next_id`."""
        return next(self._ids)

    def add(self, message: OutgoingMessage) -> None:
        """See `OutboxStore.add`."""
        self._messages[message.id] = message

    def advance(self, id: int, sent: float) -> None:
        """See `OutboxStore.advance`."""
        if id in self._messages:
            self._messages[id] = self._messages[id]._replace(sent=sent)

    def remove(self, ids: Sequence[int]) -> None:
        """See `OutboxStore.remove`."""
        for number in ids:
            self._messages.pop(number, None)

    def end(self, record: MessageRecord) -> None:
        """See `OutboxStore.end`."""
        self.remove((record.id,))
        if record.delivery or record.state is not MessageState.SENT:
            self._ended.append(record._replace(reason=bounded_reason(record.reason)))

    def find(self, delivery: int = 0, recipient: str = "") -> Deferred[Sequence[MessageRecord]]:
        """See `OutboxStore.find`."""
        records = chain(list(self._ended), map(waiting_record, list(self._messages.values())))
        found = [record for record in records if is_wanted(record, delivery, recipient)]
        return succeed(sorted(found, key=lambda record: record.id)[-MOST_FOUND:])

    def flush(self) -> Deferred[None]:
        """See `OutboxStore.flush`."""
        return succeed(None)

    def load(self) -> Deferred[Sequence[OutgoingMessage]]:
        """See `OutboxStore.load`."""
        return succeed([self._messages[number] for number in sorted(self._messages) if number < self._first_id])

    def restart(self) -> None:
        """Let the messages be those of an earlier process."""
        self._first_id = next(self._ids)
