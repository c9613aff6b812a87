"""The store of outgoing messages in the journal's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat.outgoing import MOST_FOUND, MessageRecord, MessageState, OutgoingMessage, waiting_record
from errklein.database import MAX_ROWS, Database, Operation, execute_rows
from errklein.journal._bounds import bounded_reason
from errklein.journal._message_records import MOST_UNSENT, find_messages, insert_messages, is_wanted
from errklein.journal._reading import as_ids
from errklein.running import cancel_timers, on_reactor_soon

WRITE_DELAY = 0.015
"""The seconds after which a new message is written, unless it was sent before."""

LAZY_DELAY = 0.05
"""The seconds after which it is written that messages were sent: a crash repeats them, and loses none."""

RECORD_DELAY = 1.0
"""The seconds after which records are written, unless another transaction takes them before."""

MOST_RECORDS = 1000
"""The number of records that wait for the disk. Above it, none are kept of messages that were sent."""

RETRY_DELAY = 3.0
"""The seconds between attempts while the file can't be written."""

IDS = 2**32
"""The number of ids that each process reserves."""

_INSERT = "INSERT OR REPLACE INTO outbox VALUES {}"

_SELECT = "SELECT * FROM outbox WHERE id < ? ORDER BY id"

_ADVANCE = "UPDATE outbox SET sent = v.column2 FROM (VALUES {}) AS v WHERE outbox.id = v.column1"

_log = Logger()

T = TypeVar("T")


class JournalReactor(Protocol):
    """The part of a reactor that the journal uses."""

    def callFromThread(self, callable: Callable[..., Any], *args: object) -> None:
        """Call the function on the reactor soon. May be called in any thread."""

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object) -> IDelayedCall:
        """Call the function after `delay` seconds."""


class SQLiteOutboxStore:
    """Implements `errklein.ports.outbox.OutboxStore` in the file of a `SQLiteJournal`, and in its group commits.

    Changes wait in memory until a transaction takes them: the journal's thread calls `write` within the transaction, then
    `committed` or `undone`. So a message that is sent before its transaction begins is never written, which is the usual case.
    The dicts are shared with that thread without a lock. Each of their operations is atomic, so a message is either written or
    removed by `remove`, and never lost. If both see it, it is inserted and deleted.

    :param first_id: What `reserve_ids` has returned.
    :param submit: Runs an operation in a group commit of the file.
    :param read: Calls a function with the database and arguments, in the thread that reads.
    :param durable: See `OutboxStore.durable`.
    """

    def __init__(
        self,
        reactor: JournalReactor,
        first_id: int,
        submit: Callable[[Operation, Any], Deferred[Any]],
        read: Callable[..., Deferred[Any]],
        durable: bool,
    ) -> None:
        self.durable = durable
        self._reactor = reactor
        self._first_id = first_id
        self._submit = submit
        self._read = read
        self._ids = count(first_id)
        self._added: dict[int, OutgoingMessage] = {}
        self._sent: dict[int, float] = {}
        self._removed: dict[int, int] = {}
        self._ended: dict[int, MessageRecord] = {}
        # What the running transaction has taken.
        self._writing: dict[int, OutgoingMessage] = {}
        self._advancing: dict[int, float] = {}
        self._removing: dict[int, int] = {}
        self._recording: dict[int, MessageRecord] = {}
        self._timer: IDelayedCall | None = None
        # True from an `add` to the end of the timer that it has started, also while a thread waits for the reactor to start it.
        self._is_due = False
        self._records_timer: IDelayedCall | None = None
        # Whether the last write failed, and whether this was logged and not yet followed by a write that succeeded.
        self._failing = self._reported = False
        self._closed = False
        self._write_all = self.before(lambda _, arguments: arguments)

    @property
    def unwritten(self) -> bool:
        """See `OutboxStore.unwritten`."""
        return bool(self._added or self._writing)

    def next_id(self) -> int:
        """See `OutboxStore.next_id`."""
        return next(self._ids)

    def add(self, message: OutgoingMessage) -> None:
        """See `OutboxStore.add`."""
        self._added[message.id] = message
        if not self._is_due:
            self._is_due = True
            on_reactor_soon(self._reactor, self._start_timer, WRITE_DELAY)

    def advance(self, id: int, sent: float) -> None:
        """See `OutboxStore.advance`."""
        self._sent[id] = sent
        self._write_lazily()

    def remove(self, ids: Sequence[int]) -> None:
        """See `OutboxStore.remove`."""
        self._remove(ids)
        self._write_soon()

    def _remove(self, ids: Sequence[int]) -> None:
        for number in ids:
            if self._added.pop(number, None) is None:
                self._removed[number] = 0
            self._sent.pop(number, None)

    def end(self, record: MessageRecord) -> None:
        """See `OutboxStore.end`."""
        self._remove((record.id,))
        if record.state is not MessageState.SENT or (record.delivery and len(self._ended) < MOST_RECORDS):
            self._ended[record.id] = record._replace(reason=bounded_reason(record.reason))
            if len(self._ended) > MOST_UNSENT:
                # A copy, since the thread that writes may take some meanwhile.
                self._ended.pop(next(iter(list(self._ended)), 0), None)
        on_reactor_soon(self._reactor, self._write_soon)

    def _write_soon(self) -> None:
        if self._removed:
            self._write_lazily()
        if self._ended:
            self._write_records_later(RECORD_DELAY)

    def find(self, delivery: int = 0, recipient: str = "") -> Deferred[Sequence[MessageRecord]]:
        """See `OutboxStore.find`."""
        before = self._unwritten_records()

        def with_unwritten(found: Sequence[MessageRecord]) -> Sequence[MessageRecord]:
            # What was written during the read is missing in one of them, and the end of a message counts.
            known = [*found, *before, *self._unwritten_records()]
            records = {one.id: one for one in sorted(known, key=lambda one: one.state is not MessageState.WAITING)}
            for number in [*self._removed, *self._removing]:
                if number in records and records[number].state is MessageState.WAITING:
                    del records[number]
            wanted = [record for record in records.values() if is_wanted(record, delivery, recipient)]
            return sorted(wanted, key=lambda record: record.id)[-MOST_FOUND:]

        return self._read(find_messages, delivery, recipient).addCallback(with_unwritten)

    def _unwritten_records(self) -> list[MessageRecord]:
        # In this order: the thread moves them from the first dict of each pair to the second one.
        waiting = [*self._added.values(), *self._writing.values()]
        return [*map(waiting_record, waiting), *self._ended.values(), *self._recording.values()]

    def flush(self) -> Deferred[None]:
        """See `OutboxStore.flush`. While the file can't be written, it fires at once."""
        return succeed(None) if self._failing or not self._has_changes() else self._write_now()

    def load(self) -> Deferred[Sequence[OutgoingMessage]]:
        """See `OutboxStore.load`."""
        return self._read(Database.read, _SELECT, (self._first_id,)).addCallback(self._messages)

    def _messages(self, rows: Sequence[Any]) -> Sequence[OutgoingMessage]:
        messages = []
        for row in rows:
            try:
                messages.append(_message(row))
            except (TypeError, ValueError) as error:
                # Another program has written it. It must not keep the bot from starting.
                _log.error("A message that waits to be sent can't be read, and is lost: {error}", error=str(error))
                self.remove([row[0]])
        return messages

    def close(self) -> None:
        """Begin the last write. Messages that are added later aren't stored."""
        self._closed = True
        cancel_timers(self._timer, self._records_timer)
        self._timer = self._records_timer = None
        if self._has_changes() or self._ended:
            self._write_now()

    def before(self, operation: Operation) -> Operation:
        """Return an operation of the journal that writes the messages first, in the same transaction.

        The end of a delivery is such an operation. A handler's messages were added before it returned, so a delivery is never done
        without its messages, whatever the order of the operations in a transaction is. If they can't be written, the delivery isn't
        done either.
        """

        def run(connection: sqlite3.Connection, arguments: Sequence[Any]) -> Sequence[Any]:
            self.write(connection)
            return operation(connection, arguments)

        return run

    def write(self, connection: sqlite3.Connection) -> None:
        """Make the changes. Called in the thread that writes, within a transaction."""
        # In this order: what was sent of a message isn't taken before the message, and a message that is removed meanwhile is
        # deleted after it was inserted.
        sent = list(_take(self._sent, self._advancing).items())
        new = list(_take(self._added, self._writing).values())
        removed = list(_take(self._removed, self._removing))
        insert_messages(connection, list(_take(self._ended, self._recording).values()))
        for start in range(0, len(new), MAX_ROWS):
            # Few at a time, since their texts are copied.
            execute_rows(connection, _INSERT, [_row(message) for message in new[start : start + MAX_ROWS]])
        execute_rows(connection, _ADVANCE, sent)
        if removed:
            connection.execute("DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?))", (as_ids(removed),))

    def committed(self) -> None:
        """Forget what the last transaction has taken: it is on disk. Called in the thread that writes."""
        self._writing.clear()
        self._advancing.clear()
        self._removing.clear()
        self._recording.clear()

    def undone(self) -> None:
        """Take back what the last transaction has taken: it has changed nothing. Called in the thread that writes."""
        for number, message in self._writing.items():
            if number not in self._removed:
                self._added[number] = message
        for number, sent in self._advancing.items():
            self._sent.setdefault(number, sent)
        self._removed.update(self._removing)
        self._ended.update(self._recording)
        self.committed()

    def _has_changes(self) -> bool:
        return bool(self._added or self._sent or self._removed or self._writing or self._advancing or self._removing)

    def _write_records_later(self, delay: float) -> None:
        if self._records_timer is None and not self._closed:
            self._records_timer = self._reactor.callLater(delay, self._write_records)

    def _write_records(self) -> None:
        """Write the records that no other transaction has taken, and again if that fails."""
        self._records_timer = None
        if self._ended:
            self._submit(self._write_all, None).addErrback(lambda _: self._write_records_later(RETRY_DELAY))

    def _write_lazily(self) -> None:
        if self._timer is None:
            self._start_timer(LAZY_DELAY)

    def _start_timer(self, delay: float) -> None:
        """Start the timer, or shorten it."""
        if self._closed:
            return
        if self._timer is None:
            self._timer = self._reactor.callLater(RETRY_DELAY if self._failing else delay, self._end_timer)
        elif not self._failing:
            self._timer.reset(delay)

    def _end_timer(self) -> None:
        self._timer = None
        # Before the look at the changes: a message that was added before this line is seen, and one after it starts a timer.
        self._is_due = False
        if self._has_changes():
            self._write_now()
        else:
            # What could not be written was sent. The next message mustn't wait for RETRY_DELAY.
            self._failing = False

    def _write_now(self) -> Deferred[None]:
        return self._submit(self._write_all, None).addCallbacks(self._written, self._failed)

    def _written(self, _: None) -> None:
        if self._reported:
            _log.info("Messages that wait to be sent are stored again.")
        self._failing = self._reported = False

    def _failed(self, failure: Failure) -> None:
        reason = failure.getErrorMessage()
        if self._closed:
            if self.unwritten:
                _log.error(
                    "Messages that wait to be sent are lost: {count} ({reason})", count=len(self._added), reason=reason
                )
            return
        if not self._reported:
            _log.error(
                "Messages that wait to be sent can't be stored, and would be lost if the bot stopped: {reason}",
                reason=reason,
            )
        self._failing = self._reported = True
        self._start_timer(RETRY_DELAY)


def reserve_ids(connection: sqlite3.Connection) -> int:
    """Reserve IDS ids, and return the first: each is higher than those of earlier processes, whether they were stored or not."""
    ((first,),) = connection.execute("SELECT max(next, coalesce((SELECT max(id) FROM outbox), 0) + 1) FROM outbox_ids")
    connection.execute("UPDATE outbox_ids SET next = ?", (first + IDS,))
    return int(first)


def _take(source: dict[int, T], target: dict[int, T]) -> dict[int, T]:
    """Move all items, and return them. Other threads may add and remove some; each item is in one of the dicts at any time."""
    taken = {}
    for number in list(source):
        if (item := source.get(number)) is not None:
            target[number] = item
            if (item := source.pop(number, None)) is None:
                del target[number]
            else:
                taken[number] = target[number] = item
    return taken


def _row(message: OutgoingMessage) -> Sequence[object]:
    return [field.encode("utf-8", "surrogatepass") if isinstance(field, str) else field for field in message]


def _message(row: Sequence[Any]) -> OutgoingMessage:
    """Return the message of a row; raises TypeError or ValueError if it isn't one."""
    number, *texts, priority, accepted_at, sent, details, delivery = row
    network, recipient, body, origin, details = (
        bytes.decode(text, "utf-8", "surrogatepass") for text in (*texts, details)
    )
    return OutgoingMessage(
        number,
        network,
        recipient,
        body,
        origin,
        bool(priority),
        float(accepted_at),
        float(sent),
        details,
        int(delivery),
    )
