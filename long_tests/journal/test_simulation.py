"""The simulation of sources, crashes and full disks: it finds defects that break the guarantees."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from errklein.database import execute_rows
from errklein.journal import DeliveryQueue, SQLiteJournal
from errklein.webhooks.deliveries import Outcome, StoredDelivery
from tests.journal.simulation import Simulation, has_violation

SEEDS = 200


class EarlyResponse(DeliveryQueue):
    """Defect: the source gets 202 before the delivery is on disk."""

    def accept(self, delivery: StoredDelivery, window: float = 0.0) -> Deferred[StoredDelivery | None]:
        """Record it, but wait only for the answer whether a key is known."""
        recorded = super().accept(delivery, window)
        if delivery.key:
            return recorded
        recorded.addErrback(lambda _: None)
        return succeed(None)


class EarlyFinish(DeliveryQueue):
    """Defect: a delivery is stored as done when its handler begins."""

    def _begin(self, delivery: StoredDelivery, in_order: bool) -> None:
        self._journal.finish(delivery.id, Outcome(200)).addErrback(lambda _: None)
        super()._begin(delivery, in_order)


class ForgottenLease(DeliveryQueue):
    """Defect: the queue doesn't know which deliveries are running, so it neither extends their leases nor leaves them out."""

    def _mark_busy(self, delivery: StoredDelivery) -> None:
        pass


class KeyStoredFirst(SQLiteJournal):
    """Defect: the key of a delivery is stored in a transaction before the delivery."""

    def record(
        self, delivery: StoredDelivery, *, lease: float = 0.0, window: float = 0.0
    ) -> Deferred[StoredDelivery | None]:
        """Store the key, then the delivery."""
        record = partial(super().record, delivery._replace(key=""), lease=lease)
        if not delivery.key:
            return record()

        def store_keys(connection: sqlite3.Connection, new: Sequence[StoredDelivery]) -> Sequence[Any]:
            known = self._writer._known(connection, new, self._now())
            results = []
            for one in new:
                key = self._writer._route(connection, one.webhook), one.key
                results.append(known.setdefault(key, one))
                execute_rows(
                    connection, "INSERT OR IGNORE INTO dedupe VALUES {}", [(*key, one.id, self._now() + window)]
                )
            return [None if result is one else result for one, result in zip(new, results, strict=True)]

        stored = self._commits.submit(store_keys, delivery)
        return stored.addCallback(lambda earlier: record() if earlier is None else earlier)


class SimulationTests(SynchronousTestCase):
    """The guarantees in worlds from many seeds."""

    def assert_found(self, **parts: Any) -> None:
        """Check that a world with defective parts violates a guarantee."""
        self.assertTrue(has_violation(range(SEEDS), Simulation, **parts), "the defect was not found")

    def test_early_response_is_found(self) -> None:
        """The simulation finds that a delivery is lost that was acknowledged before it was stored."""
        self.assert_found(queue_class=EarlyResponse)

    def test_early_finish_is_found(self) -> None:
        """The simulation finds that a delivery is lost whose handler hadn't ended."""
        self.assert_found(queue_class=EarlyFinish)

    def test_forgotten_lease_is_found(self) -> None:
        """The simulation finds that a delivery runs twice at the same time."""
        self.assert_found(queue_class=ForgottenLease)

    def test_key_stored_first_is_found(self) -> None:
        """The simulation finds that a delivery is lost whose key was stored without it."""
        self.assert_found(journal_class=KeyStoredFirst)
