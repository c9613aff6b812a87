"""Changes of the journal's database, for `GroupCommit`: each for many deliveries at once, called in the thread that writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, NamedTuple

from errklein.database import SQLConnection, execute_rows, insert_all
from errklein.journal._reading import DELIVERY, MAX_KEY, NUMBERS, QUERIES, as_ids, delivery_of, request_of, stored_key
from errklein.journal._redaction import Redaction, redacted_head
from errklein.ports.journal import JournalError
from errklein.text.masking import masker
from errklein.webhooks.deliveries import MAX_TRACEBACK, Action, DeliveryState, Outcome, StoredDelivery, StoredRequest

MAX_TEXT = 500  # the largest stored size of a reason, in characters
LEASE_BYTES = 16_000_000  # the largest size of the bodies that one lease reads, unless its first one alone is larger

FURTHEST = 7200.0
"""The seconds after which no attempt is due. One with a later time is due now, since the clock was set back meanwhile."""

PROCESS_ENDED = "the process ended"  # the reason of an attempt during which the process ended

UNVERIFIED_FULL = "what waits and runs of unverified webhooks has reached its share of WEBHOOK_LOG_SIZE"
"""The reason why an unverified delivery isn't recorded."""

# The states by whose reasons and keys is searched.
_IN_INDEXES = DeliveryState.DEAD, DeliveryState.FAILED, DeliveryState.REFUSED
_ROW_SIZE = 90  # the bytes of a delivery's row, and of its entries in indexes and the ledger, without its texts
CACHE = 16_000  # the size of the cache of pages, in KiB
LOG_FILE_SIZE = 64_000_000  # the size in bytes to which the write-ahead log is cut after it has been larger
_TOTALS = ("accepted", "refused", "repeated", "counted", "aged", "evicted")
_COLUMN_OF = {DeliveryState.REFUSED: 1, DeliveryState.DUPLICATE: 2}  # the index of a state in `_TOTALS`; 0 for others

_REMOVE_REQUESTS = (
    "DELETE FROM contents",
    "DELETE FROM private",
    "UPDATE attempts SET reason = '', traceback = NULL",
    f"UPDATE deliveries SET reason = CASE WHEN reason IS NOT NULL THEN '' END, traceback = NULL, size = {_ROW_SIZE}",
)


class End(NamedTuple):
    """The end of an attempt, and the state after it. Without an outcome, the attempt isn't counted."""

    id: int
    state: DeliveryState
    outcome: Outcome | None
    due_at: float = 0.0


class JournalWriter:
    """The operations of the journal, as `errklein.ports.journal.Journal` describes them. Those of many deliveries at once are for
    `GroupCommit`; the others change one thing each."""

    queries: Mapping[str, str] = QUERIES

    def __init__(self, now: Callable[[], float], redaction: Redaction, unverified_bytes: float) -> None:
        self._known_query = self.queries["known"].format(DELIVERY, "{}")
        self._leased_query = self.queries["leased"].format(DELIVERY)
        self._now = now
        self._redaction = redaction
        self._unverified_bytes = unverified_bytes
        self._routes: dict[str, int] = {}
        self.waiting_bytes = 0.0  # the size of the unverified deliveries that wait or run, at most
        self.keys = 0  # the number of keys that were added, also by transactions that were undone
        self.unverified: set[int] = set()  # the routes to whose keys anybody may add some

    def forget(self) -> None:
        """Forget the ids of routes: a transaction that may have added them was undone."""
        self._routes.clear()

    def begin(self, connection: SQLConnection) -> None:
        """Set the connection up, note that a process begins, and end the attempts of an earlier process. Deliveries with `ack="now"` are due at
        once then, others have failed. One during which processes have ended repeatedly is due later, at a time of its
        own: one of these may be what ends them, and must not take the others along each time."""
        connection.execute("INSERT INTO runs (began) VALUES (?)", (self._now(),))
        connection.execute(f"PRAGMA cache_size = -{CACHE}")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_FILE_SIZE}")
        for state, durable in ((DeliveryState.RETRY, True), (DeliveryState.FAILED, False)):
            values = NUMBERS[state], PROCESS_ENDED, self._now(), PROCESS_ENDED, durable
            connection.execute(self.queries["end running"], values)

    def record(
        self, connection: SQLConnection, arguments: Sequence[tuple[StoredDelivery, float, float]]
    ) -> Sequence[StoredDelivery | JournalError | None]:
        now = self._now()
        rows = _Rows()
        results: list[StoredDelivery | JournalError | None] = []
        bounded_ones = [(bounded(delivery), lease, window) for delivery, lease, window in arguments]
        known = self._known(connection, [one for one, _, window in bounded_ones if one.key and window], now)
        for delivery, lease, window in bounded_ones:
            route = self._route(connection, delivery.webhook)
            known_as = (route, delivery.key)
            if window and known_as in known:
                earlier = known[known_as]._replace(request=None)
                results.append(earlier)
                answered = delivery.answered or earlier.status_of_repeated
                duplicate = delivery._replace(state=DeliveryState.DUPLICATE, request=None, answered=answered)
                self._add(rows, duplicate, route, now)
                continue
            if not delivery.verified and self.waiting_bytes > self._unverified_bytes:
                results.append(JournalError(UNVERIFIED_FULL))
                continue
            results.append(None)
            if lease:
                delivery = delivery._replace(state=DeliveryState.RUNNING, attempt=1, due_at=now + lease)
            size = self._add(rows, delivery, route, now)
            if not delivery.verified:
                self.waiting_bytes += size
                self.unverified.add(route)
            if delivery.key and window:
                known[known_as] = delivery
                rows.dedupe.append((*known_as, delivery.id, now + window))
        self.keys += len(rows.dedupe)
        rows.insert(connection, self.queries)
        return results

    def _known(
        self, connection: SQLConnection, deliveries: Sequence[StoredDelivery], now: float
    ) -> dict[tuple[int, str], StoredDelivery]:
        keys = {(self._route(connection, delivery.webhook), delivery.key): delivery for delivery in deliveries}
        known = {}
        for cursor in execute_rows(connection, self._known_query, [(*key, now) for key in keys]):
            for route, key, number, *row in cursor.fetchall():
                if row[0] is not None:
                    known[route, key] = delivery_of(row)
                else:
                    # Retention has removed it. The keys of deliveries that were given up are removed with them.
                    known[route, key] = keys[route, key]._replace(
                        id=number, state=DeliveryState.DONE, request=None, outcome=Outcome(200)
                    )
        return known

    def log(self, connection: SQLConnection, arguments: Sequence[Sequence[StoredDelivery]]) -> Sequence[None]:
        rows = _Rows()
        for deliveries in arguments:
            for delivery in deliveries:
                self._add(rows, bounded(delivery), self._route(connection, delivery.webhook), delivery.received_at)
        rows.insert(connection, self.queries)
        return [None] * len(arguments)

    def count(self, connection: SQLConnection, counts: Mapping[str, int]) -> None:
        at = int(self._now() // 60) * 60
        self.add_to_total(connection, "counted", {(at, self._route(connection, name)): counts[name] for name in counts})

    def _add(self, rows: _Rows, delivery: StoredDelivery, route: int, began_at: float = 0.0) -> int:
        request = delivery.request
        outcome_size = 0 if delivery.outcome is None else len(delivery.outcome.reason)
        size = _ROW_SIZE + len(delivery.request_id) + len(delivery.key) + outcome_size
        if delivery.state in _IN_INDEXES:
            size += 30 + len(delivery.key) + outcome_size + len(delivery.outcome.traceback if delivery.outcome else "")
        if request is not None:
            durable = delivery.ack == "now" and delivery.state in (DeliveryState.RECEIVED, DeliveryState.RUNNING)
            target, headers = redacted_head(request)
            body = None if delivery.state is DeliveryState.REFUSED else self._redaction.body(request.body)
            logged = self._redaction.level != "off"
            if logged:
                head = head_of(request, target, headers)
                size += _pages(len(head) + len(body or b""))
                rows.contents.append((delivery.id, head, body))
            same_body = logged and body is request.body
            if durable and not (same_body and target == request.target and headers == list(request.headers)):
                whole = head_of(request, request.target, request.headers)
                rows.private.append((delivery.id, whole, None if same_body else request.body))
                if not delivery.verified:
                    size += _pages(len(whole) + (0 if same_body else len(request.body or b"")))
        rows.deliveries.append(delivery_row(delivery, route, began_at, size))
        minute = int(delivery.received_at // 60) * 60
        rows.totals.setdefault((minute, route), [0] * 6)[_COLUMN_OF.get(delivery.state, 0)] += 1
        if delivery.key and delivery.state not in (DeliveryState.DUPLICATE, DeliveryState.REFUSED):
            rows.superseding[route, delivery.key] = delivery.id
        return size

    def end(self, connection: SQLConnection, arguments: Sequence[End]) -> Sequence[None]:
        rows = []
        for number, state, outcome, due_at in arguments:
            if outcome is None:
                result: tuple[object, ...] = (None, None, None, None)
            else:
                outcome = bounded_outcome(outcome)
                result = (outcome.status, outcome.reason, outcome.seconds, outcome.traceback or None)
            rows.append((number, NUMBERS[state], due_at, *result))
        execute_rows(connection, self.queries["end"], rows)
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
        now = self._now()
        parameters = {
            "route": self._route(connection, webhook),
            "count": 1 if ordered else count,
            "now": now,
            "furthest": now + FURTHEST,
            "busy": as_ids(busy),
        }
        due = "(due_at <= :now OR due_at > :furthest) AND id NOT IN (SELECT value FROM json_each(:busy))"
        candidates = self.queries["candidates"].format(due="" if ordered else f"AND {due}")
        rows = connection.execute(
            f"SELECT id, {self.queries['body size']} FROM ({candidates}) AS due WHERE {due}", parameters
        ).fetchall()
        ids = as_ids([number for number, _ in rows[: fitting(size for _, size in rows)]])
        connection.execute(self.queries["lease"], (now, now + seconds, ids))
        leased = connection.execute(self._leased_query, (ids,)).fetchall()
        return [delivery_of(row, request_of(head, body)) for head, body, *row in leased]

    def extend(self, connection: SQLConnection, ids: Sequence[int], seconds: float) -> None:
        extended = {"due_at": self._now() + seconds, "ids": as_ids(ids), "seconds": seconds}
        connection.execute(self.queries["extend"], extended)

    def pause(self, connection: SQLConnection, webhook: str, paused: bool) -> None:
        number = self._route(connection, webhook)
        connection.execute("UPDATE routes SET paused = ? WHERE id = ?", (paused, number))

    def note(self, connection: SQLConnection, action: Action) -> None:
        row = action.at, action.who, action.way, action.operation, action.arguments
        connection.execute("INSERT INTO actions (at, who, way, operation, arguments) VALUES (?, ?, ?, ?, ?)", row)

    def check(self, connection: SQLConnection) -> None:
        # SQLite doesn't write a page whose new content is the same, but it does write one that was changed back.
        connection.execute("INSERT INTO once VALUES (0, '')")
        connection.execute("DELETE FROM once WHERE id = 0")

    def once(self, connection: SQLConnection, id: int, key: str) -> bool:
        return connection.execute("INSERT INTO once VALUES (?, ?) ON CONFLICT DO NOTHING", (id, key)).rowcount == 1

    def replay(
        self, connection: SQLConnection, ids: Sequence[int], force: bool = False, spacing: float = 0.0
    ) -> Sequence[int]:
        rows = connection.execute(
            f"UPDATE deliveries SET state = 0, due_at = 0, origin = 'replay' WHERE {self.queries['replayable']} RETURNING id",
            (as_ids(ids), force),
        )
        found = sorted(number for (number,) in rows.fetchall())
        now = self._now()
        due = [(now + place * spacing, number) for place, number in enumerate(found if spacing else ())]
        connection.executemany("UPDATE deliveries SET due_at = ? WHERE id = ?", due)
        return found

    def remove_requests(self, connection: SQLConnection, ids: Sequence[int]) -> Sequence[int]:
        ended = "SELECT id FROM deliveries WHERE state >= 3 AND id IN (SELECT value FROM json_each(?))"
        found = [number for (number,) in connection.execute(ended, (as_ids(ids),)).fetchall()]
        for change in _REMOVE_REQUESTS:
            connection.execute(f"{change} WHERE id IN (SELECT value FROM json_each(?))", (as_ids(found),))
        return found

    def add_to_total(self, connection: SQLConnection, column: str, numbers: Mapping[tuple[int, int], int]) -> None:
        """Add numbers, by the beginning of their time and by route, in a column of `totals`."""
        rows = [(*key, *(number * (column == one) for one in _TOTALS)) for key, number in numbers.items()]
        execute_rows(connection, self.queries["add totals"], rows)

    def _route(self, connection: SQLConnection, name: str) -> int:
        if name not in self._routes:
            connection.execute("INSERT INTO routes (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
            ((self._routes[name],),) = connection.execute("SELECT id FROM routes WHERE name = ?", (name,)).fetchall()
        return self._routes[name]


class _Rows:
    def __init__(self) -> None:
        self.deliveries: list[Sequence[Any]] = []
        self.contents: list[Sequence[Any]] = []
        self.private: list[Sequence[Any]] = []
        self.dedupe: list[Sequence[Any]] = []
        self.superseding: dict[tuple[int, str], int] = {}
        self.totals: dict[tuple[int, int], list[int]] = {}

    def insert(self, connection: SQLConnection, queries: Mapping[str, str]) -> None:
        rows: dict[str, Sequence[Sequence[object]]] = {
            queries["add deliveries"]: self.deliveries,
            "INSERT INTO ledger VALUES {}": [row[:1] for row in self.deliveries],
            queries["add totals"]: [(*key, *numbers) for key, numbers in self.totals.items()],
            "INSERT INTO contents VALUES {}": self.contents,
            "INSERT INTO private VALUES {}": self.private,
            queries["add keys"]: self.dedupe,
            queries["supersede"]: [(*known_as, number) for known_as, number in self.superseding.items()],
        }
        insert_all(connection, rows)


def delivery_row(delivery: StoredDelivery, route: int, began_at: float, size: int) -> Sequence[object]:
    outcome = delivery.outcome
    durable = delivery.ack == "now"
    due_at = delivery.due_at if durable or delivery.state is not DeliveryState.RUNNING else None
    result = (None, None, None) if outcome is None else (outcome.status, outcome.reason, outcome.seconds)
    traceback = (outcome and outcome.traceback) or None
    arrival = delivery.id, route, NUMBERS[delivery.state], delivery.received_at, delivery.request_id, durable
    run = delivery.attempt, due_at, delivery.origin, delivery.key, began_at, *result
    return *arrival, *run, size, delivery.verified, delivery.superseded_by, delivery.answered, traceback


def _pages(size: int) -> int:
    """Return the bytes in the file of a request of this size: whole pages, and an equal part of the page that has the rest and others."""
    pages = (size + 30) // 4092
    rest = max(489 * (pages > 0), size - 4092 * pages)
    return 4096 * pages + 4096 // max(1, 4088 // (rest + 10))


def head_of(request: StoredRequest, target: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a request with this target and these headers, as lines. A line end within a field, which no
    HTTP parser accepts, is replaced by a space."""
    host, port = request.server
    fields = (request.method, target, request.client, "s" if request.secure else "", host, str(port), request.base_path)
    lines = [field.encode("utf-8", "surrogatepass") for field in fields] + list(chain.from_iterable(headers))
    head = b"\n".join(lines)
    if head.count(b"\n") >= len(lines):
        head = b"\n".join(line.replace(b"\n", b" ") for line in lines)
    return head


def bounded(delivery: StoredDelivery) -> StoredDelivery:
    return delivery._replace(
        key=stored_key(delivery.key),
        request_id=_bounded_text(delivery.request_id, MAX_KEY),
        outcome=None if delivery.outcome is None else bounded_outcome(delivery.outcome),
    )


def bounded_outcome(outcome: Outcome) -> Outcome:
    traceback = _bounded_text(outcome.traceback[-MAX_TRACEBACK:], MAX_TRACEBACK) if outcome.traceback else ""
    return outcome._replace(reason=bounded_reason(outcome.reason), traceback=traceback)


def bounded_reason(reason: str) -> str:
    """Return a reason as it is stored: with masked secrets, on one line."""
    # An exception may contain a whole body.
    return _bounded_text(" ".join(masker.part(reason, 0, 10 * MAX_TEXT).split()), MAX_TEXT) if reason else ""


def fitting(sizes: Iterable[int]) -> int:
    return max(1, sum(total <= LEASE_BYTES for total in accumulate(sizes)))


def _bounded_text(text: str, size: int) -> str:
    return text[:size].encode("utf-8", "replace").decode("utf-8")
