"""Migrations: numbered steps from an older file to a newer one. The number of a file's last step is its `user_version`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from errklein.database._errors import DatabaseError

Migration = Sequence[str]
"""The SQL statements that make a file of version n one of version n + 1."""


def upgrade(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Bring the file to the version that `migrations` lead to, in one transaction.

    `connection` is in autocommit mode. Raises DatabaseError if the file is of a newer version or of another program, and
    sqlite3.Error; then the file is as it was.
    """
    connection.execute("BEGIN IMMEDIATE")
    # Commits, or rolls back if something is raised.
    with connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise DatabaseError(
                f"{path}: a newer errklein made this file (schema {version}, this errklein knows up to "
                f"{len(migrations)}): install that errklein again, or move the file away to begin empty"
            )
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise DatabaseError(f"{path}: this is a database of another program: give errklein a directory of its own")
        for migration in migrations[version:]:
            for statement in migration:
                connection.execute(statement)
        if version < len(migrations):
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
