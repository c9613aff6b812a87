"""The removal of old deliveries from the journal's database, in slices."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from errklein.journal._reading import FIRST_ID

SLICE = 256
"""The number of deliveries that one transaction removes, so that others don't wait for long."""


TURNS = 300
"""The number of turns, of about a second each, after which the keys are counted again."""


@dataclass(frozen=True)
class Retention:
    """How long deliveries are kept. Those that wait or run are never removed.

    :param seconds: The time for which deliveries are kept after their receipt.
    :param max_bytes: The size of the used part of the file. Above it, the oldest deliveries are removed, and DEAD ones, which
        were promised to their senders, only when no others are left.
    :param refused_bytes: The size of refused requests, so that many of them don't displace others.
    :param max_keys: The number of keys of each webhook that are remembered. Above it, those that expire first are forgotten.
    """

    seconds: float = 7 * 24 * 3600.0
    max_bytes: int = 1_000_000_000
    refused_bytes: int = 10_000_000
    max_keys: int = 3_000_000


class Pruner:
    """Removes what the retention doesn't keep."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._after = self._turn = self._excess = self._route = 0

    def prune(self, connection: sqlite3.Connection, now: float) -> bool:
        """Remove a slice, and return whether there may be more to remove."""
        limits = self._retention
        removed = [
            self._remove(connection, f"state >= 3 AND id < ({FIRST_ID})", time=now - limits.seconds),
            connection.execute(
                "DELETE FROM dedupe WHERE (route, key) IN "
                "(SELECT route, key FROM dedupe INDEXED BY expiring WHERE expires <= ? LIMIT ?)",
                (now, SLICE),
            ).rowcount,
            self._forget_keys(connection),
            # Those of deliveries that were never stored.
            connection.execute(
                "DELETE FROM once WHERE (id, key) IN "
                "(SELECT id, key FROM once WHERE id < (SELECT coalesce(min(id), (SELECT max(id) FROM once)) FROM deliveries) LIMIT ?)",
                (SLICE,),
            ).rowcount,
        ]
        if _number(connection, "SELECT total(size) FROM deliveries WHERE state = 7") > limits.refused_bytes:
            removed.append(self._remove(connection, "state = 7"))
        if _number(connection, _USED) <= limits.max_bytes:
            self._after = 0
            return SLICE in removed
        return bool(self._remove_oldest(connection)) or SLICE in removed

    def _forget_keys(self, connection: sqlite3.Connection) -> int:
        """Forget a slice of the keys of the webhook with most of them, if they are too many."""
        if not self._turn % TURNS:
            self._route, self._excess = connection.execute(
                "SELECT route, count(*) - ? AS excess FROM dedupe GROUP BY route "
                "UNION ALL SELECT 0, 0 ORDER BY excess DESC LIMIT 1",
                (self._retention.max_keys,),
            ).fetchone()
        self._turn += 1
        forgotten = connection.execute(
            "DELETE FROM dedupe WHERE (route, key) IN "
            "(SELECT route, key FROM dedupe INDEXED BY expiring WHERE route = ? ORDER BY expires LIMIT ?)",
            (self._route, min(SLICE, self._excess)),
        ).rowcount
        self._excess -= forgotten
        return forgotten

    def _remove_oldest(self, connection: sqlite3.Connection) -> int:
        # A search from the first id would pass those that are kept each time.
        condition = f"state IN (3, 5, 6, 7) AND id > {self._after}"
        self._after = _number(connection, f"SELECT coalesce(max(id), 0) FROM ({_OLDEST.format(condition=condition)})")
        return self._remove(connection, condition) or self._remove(connection, "state = 4")

    def _remove(self, connection: sqlite3.Connection, condition: str, **parameters: float) -> int:
        oldest = _OLDEST.format(condition=condition)
        return connection.execute(f"DELETE FROM deliveries WHERE id IN ({oldest})", parameters).rowcount


def _number(connection: sqlite3.Connection, query: str) -> int:
    ((number,),) = connection.execute(query).fetchall()
    return number  # type: ignore[no-any-return]


_OLDEST = f"SELECT id FROM deliveries WHERE {{condition}} ORDER BY id LIMIT {SLICE}"

_USED = (
    "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
"""A query of the bytes in use; the rest of the file is used for new rows."""
