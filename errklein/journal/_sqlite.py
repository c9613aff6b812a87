"""The journal in a SQLite file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.database import (
    Database,
    DatabaseError,
    GroupCommit,
    JobThread,
    Operation,
    Run,
    SQLConnection,
    SQLDatabase,
    each,
    read_migrations,
)
from errklein.journal._outbox_store import SQLiteOutboxStore, begin_process
from errklein.journal._reading import JournalReader
from errklein.journal._redaction import Redaction
from errklein.journal._retention import Pruner, Retention
from errklein.journal._writing import End, JournalWriter
from errklein.ports.journal import JournalError
from errklein.running import ThreadReactor, call_from_thread, cancel_timers
from errklein.webhooks.deliveries import Action, DeliveryState, Outcome, StoredDelivery

DATABASE = "journal.sqlite"  # the file name of the database in BOT_DATA_DIR
MIGRATIONS = read_migrations(Path(__file__).parent / "migrations")
LOG_DELAY = 0.25  # the seconds after which logged deliveries are written
LOG_SIZE = 1_000_000  # the bytes of logged deliveries that are written at once, without that delay

LOG_LIMIT = 32_000_000
"""The bytes of logged deliveries that may wait for the disk. Above it, they are dropped, and those of strangers above a quarter."""

_ENTRY_SIZE = 2000

INLINE: tuple[Run, Run] = (maybeDeferred, maybeDeferred)
"""Call at once what a journal passes to its threads, for tests. Nothing is removed from such a journal."""

_log = Logger()

P = ParamSpec("P")
T = TypeVar("T")


def _reading(
    method: Callable[Concatenate[JournalReader, P], T], flushed: bool = False
) -> Callable[Concatenate[SQLiteJournal, P], Deferred[T]]:
    """Return a method that calls this one in the thread that reads, with `flushed` after what waits was written."""

    def read(journal: SQLiteJournal, /, *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        if flushed:
            journal.flush()
        return journal._read(getattr(journal._reader, method.__name__), *args, **kwargs)

    return read


def _changing(
    method: Callable[Concatenate[JournalWriter, SQLConnection, P], T], flushed: bool = False
) -> Callable[Concatenate[SQLiteJournal, P], Deferred[T]]:
    """Return a method that calls this one in the thread that writes, in a transaction with others."""

    def change(journal: SQLiteJournal, /, *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        if flushed:
            journal.flush()
        method_of_writer = getattr(journal._writer, method.__name__)
        return journal._submit(each, lambda connection: method_of_writer(connection, *args, **kwargs))

    return change


class SQLiteJournal:
    """Implements `errklein.ports.journal.Journal`, which describes the methods. One process at a time may use a file
    so; others use `JournalArchive`. A thread writes, and another one reads, so lists don't wait for writes. Raises
    DatabaseError if the file can't be read, or was made by a newer errklein."""

    shared = False
    _writer_class, _reader_class, _pruner_class = JournalWriter, JournalReader, Pruner
    _outbox_class = SQLiteOutboxStore

    def __init__(
        self,
        path: Path | None,
        reactor: ThreadReactor,
        now: Callable[[], float],
        redaction: Redaction | None = None,
        retention: Retention | None = None,
        runs: tuple[Run, Run] | None = None,
    ) -> None:
        self._use(Database(path, MIGRATIONS), path is not None, reactor, now, redaction, retention, runs)
        if path is not None:
            # Only a journal with a file is `errklein.ports.values.UsesFiles`.
            self.check_files = self._database.check_files

    def _use(
        self,
        database: SQLDatabase,
        durable: bool,
        reactor: ThreadReactor,
        now: Callable[[], float],
        redaction: Redaction | None,
        retention: Retention | None,
        runs: tuple[Run, Run] | None,
    ) -> None:
        self._reactor = reactor
        self._now = now
        retention = retention or Retention()
        self._writer = self._writer_class(now, redaction or Redaction(), retention.unverified_bytes)
        self._logs = redaction is None or redaction.level != "off"
        self._pruner = self._pruner_class(retention, self._writer)
        self._database = database
        with self._database.transaction() as connection:
            self._writer.begin(connection)
            process = begin_process(connection, self._writer.queries)
        self.next_id: Callable[[], int]
        self._reserve_ids()
        self._reader = self._reader_class(self._database, now)
        self._threads: list[JobThread] = []
        if runs is None:
            self._threads = [JobThread(reactor, "journal writes", self.maintain), JobThread(reactor, "journal reads")]
            runs = self._threads[0].run, self._threads[1].run
        self._run_write, self._run_read = runs
        self.outbox = self._outbox_class(reactor, self._database, process, self._submit, self._read, durable)
        self._commits = GroupCommit(self._database, self._run_write, self._undone, self.outbox.committed)
        self._end_attempt = self.outbox.before(self._writer.end, lambda end: (end.id,))
        self._log_deliveries = self.outbox.before(self._writer.log, lambda deliveries: ())
        self._buffer: list[StoredDelivery] = []
        self._counts: Counter[str] = Counter()
        self._flush: IDelayedCall | None = None
        self._buffer_size = self._waiting_size = self._dropped = 0
        self._maintenance_failed = False
        self._changes = self._forgetting = 0
        self._must_erase = False

    def _reserve_ids(self) -> None:
        # A delivery that a crash has kept from the log may have used its id in `once`.
        ((last_id,),) = self._database.read(
            "SELECT max(coalesce(max(id), 0), coalesce((SELECT max(id) FROM once), 0), (SELECT last FROM removed_ids)) "
            "FROM deliveries"
        )
        self.next_id = count(last_id + 1).__next__

    def record(
        self, delivery: StoredDelivery, *, lease: float = 0.0, window: float = 0.0
    ) -> Deferred[StoredDelivery | None]:
        return self._submit(self._writer.record, (delivery, lease, window))

    lease = _changing(JournalWriter.lease)
    extend = _changing(JournalWriter.extend)
    pause = _changing(JournalWriter.pause)
    once = _changing(JournalWriter.once)
    check = _changing(JournalWriter.check)
    _note = _changing(JournalWriter.note)
    replay = _changing(JournalWriter.replay, flushed=True)
    _remove_requests = _changing(JournalWriter.remove_requests, flushed=True)
    _count = _changing(JournalWriter.count)
    depth = _reading(JournalReader.depth)
    waiting = _reading(JournalReader.waiting)
    next_due = _reading(JournalReader.next_due)
    paused = _reading(JournalReader.paused)
    webhooks = _reading(JournalReader.webhooks, flushed=True)
    find = _reading(JournalReader.find, flushed=True)
    get = _reading(JournalReader.get, flushed=True)
    counted = _reading(JournalReader.counted, flushed=True)
    totals = _reading(JournalReader.totals, flushed=True)
    failures = _reading(JournalReader.failures, flushed=True)
    last_requests = _reading(JournalReader.last_requests, flushed=True)
    replayable = _reading(JournalReader.replayable, flushed=True)
    actions = _reading(JournalReader.actions, flushed=True)

    async def search(self, text: str, before: int | None = None) -> tuple[Sequence[StoredDelivery], int]:
        self.flush()
        slices, result = self._reader.searching(text, before), ((), 0)
        # Other reads happen between the slices.
        while found := await self._read(next, slices, None):
            result = found
        return result

    def retry_at(self, id: int, due_at: float, outcome: Outcome | None) -> Deferred[None]:
        return self._submit(self._end_attempt, End(id, DeliveryState.RETRY, outcome, due_at))

    def finish(self, id: int, outcome: Outcome) -> Deferred[None]:
        state = DeliveryState.DONE if outcome.succeeded else DeliveryState.FAILED
        return self._submit(self._end_attempt, End(id, state, outcome))

    def bury(self, id: int, outcome: Outcome) -> Deferred[None]:
        return self._submit(self._end_attempt, End(id, DeliveryState.DEAD, outcome))

    def forget(self, ids: Sequence[int]) -> Deferred[Sequence[int]]:
        self._must_erase = True
        forgotten = self._remove_requests(ids)
        forgotten.addCallback(lambda found: self._run_write(self._empty_log).addCallback(lambda _: found))
        return forgotten.addErrback(_as_journal_error)

    def _empty_log(self) -> None:
        self._must_erase = not self._database.empty_log()

    def wake_up(self, function: Callable[[], None]) -> None:
        """Call nothing: no other process changes deliveries while this one uses the file."""

    def log(self, delivery: StoredDelivery) -> None:
        if not self._logs:
            return
        size = _ENTRY_SIZE + (0 if delivery.request is None else delivery.request.size)
        # Anybody can send what is refused.
        is_known = delivery.verified and delivery.state is not DeliveryState.REFUSED
        if self._waiting_size + size > (LOG_LIMIT if is_known else LOG_LIMIT // 4):
            self._drop(1, "the disk is too slow")
            return
        if self._flush is None:
            self._flush = self._reactor.callLater(LOG_DELAY, self.flush)
        self._buffer.append(delivery)
        self._buffer_size += size
        self._waiting_size += size
        if self._buffer_size > LOG_SIZE:
            self.flush()

    def count(self, webhook: str) -> None:
        self._counts[webhook] += 1
        if self._flush is None and self._logs:
            self._flush = self._reactor.callLater(LOG_DELAY, self.flush)

    def watch(self, changed: Callable[[], None] | None) -> None:
        self._commits.ended = changed

    def note(self, action: Action) -> None:
        text = f"{action.who}: {action.operation} {action.arguments}"
        warning = "An action isn't noted: {text}: {error}"
        self._note(action).addErrback(lambda failure: _log.warn(warning, text=text, error=failure.getErrorMessage()))

    def flush(self) -> None:
        buffer, size = self._buffer, self._buffer_size
        cancel_timers(self._flush)
        self._flush = None
        if self._counts:
            counts, self._counts = self._counts, Counter()
            number = counts.total()
            self._count(counts).addErrback(lambda failure: self._drop(number, failure.getErrorMessage()))
        if not buffer:
            return
        self._buffer, self._buffer_size = [], 0

        def written(_: None) -> None:
            self._waiting_size -= size
            if self._dropped:
                _log.info("Deliveries of webhooks are logged again; {count} were not.", count=self._dropped)
                self._dropped = 0

        def failed(failure: Failure) -> None:
            self._waiting_size -= size
            self._drop(len(buffer), failure.getErrorMessage())

        self._submit(self._log_deliveries, buffer).addCallbacks(written, failed)

    def _drop(self, count: int, reason: str) -> None:
        if not self._dropped:
            _log.warn("Deliveries of webhooks are not logged: {reason}", reason=reason)
        self._dropped += count

    def maintain(self) -> bool:
        """Remove old deliveries, and return whether there is more to do. Called in the thread that writes. If nothing
        has changed since the last call, the write-ahead log is emptied, which has removed secrets."""
        if self._database.closed:
            return False
        try:
            with self._database.transaction() as connection:
                if not self._pruner.turn % 60:
                    # The totals of messages that were never on disk wait for no other transaction longer than a minute.
                    self.outbox.write(connection, lambda message: False)
                has_more = self._prune(connection)
                changes = connection.total_changes
            self.outbox.committed()
            if changes == self._changes or self._must_erase:
                self._empty_log()
            self._changes = changes
        except Exception as error:
            # Whatever it is, the thread must go on with the writes of others.
            self._undone()
            if not self._maintenance_failed:
                self._warn("Old deliveries of webhooks can't be removed: {error}", error=str(error))
            self._maintenance_failed = True
            return False
        self._maintenance_failed = False
        if self._pruner.route not in (0, self._forgetting):
            ((name,),) = self._database.read("SELECT name FROM routes WHERE id = ?", (self._pruner.route,))
            self._warn(
                "Ids of repeated requests are forgotten before their time, first those of {webhook}: they have reached their share of "
                "WEBHOOK_LOG_SIZE",
                webhook=name,
            )
        self._forgetting = self._pruner.route
        return has_more

    def _prune(self, connection: SQLConnection) -> bool:
        return self._pruner.prune(connection, self._now())

    def _warn(self, text: str, **values: str) -> None:
        call_from_thread(self._reactor, partial(_log.warn, text, **values))

    def close(self) -> Deferred[None]:
        """See `Journal.close`. A closed journal stays so: its threads have ended."""
        if self._database.closed:
            return succeed(None)
        self.outbox.close()
        self.flush()
        self._logs = False
        return self._commits.close().addCallback(lambda _: self._run_write(self._end)).addCallback(self._stop_threads)

    def _end(self) -> None:
        # If this fails, writes before may have failed, too: the process counts as killed.
        with suppress(Exception):
            self._database.write(self._writer.queries["end run"], (self._now(),))
        self._database.close()

    def _stop_threads(self, _: None) -> None:
        for thread in self._threads:
            thread.stop()

    def _submit(self, operation: Operation, argument: Any) -> Deferred[Any]:
        return self._commits.submit(operation, argument).addErrback(_as_journal_error)

    def _undone(self) -> None:
        self._writer.forget()
        self.outbox.undone()

    def _read(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Deferred[T]:
        return self._run_read(partial(function, *args, **kwargs)).addErrback(_as_journal_error)


def _as_journal_error(failure: Failure) -> Any:
    failure.trap(DatabaseError)
    raise JournalError(failure.getErrorMessage()) from failure.value
