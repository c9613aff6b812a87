"""Schema migrations: numbered steps from an older file to a newer one.

The number of a file's last step is stored as its `user_version`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from errklein.database._errors import DatabaseError

Migration = str
"""The SQL statements that upgrade a file of version n to version n + 1."""


def read_migrations(directory: Path) -> list[Migration]:
    """Return the contents of the files `0001_….sql`, `0002_….sql` and so on in the directory."""
    files = sorted(directory.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    if [int(file.name[:4]) for file in files] != list(range(1, len(files) + 1)):
        raise ValueError(f"{directory}: the numbers of the migrations must be consecutive, from 0001")
    return [file.read_text(encoding="utf-8") for file in files]


def apply_migrations(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Apply the missing migrations in one transaction, after a backup of an older file.

    The backup of `errklein.sqlite` before migration 2 is `errklein.sqlite.before-2`.

    :param connection: a connection in autocommit mode.
    :param path: the file.
    :param migrations: all migrations; the first one creates the schema.
    :raises DatabaseError: if the file is of a newer version or of another program; it is not changed.
    :raises sqlite3.Error: if a statement fails; the file is not changed.
    """
    connection.execute("BEGIN IMMEDIATE")
    # Commits, or rolls back if something is raised.
    with connection:
        version = _version(connection)
        if version > len(migrations):
            raise DatabaseError(
                f"{path} was made by a newer errklein (schema {version}; this one supports up to {len(migrations)}); "
                "install the newer errklein again, or move the file away to start without values"
            )
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise DatabaseError(
                f"{path} is a database of another program; set BOT_DATA_DIR to a directory that only errklein uses"
            )
        if 0 < version < len(migrations):
            # The transaction has the write lock, so nobody changes the file between the backup and the upgrade.
            _back_up(path, path.with_name(f"{path.name}.before-{version + 1}"))
        for migration in migrations[version:]:
            for statement in _statements(migration):
                connection.execute(statement)
        if version < len(migrations):
            connection.execute(f"PRAGMA user_version = {len(migrations)}")


def check_version(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Raise DatabaseError if the file needs a migration, or was made by a newer errklein."""
    version = _version(connection)
    if version != len(migrations):
        raise DatabaseError(
            f"{path} has schema {version}, and this errklein uses schema {len(migrations)}; "
            "use the errklein of the running bot, or start the bot, which upgrades the file"
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    # `executescript` would commit the transaction.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"incomplete SQL statement: {statement.strip()}")


def _back_up(path: Path, backup: Path) -> None:
    """Copy the file as of its last transaction; when this returns, the copy is complete and on disk, with mode 0600."""
    unfinished = backup.with_name(f"{backup.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(backup)
        directory = os.open(backup.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise DatabaseError(f"{backup}: the backup before the upgrade failed: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
