"""Journals on PostgreSQL for tests: a database with tables for each test, whose clock is that of the test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest import TestCase

from errklein.database import Run
from errklein.journal import INLINE
from tests.journal.inline import InlineReactor
from tests.postgres.server import new_database

if TYPE_CHECKING:
    from errklein.postgres._database import PostgresDatabase
    from errklein.postgres._journal import PostgresJournal

_FAKE_CLOCK = (
    "CREATE SCHEMA fake; "
    "CREATE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE "
    "RETURN to_timestamp(current_setting('errklein.now')::double precision)"
)
_numbers = count(1)


def prepare(url: str) -> None:
    """Make the tables, and a clock that PGMQ uses in place of the server's."""
    import psycopg

    from errklein.postgres._tables import create_tables

    create_tables(url)
    with psycopg.connect(url) as connection:
        connection.execute(_FAKE_CLOCK.encode())


def new_tables(case: TestCase) -> str:
    """Return the URL of a new database with tables."""
    return new_database(case, prepare)


def session_name() -> str:
    """Return the beginning of the names of a new process's sessions."""
    return f"errklein {next(_numbers):016x}"


def clocked_database(url: str, now: Callable[[], float], session: str = "") -> PostgresDatabase:
    """Return a database whose server has this clock."""
    from errklein.postgres._database import PostgresDatabase

    class ClockedDatabase(PostgresDatabase):
        """Passes the time to the server before each transaction and each read."""

        def _begin(self, connection: Any) -> Any:
            """Begin."""
            self._set(connection)
            return super()._begin(connection)

        def read(self, query: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
            """Read."""
            with self._reader.lock, self._errors_explained():
                self._reader.begun(self._set)
            return super().read(query, parameters)

        def _set(self, connection: Any) -> None:
            """Pass the time."""
            connection.execute(f"SET errklein.now = '{now()!r}'", prepare=False)

    return ClockedDatabase(url, f"{session or session_name()} journal", "fake,errklein,pg_catalog")


def new_journal(
    url: str,
    now: Callable[[], float],
    reactor: Any = None,
    runs: tuple[Run, Run] | None = INLINE,
    session: str = "",
    **options: Any,
) -> PostgresJournal:
    """Return the journal of a new process. By default everything happens at once, and nothing is removed."""
    from errklein.postgres._journal import PostgresJournal

    database = clocked_database(url, now, session)
    return PostgresJournal(database, reactor or InlineReactor(), now, runs=runs, **options)


def wait_for_lock(url: str) -> None:
    """Return when a transaction waits for another one."""
    import psycopg

    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with psycopg.connect(url, autocommit=True) as connection:
        while not connection.execute(waiting.encode()).fetchone():
            pass
