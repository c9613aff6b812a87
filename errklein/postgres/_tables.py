"""The tables in a PostgreSQL database: how they are made and upgraded, and whether this errklein can use them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from time import sleep
from typing import Any

import psycopg

from errklein.database import DatabaseError
from errklein.postgres._database import check_not_moved, connect_options, explained, name_of

QUEUE = "errklein"  # the queue of PGMQ with the unfinished deliveries

_HERE = Path(__file__).parent

MIGRATIONS = [_HERE / "schema.sql", *sorted((_HERE / "migrations").glob("*.sql"))]
"""The steps from one version of the tables to the next. Each must leave tables that the errklein before it can use, too,
and be done within seconds, since processes of the bot wait for it."""

_LOCK_TIMEOUT = 0.4  # the seconds for which an upgrade waits for a lock: less than what PostgreSQL takes for a deadlock
_TRIES = 60


@contextmanager
def connection_to(address: str, name: str = "errklein storage") -> Iterator[psycopg.Connection]:
    """Return a context with a connection whose statements are one transaction, which may take any time. Raises DatabaseError."""
    options = connect_options(address, name)
    options["options"] += " -c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
    try:
        with psycopg.connect(**options) as connection:
            yield connection
    except psycopg.Error as error:
        raise explained(name_of(address), error) from error


def create_tables(address: str) -> Sequence[str]:
    """Make missing tables, or upgrade those of an older errklein, in one transaction. Return a line about each step. The
    user needs the right to make schemas in the database (CREATE), as its owner has it, and no others."""
    for left in reversed(range(_TRIES)):
        try:
            with connection_to(address) as connection:
                # Transactions of the bot that wait behind this one must go on soon, and not be ended as part of a deadlock.
                connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}s'".encode())
                return list(make_tables(connection, name_of(address)))
        except DatabaseError as error:
            if not left or not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                raise
        sleep(_LOCK_TIMEOUT)
    raise AssertionError


def make_tables(connection: psycopg.Connection, name: str) -> Iterator[str]:
    # Nobody else makes them meanwhile.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('errklein storage'))")
    present = version_of(connection)
    if present > len(MIGRATIONS):
        raise DatabaseError(_too_new(name, present))
    if 0 < present < len(MIGRATIONS) - 1:
        # Those that know the present tables can't use the new ones.
        lock_nodes(connection, name)
    if present == 0:
        if (encoding := value_of(connection, "SHOW server_encoding")) != "UTF8":
            raise DatabaseError(f"{name}: the database has the encoding {encoding}; create it with the encoding UTF8")
        if find_spec("pgmq") is None:
            raise DatabaseError(f"{name}: the package pgmq isn't installed; install the extra errklein[postgres]")
        if value_of(connection, "SELECT to_regnamespace('pgmq') IS NULL"):
            connection.execute((files("pgmq") / "sql" / "pgmq.sql").read_bytes())
            yield f"{name}: PGMQ {version('pgmq')} in the schema pgmq"
        elif value_of(connection, "SELECT to_regprocedure('pgmq.read(text, integer, integer, jsonb)') IS NULL"):
            raise DatabaseError(f"{name}: the schema pgmq has another version of PGMQ; use a database without it")
        connection.execute("CREATE SCHEMA IF NOT EXISTS errklein")
        connection.execute("SELECT pgmq.create(%s)", [QUEUE])
    for migration in MIGRATIONS[present:]:
        connection.execute(migration.read_bytes())
    if present == len(MIGRATIONS):
        yield f"{name}: the tables have version {present} already"
        return
    connection.execute("UPDATE made SET version = %s, pgmq = %s", [len(MIGRATIONS), version("pgmq")])
    before = f", before {present}" if present else ""
    yield f"{name}: tables of version {len(MIGRATIONS)}{before} in the schema errklein"


def check_tables(address: str) -> None:
    """Raise DatabaseError if the server can't be reached, or this errklein can't use the tables. It can use those of the
    version before and after its own, so that processes of two versions work side by side during an upgrade."""
    name, known = name_of(address), len(MIGRATIONS)
    with connection_to(address, "errklein start") as connection:
        present = version_of(connection)
        if present == 0:
            raise DatabaseError(f"{name}: the tables are missing; make them with `errklein storage init`")
        if present < known - 1:
            raise DatabaseError(
                f"{name}: the tables have version {present}, and this errklein needs at least {known - 1}; upgrade them "
                "with `errklein storage init`"
            )
        if present > known + 1:
            raise DatabaseError(_too_new(name, present))
        check_not_moved(connection, name)


def version_of(connection: psycopg.Connection) -> int:
    if value_of(connection, "SELECT to_regclass('errklein.made') IS NULL"):
        return 0
    return int(value_of(connection, "SELECT version FROM made"))


def value_of(connection: psycopg.Connection, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def lock_nodes(connection: psycopg.Connection, name: str) -> None:
    """Let no process of the bot start before the end of this transaction. Raises DatabaseError if one runs."""
    connection.execute("LOCK TABLE nodes IN SHARE ROW EXCLUSIVE MODE")
    # One that is suspended has sessions.
    seen = (
        "SELECT name FROM nodes WHERE seen_at > extract(epoch FROM clock_timestamp()) - 10 OR EXISTS ("
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND starts_with(application_name, session)) ORDER BY id"
    )
    if running := [name for (name,) in connection.execute(seen)]:
        raise DatabaseError(f"{name}: processes of the bot use it ({', '.join(running)}); stop them first")


def _too_new(name: str, present: int) -> str:
    text = f"{name}: the tables have version {present}, and this errklein supports up to"
    return f"{text} {len(MIGRATIONS) + 1}; install the newer errklein"
