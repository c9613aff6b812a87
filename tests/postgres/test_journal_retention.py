"""The removal of old deliveries from PostgreSQL is that from a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from errklein.journal import INLINE
from errklein.ports.journal import Journal
from tests.journal import test_retention
from tests.postgres.journals import clocked_database, new_journal, new_tables


class OnPostgres:
    """Replaces the file of a `FileCase`."""

    def make_journal(self: Any, now: Callable[[], float]) -> Journal:
        """Return a journal in a new database."""
        self.url = new_tables(self)
        return super().make_journal(now)  # type: ignore[misc, no-any-return]

    def open(self: Any) -> Journal:
        """Return the journal of another process."""
        options = {"redaction": self.redaction, "retention": self.retention}
        self.journal = new_journal(self.url, lambda: self.time, self.reactor, INLINE, **options)
        return self.journal  # type: ignore[no-any-return]

    def rows(self: Any, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query of another program."""
        with closing(clocked_database(self.url, lambda: self.time)) as database:
            return database.read(query)

    def tables(self) -> dict[str, int]:
        """Return the number of rows of each table with deliveries."""
        names = ("deliveries", "contents", "private", "attempts", "once", "dedupe")
        return {name: self.rows(f"SELECT count(*) FROM {name}")[0][0] for name in names}

    def kept(self) -> int:
        """Return the number of records of messages."""
        return int(self.rows("SELECT count(*) FROM ended_messages")[0][0])

    def size(self) -> float:
        """Return the size of the deliveries."""
        return float(self.rows("SELECT coalesce(sum(size), 0) FROM deliveries")[0][0])


class AgeTests(OnPostgres, test_retention.AgeTests): ...


class TotalsTests(OnPostgres, test_retention.TotalsTests): ...


class KeyTests(OnPostgres, test_retention.KeyTests): ...


class SizeTests(OnPostgres, test_retention.SizeTests): ...


class StrangerTests(OnPostgres, test_retention.StrangerTests): ...


class RefusedTests(OnPostgres, test_retention.RefusedTests): ...


class MessageTests(OnPostgres, test_retention.MessageTests): ...


class IdsTests(OnPostgres, test_retention.IdsTests): ...
