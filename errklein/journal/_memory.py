"""The journal in memory, for tests and for bots with `STORAGE = "Memory"`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf

from twisted.internet.defer import Deferred, fail, succeed

from errklein.database import Run
from errklein.journal._bounds import FURTHEST, bounded, bounded_outcome, fitting, stored_key
from errklein.journal._memory_outbox import MemoryOutboxStore
from errklein.journal._redaction import Redaction, redacted_head
from errklein.journal._writing import UNVERIFIED_FULL
from errklein.ports.journal import JournalError
from errklein.webhooks.deliveries import (
    UNFINISHED,
    Attempt,
    DeliveryQuery,
    DeliveryState,
    Outcome,
    QueueDepth,
    StoredDelivery,
    StoredRequest,
)

GIVEN_UP = (DeliveryState.DEAD, DeliveryState.FAILED)

MAX_KEYS = 100_000
"""The number of keys that are remembered, and four times that of unverified webhooks."""

MAX_COUNTS = 10_000
"""The number of webhooks and minutes with counted deliveries."""


@dataclass(eq=False)
class _KeptDelivery:
    """A delivery without its request and attempts.

    `logged` is the redacted request. `whole` is the request of a delivery with `ack="now"` until it is done.
    """

    delivery: StoredDelivery
    logged: StoredRequest | None
    whole: StoredRequest | None = None
    began_at: float = 0.0
    attempts: dict[int, Attempt] = field(default_factory=dict)

    def change(self, **changes: object) -> None:
        """Replace fields of the delivery."""
        self.delivery = self.delivery._replace(**changes)  # type: ignore[arg-type]

    def complete_request(self) -> StoredRequest | None:
        """Return the request for a handler; None if its body was left out."""
        request = self.whole or self.logged
        return request if request is not None and request.body is not None else None

    @property
    def size(self) -> int:
        """The approximate number of bytes in memory."""
        return 1000 + sum(one.size for one in (self.logged, self.whole) if one is not None)


class MemoryJournal:
    """Implements `errklein.ports.journal.Journal`. Each Deferred has already fired.

    :param now: Returns the Unix time in seconds.
    :param redaction: What is stored of requests.
    :param max_bytes: The approximate size of finished deliveries. Above it, they are dropped: first those of unverified webhooks,
        which have a quarter, also of what waits, and last those that were given up. Refused requests have a tenth besides.
    :param run: Runs the masking of bodies, inline or in a thread. A body is stored when it is masked.
    """

    def __init__(
        self,
        now: Callable[[], float],
        redaction: Redaction | None = None,
        max_bytes: int = 32_000_000,
        run: Run = lambda work: succeed(work()),
    ) -> None:
        self.outbox = MemoryOutboxStore()
        self._now = now
        self._redaction = redaction or Redaction()
        self._run = run
        self._masking = 0
        self._entries: dict[int, _KeptDelivery] = {}
        self._max_bytes = max_bytes
        self._finished = _Budget(max_bytes)
        self._refused = _Budget(max_bytes // 10)
        # By whether their webhook is verified.
        self._keys: dict[bool, dict[tuple[str, str], tuple[int, float]]] = {True: {}, False: {}}
        # The sizes of unverified deliveries that wait or run.
        self._waiting: dict[int, int] = {}
        self._once: dict[int, set[str]] = {}
        # Those that were given up or refused and not repeated, by webhook and key.
        self._given_up: dict[tuple[str, str], set[int]] = {}
        # The numbers of deliveries that were only counted, by webhook and minute.
        self._counted: Counter[tuple[str, float]] = Counter()
        self._paused: set[str] = set()
        self._last_id = 0

    def next_id(self) -> int:
        """See `Journal.next_id`."""
        self._last_id += 1
        return self._last_id

    def record(
        self, delivery: StoredDelivery, *, lease: float = 0.0, window: float = 0.0
    ) -> Deferred[StoredDelivery | None]:
        """See `Journal.record`."""
        delivery = bounded(delivery)
        known = self._known(delivery) if delivery.key and window else None
        if known is not None:
            self._add(delivery._replace(state=DeliveryState.DUPLICATE, request=None))
            return succeed(known)
        if not delivery.verified and sum(self._waiting.values()) > self._max_bytes // 4:
            return fail(JournalError(UNVERIFIED_FULL))
        if delivery.key and window:
            self._keys[delivery.verified][delivery.webhook, delivery.key] = (delivery.id, self._now() + window)
        entry = self._add(delivery)
        if lease:
            self._begin(entry, lease)
        return succeed(None)

    def _known(self, delivery: StoredDelivery) -> StoredDelivery | None:
        now, keys = self._now(), self._keys[delivery.verified]
        most = MAX_KEYS if delivery.verified else MAX_KEYS // 4
        # Keys are remembered in the order of their arrival, so most of those that have expired come first.
        while keys and (next(iter(keys.values()))[1] <= now or len(keys) > most):
            del keys[next(iter(keys))]
        number, expires = keys.get((delivery.webhook, delivery.key), (0, 0.0))
        if expires <= now:
            return None
        entry = self._entries.get(number)
        if entry is None:
            return delivery._replace(id=number, state=DeliveryState.DONE, request=None, outcome=Outcome(200))
        return None if entry.delivery.state in GIVEN_UP else entry.delivery

    def _add(self, delivery: StoredDelivery) -> _KeptDelivery:
        request = delivery.request
        refused = delivery.state is DeliveryState.REFUSED
        logged = whole = None
        if request is not None and self._redaction.level != "off":
            target, headers = redacted_head(request)
            logged = request._replace(target=target, headers=headers, body=None)
        if request is not None and delivery.ack == "now" and delivery.state in UNFINISHED:
            whole = request._replace(secret_headers=frozenset())
        entry = _KeptDelivery(delivery._replace(request=None, attempts=()), logged, whole, self._now())
        self._entries[delivery.id] = entry
        if delivery.key and delivery.state not in (DeliveryState.DUPLICATE, DeliveryState.REFUSED):
            for other in self._known_entries(self._given_up.pop((delivery.webhook, delivery.key), ())):
                if other.delivery.state in (*GIVEN_UP, DeliveryState.REFUSED):
                    other.change(superseded_by=delivery.id)
        self._count(entry)
        if request is not None and request.body is not None and logged is not None and not refused:
            self._mask(entry, request.body)
        return entry

    def _mask(self, entry: _KeptDelivery, body: bytes) -> None:
        # Bodies that wait to be masked are in no budget.
        if self._masking and self._masking + len(body) > self._max_bytes:
            return
        self._masking += len(body)

        def masked(body_or_none: bytes | None) -> None:
            self._masking -= len(body)
            if entry.logged is not None and entry.delivery.id in self._entries:
                entry.logged = entry.logged._replace(body=body_or_none)
                self._count(entry)

        self._run(partial(self._redaction.body, body)).addCallback(masked)

    def _count(self, entry: _KeptDelivery) -> None:
        """Drop the oldest finished deliveries if there are too many with this one."""
        state = entry.delivery.state
        if state in (*GIVEN_UP, DeliveryState.REFUSED) and entry.delivery.key and not entry.delivery.superseded_by:
            self._given_up.setdefault((entry.delivery.webhook, entry.delivery.key), set()).add(entry.delivery.id)
        if state in UNFINISHED:
            if not entry.delivery.verified:
                self._waiting[entry.delivery.id] = entry.size
        else:
            self._waiting.pop(entry.delivery.id, None)
            budget = self._refused if state is DeliveryState.REFUSED else self._finished
            for number in budget.add(entry):
                dropped = self._entries.pop(number).delivery
                self._once.pop(number, None)
                keys, place = self._keys[dropped.verified], (dropped.webhook, dropped.key)
                self._given_up.get(place, set()).discard(number)
                if not self._given_up.get(place, True):
                    del self._given_up[place]
                if dropped.state in GIVEN_UP and keys.get(place, (0,))[0] == number:
                    del keys[place]

    def lease(
        self, webhook: str, count: int, seconds: float, ordered: bool = False, held: Sequence[int] = ()
    ) -> Deferred[Sequence[StoredDelivery]]:
        """See `Journal.lease`."""
        waiting = self._unfinished(webhook)[: 1 if ordered else None]
        due = [entry for entry in waiting if self._is_due(entry) and entry.delivery.id not in held][:count]
        due = due[: fitting(entry.size for entry in due)]
        for entry in due:
            self._begin(entry, seconds)
        return succeed([entry.delivery._replace(request=entry.complete_request()) for entry in due])

    def _begin(self, entry: _KeptDelivery, seconds: float) -> None:
        entry.began_at = self._now()
        due_at = entry.began_at + seconds if entry.delivery.ack == "now" else 0.0
        entry.change(state=DeliveryState.RUNNING, attempt=entry.delivery.attempt + 1, due_at=due_at)

    def _is_due(self, entry: _KeptDelivery) -> bool:
        delivery = entry.delivery
        # The lease of a delivery with `ack="after"` doesn't end: its source has no promise of another attempt.
        never = delivery.state is DeliveryState.RUNNING and delivery.ack != "now"
        return not (never or 0.0 < delivery.due_at - self._now() <= FURTHEST)

    def _unfinished(self, webhook: str | None = None) -> list[_KeptDelivery]:
        return [
            entry
            for _, entry in sorted(self._entries.items())
            if entry.delivery.state in UNFINISHED and webhook in (None, entry.delivery.webhook)
        ]

    def extend(self, ids: Sequence[int], seconds: float) -> Deferred[None]:
        """See `Journal.extend`."""
        for entry in self._known_entries(ids):
            if entry.delivery.state is DeliveryState.RUNNING and entry.delivery.ack == "now":
                entry.change(due_at=self._now() + seconds)
        return succeed(None)

    def retry_at(self, id: int, due_at: float, outcome: Outcome | None) -> Deferred[None]:
        """See `Journal.retry_at`."""
        for entry in self._known_entries([id]):
            if outcome is None:
                entry.change(state=DeliveryState.RETRY, due_at=due_at, attempt=entry.delivery.attempt - 1)
            else:
                self._end(entry, DeliveryState.RETRY, outcome, due_at)
        return succeed(None)

    def finish(self, id: int, outcome: Outcome) -> Deferred[None]:
        """See `Journal.finish`."""
        for entry in self._known_entries([id]):
            entry.whole = None
            self._end(entry, DeliveryState.DONE if outcome.succeeded else DeliveryState.FAILED, outcome)
        return succeed(None)

    def bury(self, id: int, outcome: Outcome) -> Deferred[None]:
        """See `Journal.bury`."""
        for entry in self._known_entries([id]):
            self._end(entry, DeliveryState.DEAD, outcome)
        return succeed(None)

    def _end(self, entry: _KeptDelivery, state: DeliveryState, outcome: Outcome, due_at: float = 0.0) -> None:
        outcome = bounded_outcome(outcome)
        entry.attempts[entry.delivery.attempt] = Attempt(entry.delivery.attempt, entry.began_at, outcome)
        entry.change(state=state, due_at=due_at, outcome=outcome)
        self._count(entry)

    def _known_entries(self, ids: Iterable[int]) -> list[_KeptDelivery]:
        return [self._entries[number] for number in ids if number in self._entries]

    def depth(self) -> Deferred[QueueDepth]:
        """See `Journal.depth`."""
        kept = [entry.delivery for entry in self._entries.values()]
        received = [entry.delivery.received_at for entry in self._unfinished()]
        running = sum(one.state is DeliveryState.RUNNING for one in kept)
        dead = Counter(one.webhook for one in kept if one.state is DeliveryState.DEAD)
        oldest_kept = min((one.received_at for one in kept), default=0.0)
        oldest = min(received, default=0.0)
        return succeed(QueueDepth(len(received) - running, running, dead.total(), oldest, dead, 0, oldest_kept))

    def check(self) -> Deferred[None]:
        """See `Journal.check`."""
        return succeed(None)

    def waiting(self) -> Deferred[Sequence[str]]:
        """See `Journal.waiting`."""
        return succeed(sorted({entry.delivery.webhook for entry in self._unfinished()}))

    def next_due(self, webhook: str, ordered: bool = False) -> Deferred[float | None]:
        """See `Journal.next_due`."""
        times = [
            entry.delivery.due_at
            for entry in self._unfinished(webhook)[: 1 if ordered else None]
            if entry.delivery.state is not DeliveryState.RUNNING
        ]
        return succeed(min(times, default=None))

    def pause(self, webhook: str, paused: bool) -> Deferred[None]:
        """See `Journal.pause`."""
        (self._paused.add if paused else self._paused.discard)(webhook)
        return succeed(None)

    def paused(self) -> Deferred[Sequence[str]]:
        """See `Journal.paused`."""
        return succeed(sorted(self._paused))

    def once(self, id: int, key: str) -> Deferred[bool]:
        """See `Journal.once`."""
        keys = self._once.setdefault(id, set())
        is_first = key not in keys
        keys.add(key)
        return succeed(is_first)

    def log(self, delivery: StoredDelivery) -> None:
        """See `Journal.log`."""
        if self._redaction.level != "off":
            entry = self._add(bounded(delivery))
            entry.began_at = delivery.received_at
            if entry.delivery.outcome is not None:
                entry.attempts[delivery.attempt] = Attempt(
                    delivery.attempt, delivery.received_at, entry.delivery.outcome
                )

    def count(self, webhook: str) -> None:
        """See `Journal.count`."""
        if self._redaction.level == "off":
            return
        self._counted[webhook, self._now() // 60] += 1
        if len(self._counted) > MAX_COUNTS:
            del self._counted[next(iter(self._counted))]

    def counted(self, query: DeliveryQuery) -> Deferred[int]:
        """See `Journal.counted`."""
        first, last = (query.since or 0) // 60, inf if query.until is None else query.until // 60
        counted = (
            number
            for (webhook, minute), number in self._counted.items()
            if query.has_counted
            and first <= minute <= last
            and f"{webhook}:".startswith(f"{query.webhook or webhook}:")
        )
        return succeed(sum(counted))

    def wake_up(self, function: Callable[[], None]) -> None:
        """Do nothing, since no other process can change these deliveries."""

    def find(self, query: DeliveryQuery) -> Deferred[Sequence[StoredDelivery]]:
        """See `Journal.find`."""
        found = [entry.delivery for _, entry in sorted(self._entries.items(), reverse=True)]
        return succeed([delivery for delivery in found if _matches(query, delivery)][: query.limit])

    def get(self, id: int) -> Deferred[StoredDelivery | None]:
        """See `Journal.get`."""
        entry = self._entries.get(id)
        if entry is None:
            return succeed(None)
        earlier = [one for number, one in sorted(entry.attempts.items()) if number < entry.delivery.attempt]
        return succeed(entry.delivery._replace(request=entry.logged, attempts=earlier, began_at=entry.began_at))

    def webhooks(self) -> Deferred[Sequence[str]]:
        """See `Journal.webhooks`."""
        recorded = (entry.delivery.webhook for entry in self._entries.values())
        return succeed(sorted({*recorded, *self._paused, *(webhook for webhook, _ in self._counted)}))

    def replay(self, ids: Sequence[int], force: bool = False) -> Deferred[Sequence[int]]:
        """See `Journal.replay`."""
        replayed = [
            entry
            for entry in self._known_entries(ids)
            if entry.delivery.state not in (DeliveryState.RECEIVED, DeliveryState.RUNNING)
            and entry.complete_request() is not None
            and (force or not entry.delivery.superseded_by)
        ]
        for entry in replayed:
            self._finished.remove(entry.delivery.id)
            entry.change(state=DeliveryState.RECEIVED, origin="replay", due_at=0.0)
            self._count(entry)
        return succeed([entry.delivery.id for entry in replayed])

    def close(self) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)


class _Budget:
    """The sizes of deliveries that have ended, in the order in which they are dropped. Unverified ones have a quarter.

    The newest is kept if it is verified, whatever its size is.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # By whether they are verified, and how late they are dropped.
        self._sizes: dict[tuple[bool, int], dict[int, int]] = {
            (verified, rank): {} for verified in (False, True) for rank in range(3)
        }
        self._bytes = {False: 0, True: 0}

    def add(self, entry: _KeptDelivery) -> list[int]:
        """Add a delivery, and return those to drop if there are too many bytes; they are removed."""
        self.remove(entry.delivery.id)
        verified, state = entry.delivery.verified, entry.delivery.state
        rank = [DeliveryState.FAILED, DeliveryState.DEAD].index(state) + 1 if state in GIVEN_UP else 0
        self._sizes[verified, rank][entry.delivery.id] = entry.size
        self._bytes[verified] += entry.size
        dropped = []
        while (over := self._bytes[False] > self._max_bytes // 4) or sum(self._bytes.values()) > self._max_bytes:
            tiers = [sizes for (is_verified, _), sizes in self._sizes.items() if sizes and not (over and is_verified)]
            oldest = [number for number in map(next, map(iter, tiers)) if number != entry.delivery.id or not verified]
            if not oldest:
                break
            dropped.append(oldest[0])
            self.remove(oldest[0])
        return dropped

    def remove(self, id: int) -> None:
        """Remove a delivery."""
        for (verified, _), sizes in self._sizes.items():
            self._bytes[verified] -= sizes.pop(id, 0)


def _matches(query: DeliveryQuery, delivery: StoredDelivery) -> bool:
    return (
        (query.webhook is None or delivery.webhook == query.webhook or delivery.webhook.startswith(query.webhook + ":"))
        and (query.states is None or delivery.state in query.states)
        and (query.since is None or delivery.received_at >= query.since)
        and (query.until is None or delivery.received_at <= query.until)
        and (query.before is None or delivery.id < query.before)
        and (query.ids is None or delivery.id in query.ids)
        and (query.key is None or delivery.key == stored_key(query.key))
        and (query.request_id is None or delivery.request_id == query.request_id)
        and (query.status is None or (delivery.outcome is not None and delivery.outcome.status == query.status))
        and (
            query.reason is None
            or (delivery.outcome is not None and query.reason.lower() in delivery.outcome.reason.lower())
        )
    )
