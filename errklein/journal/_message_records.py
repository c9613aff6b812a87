"""Records of messages in the journal's database: those that wait, and those that were sent, dropped or rejected."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from errklein.chat.outgoing import MOST_FOUND, MessageRecord, MessageState
from errklein.database import MAX_ROWS, Database, execute_rows

MOST_UNSENT = 10_000
"""The number of records that are in memory: the latest ones."""

_STATES = (MessageState.WAITING, MessageState.SENT, MessageState.DROPPED, MessageState.REJECTED)
_NUMBERS = {state: number for number, state in enumerate(_STATES)}

_OF_DELIVERY = ("delivery = :delivery AND delivery > 0",) * 2
_TO_RECIPIENT = [
    f"{state} lower(CAST(recipient AS TEXT)) = lower(CAST(:recipient AS TEXT))" for state in ("", "state > 1 AND")
]

_FIND = """
    SELECT id, network, recipient, delivery, 0, accepted_at, '' FROM outbox WHERE {}
    UNION ALL SELECT id, network, recipient, delivery, state, ended_at, reason FROM ended_messages WHERE {}
    ORDER BY id DESC LIMIT :count
"""

_INSERT = "INSERT OR REPLACE INTO ended_messages VALUES {}"

_REMOVE = """
    DELETE FROM ended_messages WHERE id IN
    (SELECT id FROM (SELECT id, ended_at FROM ended_messages ORDER BY id LIMIT :count) WHERE ended_at < :time OR :excess > 0)
"""


def find_messages(database: Database, delivery: int = 0, recipient: str = "") -> list[MessageRecord]:
    """Return the records that `OutboxStore.find` returns, as far as they are on disk."""
    conditions = _OF_DELIVERY if delivery else _TO_RECIPIENT
    rows = database.read(
        _FIND.format(*conditions),
        {"delivery": delivery, "recipient": _blob(recipient), "count": MOST_FOUND},
    )
    return [
        MessageRecord(number, _text(network), _text(to), of, _STATES[state], at, reason)
        for number, network, to, of, state, at, reason in reversed(rows)
    ]


def is_wanted(record: MessageRecord, delivery: int, recipient: str) -> bool:
    """Return whether `OutboxStore.find` returns the record."""
    if delivery:
        return record.delivery == delivery
    return record.state is not MessageState.SENT and record.recipient.lower() == recipient.lower()


def insert_messages(connection: sqlite3.Connection, records: Sequence[MessageRecord]) -> None:
    """Store records of messages that were sent, dropped or rejected."""
    rows = [
        (number, _blob(network), _blob(to), of, _NUMBERS[state], at, reason)
        for number, network, to, of, state, at, reason in records
    ]
    for start in range(0, len(rows), MAX_ROWS):
        execute_rows(connection, _INSERT, rows[start : start + MAX_ROWS])


def remove_messages(connection: sqlite3.Connection, before: float, count: int, excess: int) -> int:
    """Remove a slice of the oldest records: those from before this Unix time, or `excess` ones. Return their number."""
    count = min(count, excess) if excess > 0 else count
    return connection.execute(_REMOVE, {"time": before, "count": count, "excess": excess}).rowcount


def _blob(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogatepass")
