"""SQL statements with many rows.

The sqlite3 module releases the interpreter lock for each step of a statement. In a busy process a thread waits for it up to
half a millisecond then, so one statement with twenty rows takes less time than twenty statements.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

MAX_ROWS = 32
"""The number of rows of one statement. The connection keeps each statement prepared, one for each number of rows."""


def execute_rows(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]]
) -> list[sqlite3.Cursor]:
    """Run the statement, in which `{}` stands for the rows of a VALUES clause, and return a cursor for each MAX_ROWS of them."""
    return [
        connection.execute(_with_rows(statement, len(some), len(some[0])), tuple(chain.from_iterable(some)))
        for some in (rows[start : start + MAX_ROWS] for start in range(0, len(rows), MAX_ROWS))
    ]


@lru_cache(1024)
def _with_rows(statement: str, rows: int, columns: int) -> str:
    row = f"({','.join('?' * columns)})"
    return statement.format(",".join([row] * rows))
