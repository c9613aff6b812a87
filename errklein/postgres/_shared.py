"""The PostgreSQL database of a bot: its values, its journal and its nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from secrets import token_hex
from typing import Any

from errklein.database import Access
from errklein.ports.journal import Journal
from errklein.ports.nodes import Nodes
from errklein.postgres._database import PostgresDatabase, name_of
from errklein.postgres._journal import PostgresArchive, PostgresJournal
from errklein.postgres._membership import Membership
from errklein.postgres._nodes import PostgresNodes
from errklein.postgres._tables import check_tables, connection_to, lock_nodes
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

    def archive(self) -> PostgresArchive:
        return PostgresArchive(self._connected("archive"))

    @contextmanager
    def alone(self) -> Iterator[None]:
        with connection_to(self._address) as connection:
            lock_nodes(connection, name_of(self._address))
            yield
