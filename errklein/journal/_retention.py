"""The removal of old deliveries from the journal's database, in slices."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate

from errklein.journal._reading import FIRST_ID, as_ids

SLICE = 256
SLICE_BYTES = 16_000_000
"""The number and size of deliveries that one transaction removes, so that others don't wait for long."""

KEY_SIZE = 190
"""The bytes that a key takes: a hash in hexadecimal digits. One of 36 characters takes two thirds."""

TURNS = 300
"""The number of turns, of about a second each, after which the keys are counted again."""


@dataclass(frozen=True)
class Retention:
    """How long deliveries are kept. Those that wait or run are never removed.

    :param seconds: The time for which deliveries are kept after their receipt.
    :param max_bytes: The size of the used part of the file. Above it, deliveries are removed: first those of unverified webhooks,
        then the oldest others, and FAILED and DEAD ones only when no others are left.
    :param refused_bytes: The size of refused requests, so that many of them don't displace others.
    """

    seconds: float = 7 * 24 * 3600.0
    max_bytes: int = 1_000_000_000
    refused_bytes: int = 10_000_000

    @property
    def unverified_bytes(self) -> int:
        """The size of the deliveries of unverified webhooks: a quarter. Those that wait and run are refused above it."""
        return self.max_bytes // 4

    @property
    def max_keys(self) -> int:
        """The number of keys that are remembered: those that fit into a half. Of them, unverified webhooks have a quarter."""
        return self.max_bytes // (2 * KEY_SIZE)


class Pruner:
    """Removes what the retention doesn't keep."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._after = self._turn = self._excess = 0
        self.route = 0
        """The webhook whose keys are forgotten before their time; 0 for none."""
        self.waiting_bytes = 0.0
        """The size of the unverified deliveries that wait or run."""

    def prune(self, connection: sqlite3.Connection, now: float, unverified: Collection[int] = ()) -> bool:
        """Remove a slice, and return whether there may be more to remove.

        :param unverified: The routes whose keys anybody may add.
        """
        limits = self._retention
        removed = [
            self._remove(connection, f"state >= 3 AND id < ({FIRST_ID})", time=now - limits.seconds),
            connection.execute(
                "DELETE FROM dedupe WHERE (route, key) IN "
                "(SELECT route, key FROM dedupe INDEXED BY expiring WHERE expires <= ? LIMIT ?)",
                (now, SLICE),
            ).rowcount,
            self._forget_keys(connection, unverified),
            # Those of deliveries that were never stored.
            connection.execute(
                "DELETE FROM once WHERE (id, key) IN "
                "(SELECT id, key FROM once WHERE id < (SELECT coalesce(min(id), (SELECT max(id) FROM once)) FROM deliveries) LIMIT ?)",
                (SLICE,),
            ).rowcount,
        ]
        connection.execute("DELETE FROM counted WHERE minute < ?", ((now - limits.seconds) // 60,))
        if _number(connection, "SELECT total(size) FROM deliveries WHERE state = 7") > limits.refused_bytes:
            removed.append(self._remove(connection, "state = 7"))
        excess = _number(connection, _UNVERIFIED_SIZE.format(7)) - limits.unverified_bytes
        evicted = excess > 0 and self._evict(connection, excess, _UNVERIFIED) > 0
        self.waiting_bytes = _number(connection, _UNVERIFIED_SIZE.format(3))
        excess = _number(connection, _USED) - limits.max_bytes
        if excess > 0:
            evicted = self._remove_oldest(connection, excess) or evicted
        else:
            self._after = 0
        return evicted or SLICE in removed

    def _forget_keys(self, connection: sqlite3.Connection, unverified: Collection[int]) -> int:
        """Forget a slice of the keys of the webhook with most of them, if they are too many."""
        if not self._turn % TURNS:
            keys = dict(connection.execute("SELECT route, count(*) FROM dedupe GROUP BY route").fetchall())
            others = {route: number for route, number in keys.items() if route in unverified}
            for counted, most in ((others, self._retention.max_keys // 4), (keys, self._retention.max_keys)):
                self._excess = sum(counted.values()) - most
                self.route = max(counted, key=counted.__getitem__) if self._excess > 0 else 0
                if self.route:
                    break
        self._turn += 1
        forgotten = connection.execute(
            "DELETE FROM dedupe WHERE (route, key) IN "
            "(SELECT route, key FROM dedupe INDEXED BY expiring WHERE route = ? ORDER BY expires LIMIT ?)",
            (self.route, max(0, min(SLICE, self._excess))),
        ).rowcount
        self._excess -= forgotten
        return forgotten

    def _remove_oldest(self, connection: sqlite3.Connection, excess: float) -> bool:
        if self._evict(connection, excess, _UNVERIFIED):
            return True
        # A search from the first id would pass those that are kept each time.
        self._after = self._evict(connection, excess, (f"{_ENDED} AND id > {self._after}", _ENDED))
        return bool(self._after or self._evict(connection, excess, _GIVEN_UP))

    def _evict(self, connection: sqlite3.Connection, excess: float, conditions: Sequence[str]) -> int:
        """Remove the oldest deliveries that meet the first of the conditions that some meet: a slice, of about so many bytes.

        :returns: The id of the last one; 0 without any.
        """
        for condition in conditions:
            rows = connection.execute(
                f"SELECT id, size FROM ({_OLDEST.format(columns='id, size', condition=condition)})"
            )
            sizes = dict(rows.fetchall())
            if sizes:
                # Each before which too few bytes are removed.
                ends = zip(sizes, accumulate(sizes.values(), initial=0), strict=False)
                ids = [number for number, before in ends if before < min(excess, SLICE_BYTES)]
                connection.execute(
                    "DELETE FROM deliveries WHERE id IN (SELECT value FROM json_each(?))", (as_ids(ids),)
                )
                return int(ids[-1])
        return 0

    def _remove(self, connection: sqlite3.Connection, condition: str, **parameters: float) -> int:
        oldest = _OLDEST.format(columns="id", condition=condition)
        return connection.execute(f"DELETE FROM deliveries WHERE id IN ({oldest})", parameters).rowcount


def _number(connection: sqlite3.Connection, query: str) -> float:
    ((number,),) = connection.execute(query).fetchall()
    return number  # type: ignore[no-any-return]


_OLDEST = f"SELECT {{columns}} FROM deliveries WHERE {{condition}} ORDER BY id LIMIT {SLICE}"

_UNVERIFIED = [f"verified = 0 AND state < 7 AND state = {state}" for state in (3, 6, 5, 4)]
_ENDED = "state IN (3, 6, 7)"
_GIVEN_UP = ("state = 5", "state = 4")
"""Conditions of deliveries that have ended, in the order in which they are removed."""

_UNVERIFIED_SIZE = (
    "SELECT total(size) FROM deliveries INDEXED BY unverified WHERE verified = 0 AND state < 7 AND state < {}"
)

_USED = (
    "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
"""A query of the bytes in use; the rest of the file is used for new rows."""
