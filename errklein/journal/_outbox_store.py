"""The messages of the journal's file: those that wait to be sent, and records of those that were sent, dropped or rejected."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, ClassVar, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat.handles import Handle, MessageRef
from errklein.chat.operations import Wanted
from errklein.chat.outgoing import MOST_FOUND, MessageRecord, MessageState, OutgoingMessage, waiting_record
from errklein.database import MAX_ROWS, Operation, SQLConnection, SQLDatabase, each, execute_rows
from errklein.journal._reading import QUERIES, as_ids
from errklein.journal._writing import bounded_reason
from errklein.running import ThreadReactor, call_from_thread, cancel_timers

WRITE_DELAY = 0.015  # the seconds after which a new message is written, unless it was sent before
LAZY_DELAY = 0.05  # the seconds after which it is written that messages were sent: a crash repeats them, and loses none

FLUSH_INTERVAL = 0.01
"""The least seconds between two transactions that callers of `flush` wait for. Most messages are sent within that time."""

RECORD_DELAY = 1.0  # the seconds after which records are written, unless another transaction takes them before
RETRY_DELAY = 3.0  # the seconds between attempts while the file can't be written
MOST_RECORDS = 1000  # the number of records that wait for the disk. Above it, none are kept of messages that were sent.
MOST_UNSENT = 10_000  # the number of records that are in memory: the latest ones
IDS = 2**32  # the number of ids that each process reserves

_COLUMNS = ", ".join(OutgoingMessage._fields)
"""The columns of a message. They aren't in the order of the fields in files that earlier versions have created."""

_INSERT = (
    f"INSERT INTO outbox ({_COLUMNS}, owner) VALUES {{}} ON CONFLICT (id) DO UPDATE SET "  # noqa: S608 -- the names of fields
    + ", ".join(f"{name} = excluded.{name}" for name in OutgoingMessage._fields[1:])
)
_CHANGEABLE = ("body", "wanted", "recipient", "sent")
_OF_OTHERS = f"SELECT {_COLUMNS} FROM outbox WHERE owner <> ? ORDER BY id"  # noqa: S608 -- the names of fields
_TAKE = f"UPDATE outbox SET owner = ? WHERE owner <> ?{{}} RETURNING {_COLUMNS}"  # noqa: S608 -- the names of fields
_OF_DELIVERY = ("delivery = :delivery AND delivery > 0",) * 2

_TEXTS = ("network", "recipient", "body", "origin", "details", "key", "wanted")
"""The fields of a message that are text. They are stored as BLOBs, since SQLite refuses lone surrogates in texts."""

_NUMBERS_OF_ROWS: Mapping[str, Any] = {"priority": bool, "accepted_at": float, "sent": float, "delivery": int}

_STATES = (MessageState.WAITING, MessageState.SENT, MessageState.DROPPED, MessageState.REJECTED)
_NUMBERS = {state: number for number, state in enumerate(_STATES)}

_log = Logger()


class _Sent(NamedTuple):
    """The ids that the network has given to a message, or at last to one that has edited it, whose id is `ended`."""

    ended: int
    room: str
    refs: Sequence[MessageRef]
    at: float


class _Changes:
    """Changes of messages that aren't on disk. True if messages change; records and totals alone don't count. `changed` has the
    new fields of messages that aren't in `added`, `removed` the ends of messages, `refs` the ids of messages by their networks and
    keys, `totals` the numbers of messages that were never on disk, by hour and column, and `taken` the ids of leased messages."""

    def __init__(self) -> None:
        self.added: dict[int, OutgoingMessage] = {}
        self.changed: dict[int, dict[str, Any]] = {}
        self.removed: dict[int, str] = {}
        self.records: dict[int, MessageRecord] = {}
        self.refs: dict[tuple[str, str], _Sent] = {}
        self.totals: Counter[tuple[int, str]] = Counter()
        self.taken: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.refs)

    @property
    def has_any(self) -> bool:
        return bool(self or self.records or self.totals)

    def count(self, accepted_at: float, end: str) -> None:
        hour = int(accepted_at // 3600) * 3600
        self.totals[hour, "accepted"] += 1
        self.totals[hour, end] += 1

    def change(self, number: int, fields: dict[str, Any]) -> None:
        """Change a message, which keeps its place."""
        if number in self.added:
            self.added[number] = self.added[number]._replace(**fields)
        else:
            self.changed[number] = self.changed.get(number, {}) | fields

    def leave(self, left: _Changes, is_due: Callable[[OutgoingMessage], bool]) -> None:
        """Leave the new messages of deliveries that aren't due, and those that only a lease takes, to other changes."""
        left.taken, self.taken = self.taken, left.taken
        for number in [number for number, one in self.added.items() if one.delivery and not is_due(one)]:
            left.added[number] = self.added.pop(number)

    def followed_by(self, later: _Changes) -> _Changes:
        """Return both as one. A message that is added and then removed is in neither, and counted."""
        both = _Changes()
        both.totals = self.totals + later.totals
        both.taken = self.taken | later.taken
        both.added, both.changed = self.added | later.added, dict(self.changed)
        for number, fields in later.changed.items():
            both.change(number, fields)
        both.removed = dict(self.removed)
        for number, end in later.removed.items():
            if (message := both.added.pop(number, None)) is None:
                both.removed[number] = end
            else:
                both.count(message.accepted_at, end)
            both.changed.pop(number, None)
        both.records, both.refs = self.records | later.records, self.refs | later.refs
        return both


@dataclass(eq=False, repr=False)
class SQLiteOutboxStore:
    """Implements `errklein.ports.outbox.OutboxStore`, which describes the methods, in the file and group commits of a
    `SQLiteJournal`. Create it on the reactor. Changes wait in memory until a transaction takes them: the journal's
    thread calls `write` within the transaction, then `committed` or `undone`. So a message that is sent before its
    transaction begins is never written. Each message on disk has an owner, the process that sends it. Only one at a
    time uses a file, so those of others are free."""

    reactor: ThreadReactor
    database: SQLDatabase
    owner: int
    submit: Callable[[Operation, Any], Deferred[Any]]
    read: Callable[..., Deferred[Any]]
    durable: bool

    queries: ClassVar[Mapping[str, str]] = QUERIES

    def __post_init__(self) -> None:
        self._reactor_thread = threading.get_ident()
        self._ids = count(self.owner)
        self._lock = threading.Lock()
        self._waiting = _Changes()
        self._given: set[int] = set()  # unwritten messages that belong to no process
        # What the running transaction has taken.
        self._writing = _Changes()
        self._timer: IDelayedCall | None = None
        # True from an `add` to the end of the timer that it has started, also while a thread waits for the reactor to start it.
        self._is_due = False
        # When records are to be written, on the reactor's clock.
        self._records_at = 0.0
        # Those who wait for the next flush, and when the last one began.
        self._flushes: list[Deferred[None]] = []
        self._flushed_at = -FLUSH_INTERVAL
        self._flush_timer: IDelayedCall | None = None
        # Whether the last write failed, and whether this was logged and not yet followed by a write that succeeded.
        self._failing = self._reported = False
        self._closed = False

    @property
    def unwritten(self) -> bool:
        if not self.durable:
            return False
        with self._lock:
            some = self._waiting, self._writing
            return any(one.added or any(fields.keys() - {"sent"} for fields in one.changed.values()) for one in some)

    def add(self, message: OutgoingMessage) -> OutgoingMessage:
        with self._lock:
            # `_replace` takes twice as long.
            message = OutgoingMessage(next(self._ids), *message[1:])
            self._waiting.added[message.id] = message
        if not self._is_due:
            self._is_due = True
            self._write_within(WRITE_DELAY)
        return message

    def give(self, message: OutgoingMessage) -> OutgoingMessage:
        self._given.add(number := next(self._ids))
        with self._lock:
            message = message._replace(id=number)
            self._waiting.added[number] = message
        self._write_within(WRITE_DELAY)
        return message

    def advance(self, id: int, sent: float) -> None:
        with self._lock:
            self._waiting.change(id, {"sent": sent})
        self._write_within(LAZY_DELAY)

    def change(self, id: int, body: str | None = None, wanted: str | None = None, recipient: str | None = None) -> None:
        texts = zip(_CHANGEABLE, (body, wanted, recipient), strict=False)
        fields = {name: text for name, text in texts if text is not None}
        with self._lock:
            self._waiting.change(id, fields)
        self._write_within(WRITE_DELAY)

    def end(self, record: MessageRecord, refs: Sequence[MessageRef] = ()) -> None:
        with self._lock:
            changes = self._waiting
            if not record.id:
                record = record._replace(id=next(self._ids))
                changes.count(record.at, record.state)
            elif (message := changes.added.pop(record.id, None)) is not None:
                changes.count(message.accepted_at, record.state)
            else:
                changes.removed[record.id] = record.state
            changes.changed.pop(record.id, None)
            if refs and record.key:
                changes.refs[record.network, record.key] = _Sent(record.id, record.recipient, tuple(refs), record.at)
                if len(changes.refs) > MOST_UNSENT:
                    del changes.refs[next(iter(changes.refs))]
            records = changes.records
            has_record = record.state is not MessageState.SENT or (record.delivery and len(records) < MOST_RECORDS)
            if has_record:
                records[record.id] = record._replace(reason=bounded_reason(record.reason), key="")
                if len(records) > MOST_UNSENT:
                    del records[next(iter(records))]
                elif len(records) == 1:
                    self._records_at = self.reactor.seconds() + RECORD_DELAY
        if changes.removed or refs:
            self._write_within(LAZY_DELAY)
        elif has_record:
            self._write_within(RECORD_DELAY)

    def find(self, delivery: int = 0, recipient: str = "") -> Deferred[Sequence[MessageRecord]]:
        before = self._all_changes()

        def with_unwritten(found: Sequence[MessageRecord]) -> Sequence[MessageRecord]:
            # What was written during the read is missing in one of them, and the end of a message counts.
            after, known = self._all_changes(), list(found)
            for changes in (before, after):
                known += [waiting_record(message)._replace(key="") for message in changes.added.values()]
                known += changes.records.values()
            records = {one.id: one for one in sorted(known, key=lambda one: one.state is not MessageState.WAITING)}
            for number in after.removed:
                if number in records and records[number].state is MessageState.WAITING:
                    del records[number]
            wanted = [record for record in records.values() if _is_wanted(record, delivery, recipient)]
            return sorted(wanted, key=lambda record: record.id)[-MOST_FOUND:]

        return self.read(find_messages, self.database, delivery, recipient, self.queries).addCallback(with_unwritten)

    def refs_of(self, handle: Handle) -> Deferred[Sequence[MessageRef]]:
        network, key = handle.network, handle.key
        unwritten = self._all_changes().refs.get((network, key))
        if unwritten is not None:
            return succeed(unwritten.refs)
        query = "SELECT room, refs FROM sent_ids WHERE network = ? AND key = ?"
        found = self.read(self.database.read, query, (_stored(network), _stored(key)))
        return found.addCallback(
            lambda rows: [
                MessageRef(network, other or _text(room), number, thread)
                for room, refs in rows
                for number, thread, other in json.loads(refs)
            ]
        )

    def forget_refs(self, network: str, is_meant: Callable[[str], bool]) -> Deferred[int]:
        return self.submit(each, partial(self._forget_refs, _stored(network), is_meant))

    def _forget_refs(self, network: object, is_meant: Callable[[str], bool], connection: SQLConnection) -> int:
        self.write(connection, lambda message: False)
        rooms = connection.execute("SELECT DISTINCT room FROM sent_ids WHERE network = ?", (network,)).fetchall()
        meant = [(network, room) for (room,) in rooms if is_meant(_text(room))]
        removed = connection.executemany("DELETE FROM sent_ids WHERE network = ? AND room = ?", meant)
        return removed.rowcount if meant else 0

    def _all_changes(self) -> _Changes:
        with self._lock:
            return self._writing.followed_by(self._waiting)

    def flush(self) -> Deferred[None]:
        """See `OutboxStore.flush`. While the file can't be written, it fires at once."""
        if self._failing or not self._has_changes():
            return succeed(None)
        flushed: Deferred[None] = Deferred()
        self._flushes.append(flushed)
        wait = self._flushed_at + FLUSH_INTERVAL - self.reactor.seconds()
        # The clock may have been set back, also after the timer was started.
        if not 0 < wait <= FLUSH_INTERVAL or not self.durable or self._closed:
            self._flush()
        elif self._flush_timer is None:
            self._flush_timer = self.reactor.callLater(wait, self._flush)
        return flushed

    def _flush(self) -> None:
        cancel_timers(self._flush_timer)
        self._flush_timer = None
        flushes, self._flushes = self._flushes, []
        self._flushed_at = self.reactor.seconds()
        written = self._write_now() if self._has_changes() else succeed(None)
        for flushed in flushes:
            written.chainDeferred(flushed)

    def _has_changes(self) -> bool:
        with self._lock:
            return bool(self._waiting or self._writing)

    def lease(self, without: Sequence[str] | None = None) -> Deferred[Sequence[OutgoingMessage]]:
        """See `OutboxStore.lease`. While the file can't be written, the first call returns messages that have no owner."""
        leased = self.submit(each, partial(self._lease, without or ()))
        if without is None:
            leased.addErrback(lambda _: self.read(self.database.read, _OF_OTHERS, (self.owner,)))
        return leased.addCallback(self._messages)

    def _lease(self, without: Sequence[str], connection: SQLConnection) -> Sequence[Any]:
        take = _TAKE.format(" AND network <> ?" * len(without))
        return sorted(connection.execute(take, (self.owner, self.owner, *map(_stored, without))).fetchall())

    def _messages(self, rows: Sequence[Any]) -> Sequence[OutgoingMessage]:
        messages = []
        for row in rows:
            try:
                messages.append(_message(row))
            except (TypeError, ValueError) as error:
                # Another program has written it. It must not keep the bot from starting.
                _log.error("A message that waits to be sent can't be read, and is lost: {error}", error=str(error))
                with self._lock:
                    self._waiting.removed[row[0]] = MessageState.DROPPED
                self._write_within(LAZY_DELAY)
        return messages

    def close(self) -> None:
        """Begin the last write. Messages that are added later aren't stored."""
        self._closed = True
        cancel_timers(self._timer)
        self._timer = None
        if self._flushes:
            self._flush()
        if self._waiting.has_any or self._writing:
            self._write_now()

    # Called in the journal's thread, within or after a transaction.

    def before(self, operation: Operation, ended: Callable[[Any], Iterable[int]]) -> Operation:
        """Return an operation of the journal that writes the messages of deliveries first, in the same transaction.
        `ended` returns the deliveries that end with an argument of the operation. A handler's messages were added
        before it returned, so a delivery is never done without them, whatever the order of the operations in a
        transaction is. If they can't be written, the delivery isn't done either. Messages of other deliveries are left
        to their own ends, or to the timer: after a kill between the two transactions, they would be sent twice."""

        def run(connection: SQLConnection, arguments: Sequence[Any]) -> Sequence[Any]:
            numbers = {number for argument in arguments for number in ended(argument)}
            self.write(connection, lambda message: message.delivery in numbers)
            return operation(connection, arguments)

        return run

    def _write_until(self, connection: SQLConnection, arguments: Sequence[int]) -> Sequence[None]:
        """Write the messages up to these ids. The ends of the deliveries of later ones may be in the next transaction."""
        last = max(arguments)
        self.write(connection, lambda message: message.id <= last)
        return [None] * len(arguments)

    def write(self, connection: SQLConnection, is_due: Callable[[OutgoingMessage], bool]) -> None:
        """Make the changes, without the new messages of deliveries that aren't due."""
        if not self._waiting.has_any:
            return
        with self._lock:
            changes, self._waiting = self._waiting, _Changes()
            changes.leave(self._waiting, is_due)
            self._writing = self._writing.followed_by(changes)
        records = [
            (number, _stored(network), _stored(to), of, _NUMBERS[state], at, reason)
            for number, network, to, of, state, at, reason, _ in changes.records.values()
        ]
        execute_rows(connection, self.queries["add ended messages"], records)
        new = list(changes.added.values())
        for start in range(0, len(new), MAX_ROWS):
            # Few at a time, since their texts are copied.
            some = new[start : start + MAX_ROWS]
            execute_rows(connection, _INSERT, [[*map(_stored, message), self._owner_of(message)] for message in some])
        changed = [
            (number, *(_stored(fields.get(name)) for name in _CHANGEABLE)) for number, fields in changes.changed.items()
        ]
        execute_rows(connection, self.queries["change messages"], changed)
        refs = [
            (one.ended if one.ended in changes.removed else 0, *map(_stored, (*key, one.room)), _as_json(one), one.at)
            for key, one in changes.refs.items()
        ]
        execute_rows(connection, self.queries["keep refs"], refs)
        entered = self._enter(connection, changes.added)
        totals = changes.totals + Counter((int(one.accepted_at // 3600) * 3600, "accepted") for one in entered)
        if changes.removed:
            ids = as_ids(list(changes.removed))
            removed = connection.execute(self.queries["remove messages"], (ids,)).fetchall()
            totals.update((hour, changes.removed[number]) for hour, number in removed)
            connection.execute(self.queries["remove from message_ledger"], (ids,))
        for (hour, column), number in totals.items():
            connection.execute(self.queries["add message total"].format(column), (hour, number))

    def _enter(self, connection: SQLConnection, added: Mapping[int, OutgoingMessage]) -> Collection[OutgoingMessage]:
        """Enter new messages in the ledger, and return those that weren't in it."""
        execute_rows(connection, self.queries["add to message_ledger"], [(number,) for number in added])
        return added.values()

    def _owner_of(self, message: OutgoingMessage) -> int:
        return 0 if message.id in self._given else self.owner

    def committed(self) -> None:
        """Forget what the last transaction has taken: it is on disk."""
        with self._lock:
            self._given.difference_update(self._writing.added)
            self._writing = _Changes()

    def undone(self) -> None:
        """Take back what the last transaction has taken: it has changed nothing."""
        with self._lock:
            self._waiting, self._writing = self._writing.followed_by(self._waiting), _Changes()

    # When the changes are written.

    def _write_within(self, delay: float) -> None:
        """Write within so many seconds. May be called in any thread."""
        if threading.get_ident() == self._reactor_thread:
            self._start_timer(delay)
        else:
            call_from_thread(self.reactor, self._start_timer, delay)

    def _start_timer(self, delay: float) -> None:
        if self._closed or not self.durable:
            # In memory, changes can stay where they are until another transaction takes them.
            return
        delay = RETRY_DELAY if self._failing else delay
        if self._timer is None:
            self._timer = self.reactor.callLater(delay, self._end_timer)
        elif self._timer.getTime() > self.reactor.seconds() + delay:
            self._timer.reset(delay)

    def _end_timer(self) -> None:
        self._timer = None
        # Before the look at the changes: a message that was added before this line is seen, and one after it starts a timer.
        self._is_due = False
        now = self.reactor.seconds()
        if self._waiting or self._writing or (self._waiting.records and now >= self._records_at):
            self._write_now()
            return
        # What could not be written was sent. The next message mustn't wait for RETRY_DELAY.
        self._failing = False
        if self._waiting.records:
            self._start_timer(self._records_at - now)

    def _write_now(self) -> Deferred[None]:
        with self._lock:
            last = max(self._waiting.added, default=0)
        return self.submit(self._write_until, last).addCallbacks(self._written, self._failed)

    def _written(self, _: None) -> None:
        if self._reported:
            _log.info("Messages that wait to be sent are stored again.")
        self._failing = self._reported = False

    def _failed(self, failure: Failure) -> None:
        reason, lost = failure.getErrorMessage(), len(self._waiting.added)
        if self._closed:
            if lost:
                _log.error("Messages that wait to be sent are lost: {count} ({reason})", count=lost, reason=reason)
            return
        if self._waiting:
            if not self._reported:
                text = "Messages that wait to be sent can't be stored, and would be lost if the bot stopped: {reason}"
                _log.error(text, reason=reason)
            self._failing = self._reported = True
        self._start_timer(RETRY_DELAY)


def begin_process(connection: SQLConnection, queries: Mapping[str, str]) -> int:
    """Return the number of a process that begins to use the file. It is also its first id. Each of its IDS ids is
    higher than those of earlier processes, whether they were stored or not."""
    ((owner,),) = connection.execute(queries["begin process"], {"ids": IDS}).fetchall()
    return int(owner)


def find_messages(
    database: SQLDatabase, delivery: int, recipient: str, queries: Mapping[str, str]
) -> list[MessageRecord]:
    to_recipient = queries["to recipient"]
    conditions = _OF_DELIVERY if delivery else (to_recipient, f"state > 1 AND {to_recipient}")
    parameters = {"delivery": delivery, "recipient": _stored(recipient), "count": MOST_FOUND}
    rows = database.read(queries["find messages"].format(*conditions), parameters)
    return [
        MessageRecord(number, _text(network), _text(to), of, _STATES[state], at, reason)
        for number, network, to, of, state, at, reason in reversed(rows)
    ]


def _is_wanted(record: MessageRecord, delivery: int, recipient: str) -> bool:
    if delivery:
        return record.delivery == delivery
    return record.state is not MessageState.SENT and record.recipient.lower() == recipient.lower()


def _message(row: Sequence[Any]) -> OutgoingMessage:
    """Return the message of a row; raises TypeError or ValueError if it isn't one."""
    fields: dict[str, Any] = dict(zip(OutgoingMessage._fields, row, strict=True))
    fields |= {name: _text(fields[name]) for name in _TEXTS}
    fields |= {name: read(fields[name]) for name, read in _NUMBERS_OF_ROWS.items()}
    Wanted.from_json(fields["wanted"])
    if not isinstance(fields["file"], bytes):
        raise TypeError("the file of a message must be a BLOB")
    return OutgoingMessage(**fields)


def _as_json(sent: _Sent) -> str:
    refs = [(ref.id, ref.thread, "" if ref.room == sent.room else ref.room) for ref in sent.refs]
    return json.dumps(refs, separators=(",", ":"))


def _stored(field: object) -> object:
    return field.encode("utf-8", "surrogatepass") if isinstance(field, str) else field


def _text(blob: Any) -> str:
    return bytes.decode(blob, "utf-8", "surrogatepass")
