"""The removal of old deliveries from the journal's database, in slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from math import ceil, inf
from operator import itemgetter
from typing import Any, NamedTuple

from errklein.database import SQLConnection, execute_rows
from errklein.journal._reading import as_ids
from errklein.journal._writing import JournalWriter

SLICE = 256
SLICE_BYTES = 16_000_000
"""The number and size of deliveries that one transaction removes, so that others don't wait for long."""

IDS_AGE = 30 * 24 * 3600.0  # the seconds for which they are kept: so long messages of the bot can be edited and deleted

RECORDS_AGE = 90 * 24 * 3600.0
"""The seconds for which actions of people, the beginnings of processes and the totals of messages are kept."""

TURNS, ROWS = 300, 10_000
"""The most turns, of about a second each, after which the rows of `SHARES` are counted again, and how many rows are counted each turn.
Keys are counted, too, when there are a thirtieth more."""

FIRST_KEPT = 8
"""The number of refused requests of a webhook and reason that are kept beside the latest ones: they show when it began."""


class _Share(NamedTuple):
    """The part of the size that a table may have, the bytes that a row takes in it and in its indexes, as SQL, and the most rows."""

    part: float
    size: str
    most: float = inf


SHARES = {
    # For a database whose size isn't that of a file.
    "deliveries": _Share(1, "size + 450"),
    # Of the half for keys of deliveries, unverified webhooks have a quarter.
    "dedupe": _Share(1 / 2, "40 + 2.34 * length(key)"),
    "ended_messages": _Share(
        1 / 20,
        "26 + CASE WHEN delivery > 0 THEN 17 ELSE 0 END + CASE WHEN state > 1 THEN 21 ELSE 0 END "
        "+ 1.07 * (length(network) + length(recipient) + length(CAST(reason AS BLOB)))",
    ),
    "sent_ids": _Share(
        1 / 10, "32 + 2.43 * (length(network) + length(key)) + 1.36 * (length(room) + length(refs))", 500_000
    ),
}
"""The tables of the ids of requests, the records of messages, and the ids that networks have given to messages."""


@dataclass(frozen=True)
class Retention:
    """How long deliveries are kept. Those that wait or run are never removed."""

    seconds: float = 7 * 24 * 3600.0  # the time for which deliveries are kept after their receipt
    max_bytes: int = 1_000_000_000
    """The size of the used part of the file. Above it, the oldest deliveries are removed, first those of unverified webhooks.
    Of others, duplicates are removed first, then DONE ones, and FAILED and DEAD ones only when no others are left."""
    refused_bytes: int = 10_000_000
    """The size of refused requests, at most a tenth of `max_bytes`, so that many of them don't displace others."""

    @property
    def unverified_bytes(self) -> int:
        """The size of the deliveries of unverified webhooks: a quarter. Those that wait and run are refused above it."""
        return self.max_bytes // 4


class Pruner:
    def __init__(self, retention: Retention, writer: JournalWriter) -> None:
        self._retention = retention
        self._writer = writer
        self._queries = writer.queries
        self.turn = self._excess = self._merged = self._most_keys = 0
        self._excess_rows: dict[str, int] = {}
        self._next_counts: dict[str, int] = {}
        self._of_strangers = 0.0
        self.route = 0  # the webhook whose keys are forgotten before their time; 0 for none

    def prune(self, connection: SQLConnection, now: float) -> bool:
        """Remove a slice, and return whether there may be more to remove. Tell the writer what waits of unverified webhooks."""
        limits, writer = self._retention, self._writer
        old = self._queries["old"].format(self._queries["first id"], SLICE)
        removed = [
            self._remove(connection, "aged", old, {"time": now - limits.seconds}),
            connection.execute(self._queries["remove expired keys"], (now, SLICE)).rowcount,
            self._remove_rows(connection, "ended_messages", now - limits.seconds),
            self._remove_rows(connection, "sent_ids", now - IDS_AGE),
            self._forget_keys(connection, writer.unverified, writer.keys),
            connection.execute(self._queries["remove once"], (SLICE,)).rowcount,
        ]
        connection.execute("DELETE FROM totals WHERE at < ?", ((now - limits.seconds) // 3600 * 3600,))
        for table in ("actions", "runs", "message_totals"):
            connection.execute(self._queries[f"remove {table}"], (now, RECORDS_AGE))
        removed.append(self._merge_minutes(connection, int(now // 3600 - 1) * 3600))
        if self._of_strangers <= limits.unverified_bytes:
            measured = connection.execute(self._queries["unverified sizes"]).fetchone()
            self._of_strangers, writer.waiting_bytes = measured
        of_strangers = self._evict(connection, self._of_strangers - limits.unverified_bytes, _KINDS[:1])
        of_all = self._evict(connection, self._used(connection) - limits.max_bytes, _KINDS)
        # What is left of them is known after a slice of their own only.
        self._of_strangers = self._of_strangers - of_strangers if of_strangers and not of_all else 0.0
        of_refused = self._evict_refused(connection)
        return bool(of_strangers or of_all or of_refused) or SLICE in removed

    def _used(self, connection: SQLConnection) -> float:
        return connection.execute(self._queries["used"]).fetchone()[0]  # type: ignore[no-any-return]

    def _merge_minutes(self, connection: SQLConnection, before: int) -> int:
        """Add a slice of the totals of minutes, before this hour, to those of their hours."""
        if self._merged >= before:
            return 0
        rows = connection.execute(self._queries["remove minutes"], (self._merged, before, SLICE)).fetchall()
        self._merged = before if len(rows) < SLICE else max(at for at, *_ in rows)
        execute_rows(connection, self._queries["add totals"], [(at // 3600 * 3600, *numbers) for at, *numbers in rows])
        return len(rows)

    def _count(self, connection: SQLConnection, table: str, group: str = "0") -> list[Any] | None:
        """Return number and size of a table's rows by group, if they are to be counted now: those of a small table each turn."""
        if self.turn < self._next_counts.get(table, 0):
            return None
        query = f"SELECT {group}, count(*), coalesce(sum({SHARES[table].size}), 0) FROM {table} GROUP BY 1"
        groups = connection.execute(query).fetchall()
        self._next_counts[table] = self.turn + min(TURNS, sum(number for _, number, _ in groups) // ROWS)
        return groups

    def _remove_rows(self, connection: SQLConnection, table: str, before: float) -> int:
        share = SHARES[table]
        groups = self._count(connection, table)
        if groups is not None:
            _, number, size = groups[0] if groups else (0, 0, 1.0)
            fitting = number * self._retention.max_bytes * share.part / size
            self._excess_rows[table] = number - int(min(fitting, share.most))
        excess = self._excess_rows[table]
        count = min(SLICE, excess) if excess > 0 else SLICE
        removed = connection.execute(
            self._queries[f"remove {table}"], {"time": before, "count": count, "excess": excess}
        ).rowcount
        self._excess_rows[table] -= removed
        return removed

    def _forget_keys(self, connection: SQLConnection, unverified: Collection[int], added: int) -> int:
        """Forget a slice of the keys of the webhook with most of them, if they are too many."""
        if added > self._most_keys:
            self._next_counts.pop("dedupe", None)
        keys = self._count(connection, "dedupe", "route")
        if keys is not None:
            self._most_keys = added + sum(number for _, number, _ in keys) // 30
            self._excess = self.route = 0
            most = self._retention.max_bytes * SHARES["dedupe"].part
            for some, share in ((keys, most), ([row for row in keys if row[0] in unverified], most / 4)):
                if (excess := sum(size for *_, size in some) - share) > 0:
                    self.route, number, size = max(some, key=itemgetter(2))
                    self._excess = ceil(excess * number / size)
        self.turn += 1
        most = max(0, min(SLICE, self._excess))
        forgotten = connection.execute(self._queries["remove keys"], (self.route, most)).rowcount
        self._excess -= forgotten
        return forgotten

    def _evict(self, connection: SQLConnection, excess: float, kinds: Sequence[str]) -> int:
        """Remove the oldest deliveries of the first kind that there is: a slice, of about so many bytes. Return their size."""
        for kind, state in product(kinds, _ENDED) if excess > 0 else ():
            sizes = dict(connection.execute(self._queries[kind], (state, SLICE)).fetchall())
            if sizes:
                # Each before which too few bytes are removed.
                ends = zip(sizes, accumulate(sizes.values(), initial=0), strict=False)
                ids = [number for number, before in ends if before < min(excess, SLICE_BYTES)]
                self._remove(connection, "evicted", "SELECT value FROM json_each(?)", (as_ids(ids),))
                return sum(sizes[number] for number in ids)
        return 0

    def _evict_refused(self, connection: SQLConnection) -> bool:
        """Remove refused requests if they have too many bytes: of the webhook with most of them, and there of its main reason."""
        found = connection.execute(self._queries["most refused"]).fetchone()
        if found is None or found[0] <= min(self._retention.refused_bytes, self._retention.max_bytes // 10):
            return False
        _, route, reason, number = found
        limits = min(SLICE, (number + 1) // 2), min(FIRST_KEPT, number // 4)
        self._remove(connection, "evicted", self._queries["first refused"], (route, reason, *limits))
        return True

    def _remove(self, connection: SQLConnection, column: str, ids: str, parameters: Any) -> int:
        """Remove the deliveries of a query of ids, also from the ledger, and count those that were accepted in this column of `totals`."""
        rows = connection.execute(self._queries["remove deliveries"].format(ids), parameters).fetchall()
        connection.execute(self._queries["remove from ledger"], (as_ids([number for number, *_ in rows]),))
        self._writer.add_to_total(
            connection, column, Counter((at, route) for _, at, route, accepted in rows if accepted)
        )
        return len(rows)


_KINDS = ("oldest unverified", "oldest verified")
_ENDED = (6, 3, 5, 4)  # the states of deliveries that have ended, in the order in which they are removed
