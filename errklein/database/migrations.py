"""The tables of the storage file, and how older files become new ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from errklein.storage.errors import StorageError

Step = Sequence[str]
"""The SQL statements that make a file of version n one of version n + 1."""

# A key is bytes (UTF-8 that may hold lone surrogates), because SQLite's text can't hold every Python string. The table
# keeps its rowid: then the primary key is an index of its own, and listing keys doesn't read through large values.
STEPS: Sequence[Step] = (
    (
        """
        CREATE TABLE stored (
            namespace BLOB NOT NULL,
            key BLOB NOT NULL,
            value BLOB NOT NULL,
            PRIMARY KEY (namespace, key)
        )
        """,
    ),
    # NULL: the bot has stored the value itself. Otherwise it is from a backup or a shelf, and its pickle is restricted; then
    # this is a JSON array of the names that the operator trusts.
    ("ALTER TABLE stored ADD COLUMN trusted TEXT",),
)


def upgrade(connection: sqlite3.Connection, path: Path, steps: Sequence[Step] = STEPS) -> None:
    """Bring the file to the version that `steps` lead to, in one transaction.

    `connection` is in autocommit mode. Raises StorageError if the file is of a newer version or of another program, and
    sqlite3.Error; then the file is as it was.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(steps):
            raise StorageError(
                f"{path}: a newer errklein made this file (schema {version}, this errklein knows up to {len(steps)}): "
                "install that errklein again, or move the file away to begin empty"
            )
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise StorageError(f"{path}: this is a database of another program: give errklein a directory of its own")
        for step in steps[version:]:
            for statement in step:
                connection.execute(statement)
        if version < len(steps):
            connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
