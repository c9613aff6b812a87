"""Queries of the journal's database."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from itertools import product
from math import ceil, inf, nextafter
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import Any
from urllib.parse import quote, quote_plus

from errklein.database import SQLDatabase
from errklein.webhooks.deliveries import (
    Action,
    Attempt,
    DeliveryQuery,
    DeliveryState,
    FailureGroup,
    Outcome,
    QueueDepth,
    StoredDelivery,
    StoredRequest,
    Total,
)
from errklein.webhooks.exported import merged, shape_of

STATES = tuple(DeliveryState)  # the states by their number in the database
NUMBERS = {state: number for number, state in enumerate(STATES)}

DELIVERY = (
    "d.id, r.name, d.state, d.received_at, d.request_id, d.durable, d.attempt, d.due_at, d.origin, d.key, "
    "d.verified, d.superseded_by, d.answered, d.status, d.reason, d.seconds"
)
"""The columns of a delivery in a query with `deliveries d` and `routes r`, for `delivery_of`."""

MAX_KEY = 100
"""The largest size of a key that is stored itself; of a longer one, its hash is. Also that of a request's id."""


def read_queries(path: Path) -> dict[str, str]:
    """Return the queries of a file by their names."""
    queries = path.read_text("utf-8").split("\n-- query ")[1:]
    return {query.partition(":")[0]: query.partition("\n")[2] for query in queries}


QUERIES = read_queries(Path(__file__).with_name("queries.sql"))

_BOUNDS = "id >= :low AND id < :high"
_FILTERS = {
    "key": " AND key = :key",
    "request_id": " AND request_id = :request_id",
    "status": " AND status = :status",
    "answered": " AND answered = :answered",
    "ids": " AND id IN (SELECT value FROM json_each(:ids))",
}
_OF_ROUTE = f"SELECT id FROM deliveries INDEXED BY {{}} 3 AND route = {{}} AND state = {{}} AND {_BOUNDS}"
_INDEXES = ("unfinished WHERE state <", "finished WHERE state >=")
_FAILURES = ("failures WHERE state IN (4, 5)", "refused WHERE state = 7")
MOST_GROUPS = 200  # the number of groups of failures that are returned
_SLICE, _SLICES = 50_000, 20  # the number of ids that one query of a search reads, and of these queries
_MAX_ID = 2**62
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_MOST_TERMS = 400  # the number of SELECTs in a query of ids; SQLite's limit is 500


class JournalReader:
    """Reads the deliveries in a database, by the methods of `Journal`, which wait for the disk, and raise DatabaseError if it can't be read."""

    queries: Mapping[str, str] = QUERIES

    def __init__(self, database: SQLDatabase, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now
        of_parts = (
            self.queries["contains text"].format(table, column)
            for table, column in product(("contents", "private"), ("head", "body"))
        )
        self._filters = {
            **_FILTERS,
            "reason": f" AND {self.queries['contains reason']}",
            "text": f" AND EXISTS ({self.queries['spellings']} WHERE {' OR '.join(of_parts)})",
        }

    def find(self, query: DeliveryQuery) -> Sequence[StoredDelivery]:
        numbers = None if query.states is None else {NUMBERS[state] for state in query.states}
        until = _MAX_ID if query.until is None else self._first_id(nextafter(query.until, inf))
        parameters = {
            **asdict(query),
            "low": self._first_id(query.since) if query.since is not None else 0,
            "high": min(query.before or _MAX_ID, until),
            "key": query.key and stored_key(query.key),
            "ids": None if query.ids is None else as_ids(query.ids),
            "text": None if query.text is None else json.dumps(_spellings(query.text)),
        }
        filters = "".join(sql for name, sql in self._filters.items() if parameters[name] is not None)
        if query.webhook is None and numbers is None:
            return self._page(
                f"SELECT id FROM deliveries WHERE {_BOUNDS}{filters} ORDER BY id DESC LIMIT :limit", parameters
            )
        routes = self._routes(query.webhook)
        states = range(len(STATES)) if numbers is None else sorted(numbers)
        terms = [_OF_ROUTE.format(_INDEXES[state >= 3], route, state) for route, state in product(routes, states)]
        found: list[StoredDelivery] = []
        for start in range(0, len(terms), _MOST_TERMS):
            ids = " UNION ALL ".join(
                f"SELECT id FROM ({term}{filters} ORDER BY id DESC LIMIT :limit) AS term"
                for term in terms[start : start + _MOST_TERMS]
            )
            found += self._page(ids, parameters)
        return sorted(found, key=lambda delivery: delivery.id, reverse=True)[: query.limit]

    def counted(self, query: DeliveryQuery) -> int:
        selected = DeliveryQuery(query.webhook, query.states, query.since, query.until, query.before, query.limit)
        if query != selected or DeliveryState.DONE not in (query.states or STATES):
            # They have no key, for instance.
            return 0
        ((number,),) = self._database.read(
            "SELECT coalesce(sum(counted), 0) FROM totals WHERE at BETWEEN ? AND ? AND route IN (SELECT value FROM json_each(?))",
            ((query.since or 0) // 60 * 60, query.until or _MAX_ID, as_ids(self._routes(query.webhook))),
        )
        return int(number)

    def totals(self, since: float, until: float, step: int, webhook: str | None = None) -> Sequence[Total]:
        first, end = int(since // step) * step, ceil(until / step) * step
        parameters = {"since": first, "until": end, "step": step, "routes": as_ids(self._routes(webhook))}
        found = {row[0]: Total(*row) for row in self._database.read(self.queries["totals"], parameters)}
        return [found.get(at) or Total(at) for at in range(first, end, step)]

    def failures(self, since: float = 0.0, webhook: str = "", key: str = "") -> Sequence[FailureGroup]:
        routes = self._routes(webhook or None)
        rows = self._database.read(self.queries["causes"], {"since": since, "routes": as_ids(routes)})
        causes = [
            FailureGroup(routes[route], STATES[state], status or 0, reason or "", *numbers)
            for route, state, status, reason, *numbers in rows
        ]
        found = [one for one in merged(causes) if key in ("", one.key)][:MOST_GROUPS]
        return [self._with_ids(one, since, causes) for one in found] if key else found

    def _with_ids(self, group: FailureGroup, since: float, causes: Sequence[FailureGroup]) -> FailureGroup:
        shape, is_refused = shape_of(group.reason), group.state is DeliveryState.REFUSED
        reasons = json.dumps([one.reason for one in causes if shape_of(one.reason) == shape])
        parameters = {**group._asdict(), "state": NUMBERS[group.state], "since": since, "reasons": reasons}
        rows = self._database.read(self.queries["of cause"].format(_FAILURES[is_refused]), parameters)
        sources = [key for _, key, later in rows if is_refused and not later]
        return group._replace(ids=[number for number, _, _ in rows], sources=sources)

    def last_requests(self, webhooks: Sequence[str] | None = None) -> Sequence[StoredDelivery]:
        names = None if webhooks is None else json.dumps(list(webhooks))
        return self._page(self.queries["last requests"], {"limit": _MAX_ID, "names": names})

    def search(self, text: str, before: int | None = None) -> tuple[Sequence[StoredDelivery], int]:
        *_, result = self.searching(text, before)
        return result

    def searching(self, text: str, before: int | None = None) -> Iterator[tuple[Sequence[StoredDelivery], int]]:
        """Yield the result of a search after each slice of the deliveries; it has what all slices until then have found."""
        parameters = {"text": text, "key": stored_key(text), "limit": 50}
        found = []
        if before is None:
            number = int(text) if text.isdecimal() and len(text) < 19 else 0
            found = self._page(self.queries["by id or key"], {**parameters, "id": number})
            ((before,),) = self._database.read("SELECT coalesce(max(id), 0) + 1 FROM deliveries")
        for _ in range(_SLICES):
            low = max(0, before - _SLICE)
            some = self._page(self.queries["searched"], {**parameters, "low": low, "high": before})
            before = some[-1].id if len(some) == parameters["limit"] else low
            found += [one for one in some if one not in found]
            yield found, before
            if not before or len(found) >= 50:
                return

    def replayable(self, ids: Sequence[int], force: bool = False) -> Sequence[int]:
        query = f"SELECT id FROM deliveries WHERE {self.queries['replayable']}"
        return [number for (number,) in self._database.read(query, (as_ids(ids), force))]

    def actions(self, before: int | None = None, limit: int = 50) -> Sequence[Action]:
        latest = "SELECT at, who, way, operation, arguments, id FROM actions WHERE id < ? ORDER BY id DESC LIMIT ?"
        rows = self._database.read(latest, (before or _MAX_ID, limit))
        return [Action(*row) for row in rows]

    def _routes(self, webhook: str | None) -> dict[int, str]:
        return {
            route: name
            for route, name in self._database.read("SELECT id, name FROM routes")
            if webhook is None or name == webhook or name.startswith(webhook + ":")
        }

    def _first_id(self, time: float) -> int:
        ((first,),) = self._database.read(self.queries["first id"], {"time": time})
        return first  # type: ignore[no-any-return]

    def _page(self, ids: str, parameters: dict[str, Any]) -> list[StoredDelivery]:
        rows = self._database.read(
            f"SELECT {DELIVERY} FROM deliveries d JOIN routes r ON r.id = d.route WHERE d.id IN ({ids}) "
            "ORDER BY d.id DESC LIMIT :limit",
            parameters,
        )
        return [delivery_of(row) for row in rows]

    def get(self, id: int) -> StoredDelivery | None:
        rows = self._database.read(
            f"SELECT d.began_at, coalesce(d.traceback, ''), c.head, c.body, {DELIVERY} FROM deliveries d JOIN routes r ON r.id = d.route "
            "LEFT JOIN contents c ON c.id = d.id WHERE d.id = ?",
            (id,),
        )
        if not rows:
            return None
        ((began_at, traceback, head, body, *row),) = rows
        delivery = delivery_of(row, request_of(head, body))
        earlier = self._database.read(
            "SELECT number, began_at, status, reason, seconds, coalesce(traceback, '') FROM attempts WHERE id = ? AND number < ? ORDER BY number",
            (id, delivery.attempt),
        )
        return delivery._replace(
            began_at=began_at,
            outcome=delivery.outcome and delivery.outcome._replace(traceback=traceback),
            attempts=[Attempt(number, began_at, Outcome(*outcome)) for number, began_at, *outcome in earlier],
        )

    def depth(self) -> QueueDepth:
        ((waiting, running, oldest_at, oldest_kept_at),) = self._database.read(self.queries["depth"])
        of_routes = self._database.read(
            "SELECT name, (SELECT count(*) FROM deliveries INDEXED BY finished WHERE state >= 3 AND state = 4 AND route = routes.id) "
            "FROM routes"
        )
        dead = {name: number for name, number in of_routes if number}
        return QueueDepth(
            int(waiting), int(running), sum(dead.values()), oldest_at, dead, self._database.size, oldest_kept_at
        )

    def waiting(self, since: float = inf) -> Sequence[str]:
        return self._names(self.queries["is waiting"], since=since)

    def paused(self) -> Sequence[str]:
        return self._names("paused = 1")

    def _names(self, condition: str, **parameters: object) -> list[str]:
        query = f"SELECT name FROM routes WHERE {condition} ORDER BY name"
        return [name for (name,) in self._database.read(query, parameters)]

    def webhooks(self) -> Sequence[str]:
        return self._names("1 = 1")

    def next_due(self, webhook: str, ordered: bool = False) -> float | None:
        query = self.queries["next due"].format("LIMIT 1" if ordered else "")
        ((due_at,),) = self._database.read(query, {"webhook": webhook})
        return due_at  # type: ignore[no-any-return]


def as_ids(ids: Iterable[int]) -> str:
    return json.dumps(list(ids))


def delivery_of(row: Sequence[Any], request: StoredRequest | None = None) -> StoredDelivery:
    number, route, state, received_at, request_id, durable, attempt, due_at, origin, key, *rest = row
    verified, later, answered, *outcome = rest
    ack = "now" if durable else "after"
    ended = None if outcome[0] is None else Outcome(*outcome)
    arrival = number, route, STATES[state], received_at, request_id, ack
    run = attempt, due_at or 0.0, origin, key, ended, request
    return StoredDelivery(*arrival, *run, verified=bool(verified), superseded_by=later, answered=answered)


def request_of(head: bytes | None, body: bytes | None) -> StoredRequest | None:
    if head is None:
        return None
    lines = head.split(b"\n")
    method, target, client, secure, host, port, base_path = [
        line.decode("utf-8", "surrogatepass") for line in lines[:7]
    ]
    headers = list(zip(lines[7::2], lines[8::2], strict=True))
    return StoredRequest(method, target, headers, body, client, bool(secure), (host, int(port)), base_path)


def _spellings(text: str) -> list[str]:
    """Return the text as requests may have it: itself, in JSON, in a URL or form. ASCII letters are in lower case, as SQLite's `lower` has them."""
    spelt = {text, json.dumps(text)[1:-1], quote(text, "", errors="replace"), quote_plus(text, errors="replace")}
    return sorted({one.translate(_LOWER) for one in spelt})


def stored_key(key: str) -> str:
    is_stored = len(key) <= MAX_KEY and key.isascii()
    return key if is_stored else sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
