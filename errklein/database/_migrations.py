"""Schema migrations: numbered steps from an older file to a newer one.

The number of a file's last step is stored as its `user_version`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path

from errklein.database._copies import IN_MEMORY, connect, connect_to_read, write_copy
from errklein.database._errors import DatabaseError, explained

Migration = str
"""The SQL statements that upgrade a file of version n to version n + 1."""


def read_migrations(directory: Path) -> list[Migration]:
    """Return the contents of the files `0001_….sql`, `0002_….sql` and so on in the directory."""
    files = sorted(directory.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    if [int(file.name[:4]) for file in files] != list(range(1, len(files) + 1)):
        raise ValueError(f"{directory}: the numbers of the migrations must be consecutive, from 0001")
    return [file.read_text(encoding="utf-8") for file in files]


def apply_migrations(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration], *, back_up: bool = True
) -> None:
    """Apply the missing migrations in one transaction, after a backup of an older file.

    The backup of `errklein.sqlite` before migration 2 is `errklein.sqlite.before-2`.

    :param connection: a connection in autocommit mode.
    :param path: the file.
    :param migrations: all migrations; the first one creates the schema.
    :param back_up: False for a connection to a copy.
    :raises DatabaseError: if the file is of a newer version or of another program; it is not changed.
    :raises sqlite3.Error: if a statement fails; the file is not changed.
    """
    connection.execute("BEGIN IMMEDIATE")
    # Commits, or rolls back if something is raised.
    with connection:
        version = _known_version(connection, path, migrations)
        if back_up and 0 < version < len(migrations):
            # The transaction has the write lock, so nobody changes the file between the backup and the upgrade.
            write_copy(path, path.with_name(f"{path.name}.before-{version + 1}"))
        for migration in migrations[version:]:
            for statement in _statements(migration):
                connection.execute(statement)
        if version < len(migrations):
            connection.execute(f"PRAGMA user_version = {len(migrations)}")


def new_in_memory(migrations: tuple[Migration, ...]) -> sqlite3.Connection:
    """Return a connection to a new database in memory with this schema. The migrations are applied once, and then copied."""
    connection = connect(IN_MEMORY)
    _schema(migrations).backup(connection)
    return connection


@lru_cache(8)
def _schema(migrations: tuple[Migration, ...]) -> sqlite3.Connection:
    connection = connect(IN_MEMORY)
    apply_migrations(connection, IN_MEMORY, migrations)
    return connection


def check_version(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Raise DatabaseError if the file needs a migration, or was made by a newer errklein."""
    version = _version(connection)
    if version != len(migrations):
        raise DatabaseError(
            f"{path} has schema {version}, and this errklein uses schema {len(migrations)}; "
            "use the errklein of the running bot, or start the bot, which upgrades the file"
        )


def upgrade_of(path: Path, migrations: Sequence[Migration]) -> str:
    """Return the sentence that the start of the bot will convert the file; "" if it won't, or if there is no file.

    :raises DatabaseError: if the file can't be read, or used by this errklein.
    """
    if not path.exists():
        return ""
    try:
        with closing(connect_to_read(path)) as connection:
            version = _known_version(connection, path, migrations)
    except sqlite3.Error as error:
        raise explained(path, error) from error
    change = (
        f"from schema {version} to {len(migrations)}; {path.name}.before-{version + 1} will be a copy of the old file"
    )
    return f"{path} will be converted at the start, {change}" if 0 < version < len(migrations) else ""


def _known_version(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> int:
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
    return version


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
