"""Schema migrations: numbered steps from an older file to a newer one.

The number of a file's last step is stored as its `user_version`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from errklein.database._errors import DatabaseError

Migration = Sequence[str]
"""The SQL statements that upgrade a file of version n to version n + 1."""


def upgrade(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Apply the missing migrations in one transaction.

    :param connection: a connection in autocommit mode.
    :param path: the file, for errors.
    :param migrations: all migrations; the first one creates the schema.
    :raises DatabaseError: if the file is of a newer version or of another program; it is not changed.
    :raises sqlite3.Error: if a statement fails; the file is not changed.
    """
    connection.execute("BEGIN IMMEDIATE")
    # Commits, or rolls back if something is raised.
    with connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise DatabaseError(
                f"{path} was made by a newer errklein (schema {version}; this one supports up to {len(migrations)}); "
                "install the newer errklein again, or move the file away to start without values"
            )
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise DatabaseError(
                f"{path} is a database of another program; set BOT_DATA_DIR to a directory that only errklein uses"
            )
        for migration in migrations[version:]:
            for statement in migration:
                connection.execute(statement)
        if version < len(migrations):
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
