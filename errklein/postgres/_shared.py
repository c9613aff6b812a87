"""What a bot uses of a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from secrets import token_hex
from typing import Any

from errklein.database import Access, DatabaseError
from errklein.ports.journal import Journal
from errklein.ports.nodes import Nodes
from errklein.postgres._database import PostgresDatabase, name_of
from errklein.postgres._journal import PostgresJournal
from errklein.postgres._membership import Membership
from errklein.postgres._nodes import PostgresNodes
from errklein.postgres._tables import check_tables, connection_to
from errklein.storage import SQLiteStorage


class PostgresShared:
    """Implements `errklein.ports.nodes.SharedDatabase`."""

    def __init__(self, address: str) -> None:
        check_tables(address)
        self._address = address
        # What the sessions of this process begin with, and no others.
        self._session = f"errklein {token_hex(8)}"
        self._databases: list[PostgresDatabase] = []

    def _connected(self, purpose: str) -> PostgresDatabase:
        database = PostgresDatabase(self._address, f"{self._session} {purpose}")
        self._databases.append(database)
        return database

    def storage(self, access: Access = Access.OWN, **options: Any) -> SQLiteStorage:
        """See `SharedDatabase.storage`. With `COPY`, it is a copy in memory."""
        storage = SQLiteStorage(self._connected("values"), **options)
        if access is not Access.COPY:
            return storage
        with closing(storage):
            return storage.copied()

    def journal(self, reactor: Any, now: Callable[[], float], **options: Any) -> Journal:
        return PostgresJournal(self._connected("journal"), reactor, now, **options)

    def nodes(self, reactor: Any, roles: Sequence[str], address: str) -> Nodes:
        return PostgresNodes(reactor, Membership(self._address, self._session), roles, address, self._databases)

    @contextmanager
    def alone(self) -> Iterator[None]:
        with connection_to(self._address) as connection:
            # Heartbeats of processes that start wait for the end of the context.
            connection.execute("LOCK TABLE nodes IN SHARE ROW EXCLUSIVE MODE")
            seen = "SELECT name FROM nodes WHERE seen_at > extract(epoch FROM clock_timestamp()) - 10 ORDER BY id"
            if running := [name for (name,) in connection.execute(seen)]:
                text = f"{name_of(self._address)}: processes of the bot use it ({', '.join(running)}); stop them first"
                raise DatabaseError(text)
            yield
