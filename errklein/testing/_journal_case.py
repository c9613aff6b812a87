"""The deliveries and helpers of `journal_contract`."""

# Trial's assertions have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from errklein.ports.journal import Journal
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, Outcome, StoredDelivery, StoredRequest

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _TestCase
else:
    _TestCase = object

REQUEST = StoredRequest(
    "POST",
    "/build?number=7&token=T0k3n",
    [(b"content-type", b"application/json"), (b"x-hub-signature-256", b"sha256=5ecre7"), (b"x-event-key", b"push")],
    b'{"status": "ok"}',
    client="192.0.2.7",
    secure=True,
    server=("192.0.2.1", 443),
    base_path="/hooks",
)

LOGGED = REQUEST._replace(target="/build?number=7&token=***", headers=[REQUEST.headers[0], REQUEST.headers[2]])
"""REQUEST without its secrets."""

OK = Outcome(200, seconds=0.25)
ERROR = Outcome(500, "ValueError: no", 0.5)


class JournalCase(_TestCase):
    """A test case with a journal, and shortcuts for its methods, which return results instead of Deferreds."""

    def make_journal(self, now: Callable[[], float]) -> Journal:
        """Return a new, empty journal with this clock, which the tests close."""
        raise NotImplementedError

    def settle(self) -> None:
        """Let what was called have its effect."""

    def setUp(self) -> None:
        """Create a journal."""
        self.time = 1000.0
        self.journal = self.make_journal(lambda: self.time)
        self.addCleanup(lambda: self.result_of(self.journal.close()))

    def result_of(self, deferred: Deferred[Any]) -> Any:
        """Return the result of a Deferred."""
        self.settle()
        return self.successResultOf(deferred)

    def delivery(self, webhook: str = "Builds:build", ack: str = "now", **fields: Any) -> StoredDelivery:
        """Return a new delivery with REQUEST."""
        fields = {"request": REQUEST, "received_at": self.time, "request_id": "r1", **fields}
        return StoredDelivery(self.journal.next_id(), webhook, DeliveryState.RECEIVED, ack=ack, **fields)

    def record(self, lease: float = 0.0, window: float = 0.0, **fields: Any) -> int:
        """Record a new delivery, and return its id."""
        delivery = self.delivery(**fields)
        self.assertIsNone(self.result_of(self.journal.record(delivery, lease=lease, window=window)))
        return delivery.id

    def log(self, state: DeliveryState, outcome: Outcome = ERROR, ack: str = "after", **fields: Any) -> int:
        """Log a finished delivery, and return its id."""
        delivery = self.delivery(ack=ack, attempt=1, **fields)._replace(state=state, outcome=outcome)
        self.journal.log(delivery)
        self.settle()
        return delivery.id

    def lease(self, count: int = 10, seconds: float = 60.0, **options: Any) -> Sequence[StoredDelivery]:
        """Lease deliveries of the usual webhook."""
        leased: Sequence[StoredDelivery] = self.result_of(self.journal.lease("Builds:build", count, seconds, **options))
        return leased

    def leased_ids(self, **options: Any) -> list[int]:
        """Lease deliveries, and return their ids."""
        return [delivery.id for delivery in self.lease(**options)]

    def get(self, number: int) -> StoredDelivery:
        """Return a delivery that exists."""
        delivery = self.result_of(self.journal.get(number))
        self.assertIsInstance(delivery, StoredDelivery)
        assert isinstance(delivery, StoredDelivery)
        return delivery

    def state(self, number: int) -> DeliveryState:
        """Return the state of a delivery."""
        return self.get(number).state

    def find(self, **fields: Any) -> list[int]:
        """Return the ids of a page."""
        return [delivery.id for delivery in self.result_of(self.journal.find(DeliveryQuery(**fields)))]
