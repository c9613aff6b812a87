"""The removal of old deliveries from the journal's database, in slices."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from math import ceil, inf
from operator import itemgetter
from typing import Any, NamedTuple

from errklein.database import execute_rows
from errklein.journal._reading import FIRST_ID, as_ids
from errklein.journal._writing import ADD_TOTALS, add_to_total

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
    # Of the half for keys of deliveries, unverified webhooks have a quarter.
    "dedupe": _Share(1 / 2, "40 + 2.34 * length(key)"),
    "ended_messages": _Share(
        1 / 20,
        "26 + 17 * (delivery > 0) + 21 * (state > 1) + 1.07 * (length(network) + length(recipient) + length(CAST(reason AS BLOB)))",
    ),
    "sent_ids": _Share(
        1 / 10, "32 + 2.43 * (length(network) + length(key)) + 1.36 * (length(room) + length(refs))", 500_000
    ),
}
"""What keeps the ids of requests, the records of messages, and the ids that networks have given to messages."""


@dataclass(frozen=True)
class Retention:
    """How long deliveries are kept. Those that wait or run are never removed.

    :param seconds: The time for which deliveries are kept after their receipt.
    :param max_bytes: The size of the used part of the file. Above it, the oldest deliveries are removed, first those of unverified
        webhooks. Of others, duplicates are removed first, then DONE ones, and FAILED and DEAD ones only when no others are left.
    :param refused_bytes: The size of refused requests, at most a tenth of `max_bytes`, so that many of them don't displace others.
    """

    seconds: float = 7 * 24 * 3600.0
    max_bytes: int = 1_000_000_000
    refused_bytes: int = 10_000_000

    @property
    def unverified_bytes(self) -> int:
        """The size of the deliveries of unverified webhooks: a quarter. Those that wait and run are refused above it."""
        return self.max_bytes // 4


class Pruner:
    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self.turn = self._excess = self._merged = self._most_keys = 0
        self._excess_rows: dict[str, int] = {}
        self._next_counts: dict[str, int] = {}
        self._of_strangers = 0.0
        self.route = 0  # the webhook whose keys are forgotten before their time; 0 for none
        self.waiting_bytes: float | None = None
        """The size of the unverified deliveries that wait or run; None if it wasn't added up this time."""

    def prune(
        self, connection: sqlite3.Connection, now: float, unverified: Collection[int] = (), keys: int = 0
    ) -> bool:
        """Remove a slice, and return whether there may be more to remove. `keys` is the number of those that the process has added."""
        limits = self._retention
        removed = [
            _remove(connection, "aged", _OLD, {"time": now - limits.seconds}),
            connection.execute(
                "DELETE FROM dedupe WHERE (route, key) IN "
                "(SELECT route, key FROM dedupe INDEXED BY expiring WHERE expires <= ? LIMIT ?)",
                (now, SLICE),
            ).rowcount,
            self._remove_rows(connection, "ended_messages", now - limits.seconds),
            self._remove_rows(connection, "sent_ids", now - IDS_AGE),
            self._forget_keys(connection, unverified, keys),
            # Those of deliveries that were never stored.
            connection.execute(
                "DELETE FROM once WHERE (id, key) IN "
                "(SELECT id, key FROM once WHERE id < (SELECT coalesce(min(id), (SELECT max(id) FROM once)) FROM deliveries) LIMIT ?)",
                (SLICE,),
            ).rowcount,
        ]
        connection.execute("DELETE FROM totals WHERE at < ?", ((now - limits.seconds) // 3600 * 3600,))
        for removal in _REMOVE_AFTER_MONTHS:
            connection.execute(removal, (now,))
        removed.append(self._merge_minutes(connection, int(now // 3600 - 1) * 3600))
        self.waiting_bytes = None
        if self._of_strangers <= limits.unverified_bytes:
            self._of_strangers, self.waiting_bytes = connection.execute(_UNVERIFIED_SIZES).fetchone()
        of_strangers = self._evict(connection, self._of_strangers - limits.unverified_bytes, [0])
        of_all = self._evict(connection, connection.execute(_USED).fetchone()[0] - limits.max_bytes, [0, 1])
        # What is left of them is known after a slice of their own only.
        self._of_strangers = self._of_strangers - of_strangers if of_strangers and not of_all else 0.0
        of_refused = self._evict_refused(connection)
        return bool(of_strangers or of_all or of_refused) or SLICE in removed

    def _merge_minutes(self, connection: sqlite3.Connection, before: int) -> int:
        """Add a slice of the totals of minutes, before this hour, to those of their hours."""
        if self._merged >= before:
            return 0
        rows = connection.execute(
            "DELETE FROM totals WHERE (at, route) IN "
            "(SELECT at, route FROM totals WHERE at BETWEEN ? AND ? AND at % 3600 > 0 ORDER BY at LIMIT ?) RETURNING *",
            (self._merged, before, SLICE),
        ).fetchall()
        self._merged = before if len(rows) < SLICE else max(at for at, *_ in rows)
        execute_rows(connection, ADD_TOTALS, [(at // 3600 * 3600, *numbers) for at, *numbers in rows])
        return len(rows)

    def _count(self, connection: sqlite3.Connection, table: str, group: str = "0") -> list[Any] | None:
        """Return number and size of a table's rows by group, if they are to be counted now: those of a small table each turn."""
        if self.turn < self._next_counts.get(table, 0):
            return None
        query = f"SELECT {group}, count(*), total({SHARES[table].size}) FROM {table} GROUP BY 1"
        groups = connection.execute(query).fetchall()
        self._next_counts[table] = self.turn + min(TURNS, sum(number for _, number, _ in groups) // ROWS)
        return groups

    def _remove_rows(self, connection: sqlite3.Connection, table: str, before: float) -> int:
        """Remove a slice of the rows about messages that are old, or too many."""
        share = SHARES[table]
        groups = self._count(connection, table)
        if groups is not None:
            _, number, size = groups[0] if groups else (0, 0, 1.0)
            fitting = number * self._retention.max_bytes * share.part / size
            self._excess_rows[table] = number - int(min(fitting, share.most))
        excess = self._excess_rows[table]
        count = min(SLICE, excess) if excess > 0 else SLICE
        removed = connection.execute(_REMOVE[table], {"time": before, "count": count, "excess": excess}).rowcount
        self._excess_rows[table] -= removed
        return removed

    def _forget_keys(self, connection: sqlite3.Connection, unverified: Collection[int], added: int) -> int:
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
        forgotten = connection.execute(
            "DELETE FROM dedupe WHERE (route, key) IN "
            "(SELECT route, key FROM dedupe INDEXED BY expiring WHERE route = ? ORDER BY expires LIMIT ?)",
            (self.route, max(0, min(SLICE, self._excess))),
        ).rowcount
        self._excess -= forgotten
        return forgotten

    def _evict(self, connection: sqlite3.Connection, excess: float, verified: Sequence[int]) -> int:
        """Remove the oldest deliveries of the first kind that there is: a slice, of about so many bytes. Return their size."""
        for kind, state in product(verified, _ENDED) if excess > 0 else ():
            sizes = dict(connection.execute(_OLDEST[kind], (state,)).fetchall())
            if sizes:
                # Each before which too few bytes are removed.
                ends = zip(sizes, accumulate(sizes.values(), initial=0), strict=False)
                ids = [number for number, before in ends if before < min(excess, SLICE_BYTES)]
                _remove(connection, "evicted", "SELECT value FROM json_each(?)", (as_ids(ids),))
                return sum(sizes[number] for number in ids)
        return 0

    def _evict_refused(self, connection: sqlite3.Connection) -> bool:
        """Remove refused requests if they have too many bytes: of the webhook with most of them, and there of its main reason."""
        found = connection.execute(_MOST_REFUSED).fetchone()
        if found is None or found[0] <= min(self._retention.refused_bytes, self._retention.max_bytes // 10):
            return False
        _, route, reason, number = found
        _remove(
            connection,
            "evicted",
            "SELECT id FROM deliveries INDEXED BY refused "
            "WHERE state = 7 AND route = ? AND reason IS ? ORDER BY id LIMIT ? OFFSET ?",
            (route, reason, min(SLICE, (number + 1) // 2), min(FIRST_KEPT, number // 4)),
        )
        return True


def _remove(connection: sqlite3.Connection, column: str, ids: str, parameters: Any) -> int:
    """Remove the deliveries of a query of ids, also from the ledger, and count those that were accepted in this column of `totals`."""
    rows = connection.execute(
        f"DELETE FROM deliveries WHERE id IN ({ids}) RETURNING id, CAST(received_at / 3600 AS INTEGER) * 3600, route, state < 6",
        parameters,
    ).fetchall()
    connection.execute(
        "DELETE FROM ledger WHERE id IN (SELECT value FROM json_each(?))", (as_ids([row[0] for row in rows]),)
    )
    add_to_total(connection, column, Counter((at, route) for _, at, route, accepted in rows if accepted))
    return len(rows)


# A clock that is only this journal's must not remove what a trigger keeps.
_MONTHS_AGO = f"min(?, CAST(strftime('%s', 'now') AS INTEGER)) - {RECORDS_AGE}"

_REMOVE_AFTER_MONTHS = (
    f"DELETE FROM actions WHERE id IN (SELECT id FROM actions ORDER BY id LIMIT {SLICE}) AND at < {_MONTHS_AGO}",
    f"DELETE FROM runs WHERE id < (SELECT max(id) FROM runs) AND began < {_MONTHS_AGO}",
    f"DELETE FROM message_totals WHERE at < {_MONTHS_AGO}",
)

_OLD = f"SELECT id FROM deliveries WHERE state >= 3 AND id < ({FIRST_ID}) ORDER BY id LIMIT {SLICE}"

_REMOVE = {
    "ended_messages": """
        DELETE FROM ended_messages WHERE id IN
        (SELECT id FROM (SELECT id, ended_at FROM ended_messages ORDER BY id LIMIT :count) WHERE ended_at < :time OR :excess > 0)
    """,
    "sent_ids": """
        DELETE FROM sent_ids WHERE (network, key) IN (
            SELECT network, key FROM (SELECT * FROM sent_ids INDEXED BY sent_times ORDER BY sent_at LIMIT :count)
            WHERE sent_at < :time OR :excess > 0
        )
    """,
}

_ENDED = (6, 3, 5, 4)  # the states of deliveries that have ended, in the order in which they are removed

_OLDEST = [
    f"SELECT id, size FROM deliveries WHERE {kind} AND state = ? ORDER BY id LIMIT {SLICE}"
    for kind in ("verified = 0 AND state < 7", "verified = 1 AND state >= 3")
]

_UNVERIFIED_SIZES = "SELECT total(size), total(size * (state < 3)) FROM deliveries INDEXED BY unverified WHERE verified = 0 AND state < 7"

_MOST_REFUSED = """
    SELECT sum(total(size)) OVER (), route, reason, count(*) FROM deliveries INDEXED BY refused WHERE state = 7
    GROUP BY route, reason ORDER BY sum(total(size)) OVER (PARTITION BY route) DESC, total(size) DESC LIMIT 1
"""

_USED = (
    "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
"""A query of the bytes in use; the rest of the file is used for new rows."""
