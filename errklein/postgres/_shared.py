"""The PostgreSQL database of a bot: its values, its journal and its nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from secrets import token_hex
from typing import Any

from errklein.database import Access
from errklein.ports.journal import Journal
from errklein.ports.nodes import Nodes
from errklein.postgres._database import LOCK_TIMEOUT, PostgresDatabase, name_of
from errklein.postgres._journal import PostgresArchive, PostgresJournal
from errklein.postgres._membership import Membership
from errklein.postgres._nodes import PostgresNodes
from errklein.postgres._tables import check_tables, connection_to, lock_nodes
from errklein.storage import AdaptedStorage, SQLiteStorage, SQLiteStore

_VALUE_LOCK_TIMEOUT = 3.0
"""The seconds for which a value waits for another transaction. A coroutine may wait for a value on the reactor, and an owner
whose reactor hangs for longer than 5 s isn't the owner any more."""


class PostgresStorage(SQLiteStorage):
    """Values in PostgreSQL. The bot reads its own on the reactor, and also while the server is absent, so they stay in memory."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.known: dict[str, Sequence[Any]] = {}

    def forget(self, key: str | None = None) -> None:
        """Read one of the bot's own values again, or all since another process may have changed them."""
        # A read that is going on keeps its result in the earlier dict.
        self.known = {one: rows for one, rows in self.known.items() if key not in (None, one)}

    def open(self, namespace: str) -> SQLiteStore:
        store = super().open(namespace)
        return _OwnStore(self, store) if namespace in AdaptedStorage.REMEMBERED else store


class _OwnStore(SQLiteStore):
    def __init__(self, storage: PostgresStorage, store: SQLiteStore) -> None:
        super().__init__(store._database, store._values, store._namespace)
        self._storage = storage

    def _rows(self, key: str) -> Sequence[Any]:
        known = self._storage.known
        if (rows := known.get(key)) is None:
            rows = known[key] = super()._rows(key)
        return rows

    def _write(self, key: str, change: str, values: Sequence[Any]) -> bool:
        try:
            return super()._write(key, change, values)
        finally:
            # It isn't known whether a change took effect that has failed.
            self._storage.forget(key)


class PostgresShared:
    """Implements `errklein.ports.nodes.SharedDatabase`."""

    def __init__(self, address: str) -> None:
        check_tables(address)
        self._address = address
        # What the sessions of this process begin with, and no others.
        self._session = f"errklein {token_hex(8)}"
        self._databases: list[PostgresDatabase] = []
        self._storages: list[PostgresStorage] = []

    def _connected(self, purpose: str, lock_timeout: float = LOCK_TIMEOUT) -> PostgresDatabase:
        database = PostgresDatabase(self._address, f"{self._session} {purpose}", lock_timeout=lock_timeout)
        self._databases.append(database)
        return database

    def storage(self, access: Access = Access.OWN, **options: Any) -> SQLiteStorage:
        """See `SharedDatabase.storage`. With `COPY`, it is a copy in memory."""
        storage = PostgresStorage(self._connected("values", lock_timeout=_VALUE_LOCK_TIMEOUT), **options)
        if access is not Access.COPY:
            self._storages.append(storage)
            return storage
        with closing(storage):
            return storage.copied()

    def journal(self, reactor: Any, now: Callable[[], float], **options: Any) -> Journal:
        return PostgresJournal(self._connected("journal"), reactor, now, **options)

    def nodes(self, reactor: Any, roles: Sequence[str], address: str) -> Nodes:
        nodes = PostgresNodes(reactor, Membership(self._address, self._session), roles, address, self._databases)
        for storage in self._storages:
            # Before others read it again.
            nodes.when_changed("plugins", storage.forget)
            nodes.when_changed("owned", storage.forget)
        return nodes

    def archive(self) -> PostgresArchive:
        return PostgresArchive(self._connected("archive"))

    @contextmanager
    def alone(self) -> Iterator[None]:
        with connection_to(self._address) as connection:
            lock_nodes(connection, name_of(self._address))
            yield
