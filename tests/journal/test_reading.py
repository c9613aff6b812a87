"""The queries of the journal's database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.database import Access, Database
from errklein.journal import JournalArchive, SQLiteJournal
from errklein.ports.journal import Journal
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, Outcome
from tests.journal.contract import ERROR, JournalCase
from tests.journal.inline import INLINE, InlineReactor


class PlanTests(JournalCase, SynchronousTestCase):
    """How SQLite answers the queries of lists and of the console."""

    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a journal with a file."""
        self.path, self.reactor = Path(self.mktemp()), InlineReactor()
        return SQLiteJournal(self.path, self.reactor, now, runs=INLINE)

    def settle(self) -> None:
        """Let the log be written."""
        self.reactor.advance(1)

    def test_plans(self) -> None:
        """No query reads all deliveries, whose number has no limit: each uses an index, or a range of ids."""
        self.result_of(self.journal.bury(self.record(lease=1), ERROR))
        self.log(DeliveryState.REFUSED, Outcome(401, "no"))
        queries: list[tuple[str, Sequence[object] | Mapping[str, object]]] = []
        read = Database.read

        def recorded(database: Database, query: str, parameters: Any = ()) -> list[Any]:
            queries.append((query, parameters))
            return read(database, query, parameters)

        self.patch(Database, "read", recorded)
        with closing(JournalArchive(self.path, Access.READ)) as archive:
            groups = archive.failures()
            for group in groups:
                archive.failures(key=group.key)
            archive.totals(0, 7200, 3600)
            archive.counted(DeliveryQuery())
            archive.last_requests()
            archive.search("1")
            archive.replayable([1])
            archive.actions()
            archive.waiting()
            archive.next_due("Builds:build")
            archive.get(1)
            for query in (
                DeliveryQuery(),
                DeliveryQuery("Builds"),
                DeliveryQuery(since=1.0, states=[DeliveryState.DEAD]),
            ):
                archive.find(query)
        self.assertEqual(len(groups), 2)
        with closing(sqlite3.connect(self.path)) as connection:
            for query, parameters in queries:
                plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
                for step in plan:
                    allowed = "INDEX failures", "INDEX refused", "INDEX unfinished"
                    is_scan = step.startswith(("SCAN deliveries", "SCAN d")) and not any(one in step for one in allowed)
                    self.assertFalse(is_scan, (query, plan))
