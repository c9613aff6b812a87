"""The journal in a PostgreSQL database, which several processes use at the same time.

1. Each unfinished delivery has a message in PGMQ's queue, sent in the transaction that records the delivery. The message is
   invisible while a process leases the delivery, and while it waits for a time: the engine decides who runs what, by the
   server's clock. `deliveries` is the history, as on SQLite, with the process that has leased it.
2. A delivery that is leased again while it is RUNNING has lost its process. One without ack="now" isn't run again.
   The leases of a process end when its row in `nodes` is removed, or after their time.
3. The end of an attempt counts only if the process still has the lease.
4. Of two processes that record the same key at the same time, one waits for the other.
5. No transaction waits for a delivery while it holds its message, so that leases and ends don't wait for each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from twisted.internet.defer import Deferred

from errklein.chat.outgoing import OutgoingMessage
from errklein.database import Run, SQLConnection, execute_rows
from errklein.journal import (
    FURTHEST,
    NUMBERS,
    PROCESS_ENDED,
    QUERIES,
    End,
    JournalArchive,
    JournalReader,
    JournalWriter,
    Pruner,
    Redaction,
    Retention,
    SQLiteJournal,
    SQLiteOutboxStore,
    as_ids,
    delivery_of,
    fitting,
    read_queries,
    request_of,
)
from errklein.ports.journal import JournalError
from errklein.postgres._database import PostgresDatabase
from errklein.running import ThreadReactor, call_from_thread
from errklein.webhooks.deliveries import DeliveryState, StoredDelivery

BLOCK = 10_000  # the number of ids that a process takes at once, as in schema.sql
WAKE_UP = 15  # the seconds after which a process looks for the deliveries of others, if nobody tells it
_LOCKS = 512  # the number of different locks of keys. The server has room for some thousands.
_AGAIN = 0.02  # the seconds after which a process looks again for what another one was leasing
_FOREVER = 1e9  # the seconds of a lease that only its process ends

_QUERIES = QUERIES | read_queries(Path(__file__).with_name("queries.sql"))
_RUNNING, _FAILED = NUMBERS[DeliveryState.RUNNING], NUMBERS[DeliveryState.FAILED]


class PostgresReader(JournalReader):
    queries = _QUERIES

    def next_due(self, webhook: str, ordered: bool = False) -> float | None:
        query = self.queries["next due in order" if ordered else "next due"]
        waits = [wait for (wait,) in self._database.read(query, {"webhook": webhook})]
        # Another process may be leasing the oldest one, and leave it.
        soon = self._now() + _AGAIN if ordered else 0.0
        # The clocks of the server and of this machine may differ.
        return (soon if waits[0] <= 0 else round(self._now() + waits[0], 6)) if waits else None


class PostgresWriter(JournalWriter):
    queries = _QUERIES

    def begin(self, connection: SQLConnection) -> None:
        """Note that a process begins. Other processes may run what is RUNNING."""
        connection.execute("INSERT INTO runs (began) VALUES (?)", (self._now(),))

    def _known(
        self, connection: SQLConnection, deliveries: Sequence[StoredDelivery], now: float
    ) -> dict[tuple[int, str], StoredDelivery]:
        if deliveries:
            keys = {f"{one.webhook} {one.key}" for one in deliveries}
            # All processes lock them in the same order.
            locks = sorted({crc32(key.encode("utf-8", "surrogatepass")) % _LOCKS for key in keys})
            connection.execute(self.queries["lock keys"], (as_ids(locks),))
        return super()._known(connection, deliveries, now)

    def end(self, connection: SQLConnection, arguments: Sequence[End]) -> Sequence[None]:
        super().end(connection, arguments)
        now = self._now()
        retries = [(one.id, one.due_at - now) for one in arguments if one.state is DeliveryState.RETRY]
        execute_rows(connection, self.queries["retry"], retries)
        return [None] * len(arguments)

    def lease(
        self,
        connection: SQLConnection,
        webhook: str,
        count: int,
        seconds: float,
        ordered: bool = False,
        busy: Sequence[int] = (),
    ) -> Sequence[StoredDelivery]:
        now, route = self._now(), self._route(connection, webhook)
        wanted, condition = {"route": route, "count": count + len(busy), "seconds": seconds, "furthest": FURTHEST}, ""
        if ordered:
            locked = connection.execute(self.queries["lock route"], (route,))
            candidates = self.queries["candidates"].format(due="")
            oldest = connection.execute(candidates, {"route": route, "count": 1}).fetchone()
            if not locked.fetchone()[0] or oldest is None or oldest[0] in busy:
                return ()
            # Nothing but this delivery is read, so that no later one is leased whatever other processes do meanwhile.
            condition = "AND deliveries.id = :id"
            wanted |= {"id": oldest[0], "count": 1}
        read, show = (self.queries[name].format(condition) for name in ("read", "show"))
        messages = dict(connection.execute(read, wanted).fetchall())
        if len(messages) < wanted["count"] and connection.execute(show, wanted).rowcount:
            messages |= connection.execute(read, wanted).fetchall()
        if not messages:
            return ()
        # A statement of its own, which sees all deliveries whose messages were read.
        rows = connection.execute(self.queries["read deliveries"], (as_ids(messages),)).fetchall()
        # The seconds for which messages of deliveries that aren't leased are invisible.
        waits = {number: 0.0 for number, state, *_ in rows if number in busy and state != _RUNNING}
        rows = [row for row in rows if row[0] not in busy]
        if lost := [number for number, state, *_ in rows if state == _RUNNING]:
            parameters = {"ids": as_ids(lost), "now": now, "reason": PROCESS_ENDED}
            ended = connection.execute(self.queries["end lost"], parameters).fetchall()
            failed = {number for number, state, _ in ended if state == _FAILED}
            connection.execute(self.queries["delete messages"], (as_ids(messages[number] for number in failed),))
            waits |= {number: due_at - now for number, state, due_at in ended if due_at > now}
            rows = [row for row in rows if row[0] not in failed | waits.keys()]
        taken = rows[: min(count, fitting(size for *_, size in rows))]
        waits |= dict.fromkeys((number for number, *_ in rows[len(taken) :]), 0.0)
        waits |= {number: _FOREVER for number, _, durable, _ in taken if not durable}
        execute_rows(connection, self.queries["hide"], [(messages[number], wait) for number, wait in waits.items()])
        ids = as_ids(number for number, *_ in taken)
        connection.execute(self.queries["lease"], (now, now + seconds, ids))
        leased = connection.execute(self._leased_query, (ids,)).fetchall()
        return [delivery_of(row, request_of(head, body)) for head, body, *row in leased]

    def replay(
        self, connection: SQLConnection, ids: Sequence[int], force: bool = False, spacing: float = 0.0
    ) -> Sequence[int]:
        found = super().replay(connection, ids, force, spacing)
        # Those that waited for a retry have a message.
        connection.execute(self.queries["messages of"], (as_ids(found),))
        execute_rows(
            connection, self.queries["send again"], [(number, place * spacing) for place, number in enumerate(found)]
        )
        return found


class PostgresPruner(Pruner):
    """Removes what is old, in one process at a time."""

    _size = 0.0

    def prune(self, connection: SQLConnection, now: float) -> bool:
        # The lock belongs to the session, so that it is always the same process.
        ((is_first,),) = connection.execute("SELECT pg_try_advisory_lock('runs'::regclass::oid::bigint)").fetchall()
        if is_first:
            return super().prune(connection, now)
        self.turn += 1
        ((self._writer.waiting_bytes,),) = connection.execute(self._queries["unverified waiting"]).fetchall()
        return False

    def _used(self, connection: SQLConnection) -> float:
        if (groups := self._count(connection, "deliveries")) is not None:
            self._size = float(groups[0][2]) if groups else 0.0
        return self._size

    def _evict(self, connection: SQLConnection, excess: float, kinds: Sequence[str]) -> int:
        evicted = super()._evict(connection, excess, kinds)
        self._size -= evicted
        return evicted


class PostgresOutboxStore(SQLiteOutboxStore):
    queries = _QUERIES

    def lease(self, without: Sequence[str] | None = None) -> Deferred[Sequence[OutgoingMessage]]:
        # A process that can't write may not be the owner any more, and mustn't send what it only reads.
        return super().lease(without or ())

    def _lease(self, without: Sequence[str], connection: SQLConnection) -> Sequence[Any]:
        # A transaction before may have taken these, although its end was lost with the connection.
        free = "UPDATE outbox SET owner = 0 WHERE id IN (SELECT value FROM json_each(?))"
        connection.execute(free, (as_ids(self._waiting.taken),))
        rows = super()._lease(without, connection)
        self._writing.taken |= {row[0] for row in rows}
        self._waiting.taken -= self._writing.taken
        return rows

    def _enter(self, connection: SQLConnection, added: Mapping[int, OutgoingMessage]) -> Collection[OutgoingMessage]:
        # A transaction before, whose end was lost with the connection, may have entered them.
        entered = execute_rows(connection, self.queries["add to message_ledger"], [(number,) for number in added])
        return [added[number] for cursor in entered for (number,) in cursor.fetchall()]


class PostgresJournal(SQLiteJournal):
    """Implements `errklein.ports.journal.Journal`. Raises DatabaseError if the database can't be used."""

    shared = True
    _writer_class, _reader_class, _pruner_class = PostgresWriter, PostgresReader, PostgresPruner
    _outbox_class = PostgresOutboxStore

    def __init__(
        self,
        database: PostgresDatabase,
        reactor: ThreadReactor,
        now: Callable[[], float],
        redaction: Redaction | None = None,
        retention: Retention | None = None,
        runs: tuple[Run, Run] | None = None,
    ) -> None:
        self._wake_functions: list[Callable[[], None]] = []
        self._fenced = database
        self._use(database, True, reactor, now, redaction, retention, runs)
        database.restored = self._wake_up

    def close(self) -> Deferred[None]:
        # The next owner may have begun. What is left is harmless: ends of own leases, numbers, and what became of own messages.
        self._fenced.fence = None
        return super().close()

    def _reserve_ids(self) -> None:
        ((first,),) = self._database.read("SELECT nextval('delivery_ids')")
        self._use_ids(first)
        # Others keep this function, which goes on to later blocks.
        self.next_id = self._take_id

    def _use_ids(self, first: int) -> None:
        self._ids = range(first, first + BLOCK)

    def _take_id(self) -> int:
        ids = self._ids
        if not ids:
            raise JournalError("no more deliveries get an id until the database answers")
        self._ids = ids[1:]
        return ids[0]

    def wake_up(self, function: Callable[[], None]) -> None:
        """Call the function after the database was absent, and from time to time: others may have left deliveries."""
        self._wake_functions.append(function)

    def _wake_up(self) -> None:
        for function in self._wake_functions:
            call_from_thread(self._reactor, function)

    def _prune(self, connection: SQLConnection) -> bool:
        # While the database is absent, none can be taken.
        given_up = self._ids.stop if len(self._ids) > BLOCK // 2 else 0
        ((first,),) = connection.execute(self._writer.queries["new ids"], (given_up,)).fetchall()
        if first is not None:
            self._use_ids(first)
        has_more = super()._prune(connection)
        if self._pruner.turn % WAKE_UP == 0:
            self._wake_up()
        return has_more


class PostgresArchive(PostgresReader, JournalArchive):
    """The journal for other processes than the bot, such as the command line."""

    def __init__(self, database: PostgresDatabase) -> None:
        PostgresReader.__init__(self, database)
        self._writer = PostgresWriter(time.time, Redaction(), 0.0)

    def nodes(self) -> Sequence[str]:
        return [name for (name,) in self._database.read(self.queries["nodes"])]

    def replay(self, ids: Sequence[int], force: bool = False, user: str = "", spacing: float = 0.0) -> Sequence[int]:
        found = super().replay(ids, force, user, spacing)
        self._database.write(self.queries["tell"])
        return found

    def set_paused(self, webhook: str, paused: bool) -> None:
        super().set_paused(webhook, paused)
        self._database.write(self.queries["tell"])
