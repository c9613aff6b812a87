"""Runs the deliveries that the journal has recorded: attempts, retries, order and pauses."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat.outgoing import Wait
from errklein.journal._writing import FURTHEST, LEASE_BYTES, PROCESS_ENDED
from errklein.ports.journal import Journal, JournalError
from errklein.running import RateLimit, cancel_timers
from errklein.webhooks.deliveries import DeliveryState, Outcome, Postponed, StoredDelivery

CAPACITY = 128  # the number of deliveries in memory. A webhook alone gets half of it.

MEMORY = 64_000_000
"""The size of the bodies in memory, in bytes. A webhook alone gets half of it, but at least one lease. The limit for bodies that wait
for the disk is the same."""

LEASE = 60.0  # the seconds of a lease. It is extended twice within that time.

LATE = 5.0
"""The seconds after which a delivery that was leased in a shared journal isn't begun any more. If the process was paused
meanwhile, others take it for dead some seconds later, and run the delivery."""

LONGEST_WAIT = 60.0
"""The seconds after which a due time is compared with the wall clock again, since that may be set. Also those between two
attempts to use a journal with errors."""

TOGETHER = 0.02
"""The least seconds between two times at which others are told of deliveries, or at which these look for them."""

_NEVER = float("inf")

_log = Logger()
_audit = Logger(namespace="errklein.audit")


@dataclass(frozen=True)
class RetryPolicy:
    """How the deliveries of a webhook are run. Times are in seconds."""

    attempts: int = 8  # before a delivery is given up
    first: float = 10.0  # the longest wait after the first attempt; it doubles after each further one
    longest: float = 3600.0
    ordered: bool = False
    """Deliveries run one after the other, in order of receipt. One that is retried delays the later ones."""

    def wait_after(self, attempt: int, random: Callable[[], float]) -> float:
        """Return the wait after the attempt of that number: random between 0 and its maximum, so that retries spread."""
        # The exponent is limited, since a float can't be arbitrarily large.
        return random() * min(self.longest, self.first * 2.0 ** min(attempt - 1, 64))


@dataclass(eq=False, repr=False)
class DeliveryQueue:
    """Runs deliveries, each at most once at a time, until it is done or given up. Implements
    `ports.journal.LaterDeliveries`. The journal holds the deliveries. In memory are only those that run, up to
    `capacity`; a webhook gets half of the slots that other webhooks leave. All decisions are made in `_turn`, which one
    delayed call starts when the next decision is due. Due times are Unix times, since they survive a restart. Other
    times are those of the reactor's clock, which is never set."""

    reactor: IReactorTime
    journal: Journal
    run: Callable[[StoredDelivery], Deferred[Outcome | Postponed]]
    """Calls the handler. Fires when the handler has ended, whether or not it has exceeded its time limit."""
    policy: Callable[[str], RetryPolicy]  # returns the policy of a webhook, also while its plugin is inactive
    dead: Callable[[StoredDelivery, Outcome], object]
    """Called for each delivery that is given up, without its request, after it was stored as DEAD."""
    capacity: int = CAPACITY
    now: Callable[[], float] = time.time
    may_run: Callable[[str], bool] | None = None  # whether this process, one of several, runs a webhook's deliveries
    tell: Callable[[], object] | None = None  # lets other processes look for deliveries and pauses
    chance: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        self._running = self._closed = self._loading = self._warned = False
        self._timer: IDelayedCall | None = None
        self._waiting_for_idle: list[Deferred[None]] = []
        # The places in memory that are taken, by webhook.
        self._slots: Counter[str] = Counter()
        # The bytes of the bodies that run or are being read, by webhook, and of those that wait for the disk.
        self._bytes: Counter[str] = Counter()
        self._accepting = 0
        # The number of deliveries, by webhook, that are being recorded and will wait.
        self._recording: Counter[str] = Counter()
        # The webhooks of the deliveries that nobody else may run: until their result is on disk.
        self._busy: dict[int, str] = {}
        self._extend_at = _NEVER
        # Those that are about to run, whether the order of their webhook was kept, and when the lease began.
        self._leased: list[tuple[StoredDelivery, bool, float]] = []
        # Routes with deliveries that only the journal has, and when the first of them is due, as Unix time.
        self._due: dict[str, float] = {}
        self._outdated = True
        # When to look for what other processes have told, and the routes of which it isn't known whether they have left any.
        self._told_at = _NEVER
        self._look_again_at = self._tell_again_at = 0.0
        self._is_untold = False  # whether others are to be told of something
        self._hinted: set[str] = set()
        self._is_blind = False  # whether the waiting ones are being read for another reason than that
        self._leasing: set[str] = set()
        self.paused: set[str] = set()  # the webhooks that are paused, now and later
        # The number of changes of `paused` that aren't on disk.
        self._pausing = 0
        self._postponed: dict[str, tuple[float, str]] = {}
        self._unwritten: list[Callable[[], None]] = []
        self._journal_wait, self._journal_again_at = 1.0, 0.0
        self._warnings = RateLimit(self.reactor.seconds)

    @property
    def running(self) -> int:
        return self._slots.total()

    async def prepare(self) -> None:
        """Read which webhooks are paused. Call it before requests arrive."""
        self.paused.update(await self.journal.paused())

    def start(self) -> None:
        self._running = True
        self.journal.wake_up(self.changed)
        self._soon()

    def stop(self) -> None:
        """Begin no more attempts. What is accepted is only recorded. Results of running handlers are still stored."""
        self._running = False
        self._soon()

    def close(self) -> None:
        self._running, self._closed = False, True
        cancel_timers(self._timer)
        self._timer = None

    def when_idle(self) -> Deferred[None]:
        if self._is_idle():
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._waiting_for_idle.append(idle)
        return idle

    def accept(self, delivery: StoredDelivery, window: float = 0.0) -> Deferred[StoredDelivery | None]:
        """Record a new delivery as `Journal.record` does, and run it in a later turn of the reactor. It is leased in
        the same transaction if it can run at once, and not read again."""
        webhook, size = delivery.webhook, _size(delivery)
        # Strangers leave room for others.
        if self._accepting > (MEMORY if delivery.verified else MEMORY // 4):
            return fail(JournalError("too many requests wait for the disk"))
        self._accepting += size
        ordered = self.policy(webhook).ordered
        at_once = self._may_begin(webhook, ordered)
        if at_once:
            self._slots[webhook] += 1
            self._bytes[webhook] += size
            self._mark_busy(delivery)
        else:
            self._recording[webhook] += 1

        def recorded(result: StoredDelivery | Failure | None) -> StoredDelivery | Failure | None:
            self._accepting -= size
            if not at_once:
                self._recording[webhook] -= 1
                if result is None:
                    self._note_due(webhook, 0.0)
                    self._is_untold = self.tell is not None
            elif result is None:
                self._leased.append((delivery._replace(state=DeliveryState.RUNNING, attempt=1), ordered, began))
            else:
                self._slots[webhook] -= 1
                self._bytes[webhook] -= size
                self._busy.pop(delivery.id, None)
            self._soon()
            return result

        lease, began = LEASE if at_once else 0.0, self.reactor.seconds()
        return self.journal.record(delivery, lease=lease, window=window).addBoth(recorded)

    def finish(self, id: int, outcome: Outcome) -> None:
        """Store the outcome of a delivery that was run elsewhere, again and again until the journal has it."""
        self._write(id, partial(self.journal.finish, id, outcome), lambda: None)

    def wait_of(self, delivery: StoredDelivery) -> Wait | None:
        """Return what a delivery waits for that is RECEIVED or in RETRY; None if it may run at once."""
        webhook, now = delivery.webhook, self.now()
        if webhook in self.paused:
            return Wait("the webhook is paused")
        postponed_until, reason = self._postponed.get(webhook, (0.0, ""))
        if reason and postponed_until > self.reactor.seconds():
            return Wait(reason, again_at=now + postponed_until - self.reactor.seconds())
        if delivery.due_at > now:
            has_failed = delivery.state is DeliveryState.RETRY
            state = "the attempt has failed" if has_failed else "it is replayed at a rate"
            return Wait(state, again_at=delivery.due_at)
        if not self._running:
            return Wait("the bot is starting or stopping")
        if self.may_run is not None and not self.may_run(webhook):
            return Wait("a worker runs it, or the owner if none has after 10 s")
        ordered = self.policy(webhook).ordered
        if not self._room(webhook, ordered):
            return Wait("an earlier delivery comes first" if ordered else f"{self.running} deliveries run already")
        return None

    def set_paused(self, webhook: str, paused: bool) -> Deferred[None]:
        """Begin no more attempts of the webhook's deliveries from now on, also after a restart, or begin them again.
        The Deferred fires when this is stored. If it fails, nothing has changed."""
        before = webhook in self.paused
        self._note_paused(webhook, paused)
        self._pausing += 1

        def ended(result: Any) -> Any:
            self._pausing -= 1
            if isinstance(result, Failure):
                self._note_paused(webhook, before)
            else:
                _log.info("Paused webhooks: {webhooks}", webhooks=", ".join(sorted(self.paused)) or "none")
                self._is_untold = self.tell is not None
            return self._changed(result)

        return self.journal.pause(webhook, paused).addBoth(ended)

    def _note_paused(self, webhook: str, paused: bool) -> None:
        (self.paused.add if paused else self.paused.discard)(webhook)

    async def replay(self, ids: Sequence[int], force: bool, user: str, spacing: float = 0.0) -> Sequence[int]:
        """Run deliveries once more, and log that the user requests it. Return the ids of those that can; see `Journal.replay`."""
        replayed = await self.journal.replay(ids, force, spacing)
        self._is_untold = self.tell is not None
        self.look()
        if replayed:
            _audit.info("{user} replays the deliveries {ids}", user=user, ids=", ".join(map(str, sorted(replayed))))
        return replayed

    def look(self) -> None:
        self._postponed.clear()
        self._changed(None)

    def changed(self) -> None:
        """Look for what another process has recorded or paused, also if the journal had errors until now."""
        self._journal_wait, self._journal_again_at = 1.0, 0.0
        self._told_at = min(self._told_at, max(self.reactor.seconds(), self._look_again_at))
        self._wake_at(self._told_at)

    def _changed(self, result: Any) -> Any:
        self._outdated = True
        self._soon()
        return result

    def _soon(self) -> None:
        self._wake_at(self.reactor.seconds())

    def _wake_at(self, at: float) -> None:
        seconds = max(0.0, at - self.reactor.seconds())
        if self._closed or at == _NEVER:
            return
        if self._timer is None:
            self._timer = self.reactor.callLater(seconds, self._turn)
        elif at < self._timer.getTime():
            self._timer.reset(seconds)

    def _turn(self) -> None:
        self._timer = None
        leased, self._leased = self._leased, []
        now = self.reactor.seconds()
        late = LATE if self.journal.shared else LEASE / 2
        for delivery, in_order, leased_at in leased:
            self._begin(delivery, in_order, now - leased_at > late)
        if not self._busy:
            self._extend_at = _NEVER
        elif now >= self._extend_at:
            self._extend_at = now + LEASE / 3
            self.journal.extend(list(self._busy), LEASE).addErrback(self._journal_failed)
        if now >= self._journal_again_at:
            unwritten, self._unwritten = self._unwritten, []
            for write in unwritten:
                write()
            if self._running:
                self._read(now)
        if self.tell is not None and self._is_untold and now >= self._tell_again_at:
            self._is_untold, self._tell_again_at = False, now + TOGETHER
            self.tell()
        next_read = min(self._next_read_at(), self._tell_again_at if self._is_untold else _NEVER)
        self._wake_at(min(self._extend_at, next_read, self._journal_again_at if self._unwritten else _NEVER))
        if self._is_idle():
            waiting, self._waiting_for_idle = self._waiting_for_idle, []
            for idle in waiting:
                idle.callback(None)

    def _is_idle(self) -> bool:
        due = self._next_read_at() <= self.reactor.seconds()
        return not (self._busy or self._loading or self._leasing or due)

    # From the journal into memory.

    def _next_read_at(self) -> float:
        if not self._running or self._loading:
            return _NEVER
        if self._outdated:
            return self._journal_again_at
        return min([max(self._told_at, self._journal_again_at), *map(self._lease_at, self._due)])

    def _read(self, now: float) -> None:
        if self._loading:
            return
        if self._outdated or now >= self._told_at:
            Deferred.fromCoroutine(self._load()).addErrback(self._journal_failed)
        else:
            for webhook in [webhook for webhook in self._due if self._lease_at(webhook) <= now]:
                Deferred.fromCoroutine(self._lease(webhook)).addErrback(self._journal_failed)

    async def _load(self) -> None:
        self._loading, self._is_blind = True, self._outdated
        self._outdated, self._told_at = False, _NEVER
        try:
            stored = await self.journal.paused()
            # Another process may have changed them. After a change by this one, they are read again.
            if not self._pausing and not self._outdated:
                self.paused.clear()
                self.paused.update(stored)
            for webhook in await self.journal.waiting():
                if not self._is_blind and webhook not in self._due:
                    self._hinted.add(webhook)
                self._due[webhook] = 0.0
            self._journal_works()
        except BaseException:
            self._outdated = True
            raise
        finally:
            self._loading = self._is_blind = False
            self._look_again_at = self.reactor.seconds() + TOGETHER
            if self._told_at != _NEVER:
                # Otherwise, many would be told of, and none leased.
                self._told_at = self._look_again_at
            self._soon()

    def _lease_at(self, webhook: str) -> float:
        """Return when to lease waiting deliveries of the webhook, on the reactor's clock."""
        wait = self._due[webhook] - self.now()
        # Nothing is due in so long a time: the clock was set back.
        wait = min(wait, LONGEST_WAIT) if wait <= FURTHEST else 0.0
        # Time passes between two calls, so what is due now must not be due in zero seconds.
        free_at = self._free_at(webhook, self.policy(webhook).ordered)
        return max(free_at, self.reactor.seconds() + wait if wait > 0 else 0.0)

    def _free_at(self, webhook: str, ordered: bool) -> float:
        if webhook in self.paused or webhook in self._leasing or not self._room(webhook, ordered):
            return _NEVER
        if self.may_run is not None and not self.may_run(webhook):
            return _NEVER
        return max(self._postponed.get(webhook, (0.0, ""))[0], self._journal_again_at)

    def _room(self, webhook: str, ordered: bool) -> int:
        free = self.capacity - self._slots.total()
        if self._bytes[webhook] and self._bytes[webhook] + self._bytes.total() >= MEMORY:
            return 0
        if ordered:
            return 0 if self._slots[webhook] or webhook in self._busy.values() else min(1, free)
        return max(0, (free - self._slots[webhook] + 1) // 2)

    def _may_begin(self, webhook: str, ordered: bool) -> bool:
        """Return whether a new delivery of the webhook may begin at once: nothing older waits for its turn."""
        if not self._running or self._outdated or self._is_blind or self._recording[webhook]:
            return False
        if ordered and self.journal.shared:
            # Another process may have recorded an older one.
            return False
        # Others would be told of each that waits, and tell of theirs.
        known = webhook in self._due and webhook not in self._hinted
        waiting = known and (ordered or self._due[webhook] <= self.now())
        return not waiting and self._free_at(webhook, ordered) <= self.reactor.seconds()

    async def _lease(self, webhook: str) -> None:
        ordered = self.policy(webhook).ordered
        count = left = self._room(webhook, ordered)
        busy = [number for number, other in self._busy.items() if other == webhook]
        due: float | None = self._due.pop(webhook)
        self._hinted.discard(webhook)
        self._slots[webhook] += count
        self._bytes[webhook] += LEASE_BYTES
        self._leasing.add(webhook)
        began = self.reactor.seconds()
        try:
            leased = await self.journal.lease(webhook, count, LEASE, ordered, busy)
            self._journal_works()
            for delivery in leased:
                self._mark_busy(delivery)
                self._bytes[webhook] += _size(delivery)
                self._leased.append((delivery, ordered, began))
            left -= len(leased)
            if len(leased) < count:
                due = await self.journal.next_due(webhook, ordered)
        finally:
            self._leasing.remove(webhook)
            self._slots[webhook] -= left
            self._bytes[webhook] -= LEASE_BYTES
            if due is not None:
                self._note_due(webhook, due)
            self._soon()

    def _note_due(self, webhook: str, due_at: float) -> None:
        self._due[webhook] = min(due_at, self._due.get(webhook, due_at))

    def _mark_busy(self, delivery: StoredDelivery) -> None:
        if not self._busy:
            self._extend_at = self.reactor.seconds() + LEASE / 3
        self._busy[delivery.id] = delivery.webhook

    # From a handler's result to the journal.

    def _begin(self, delivery: StoredDelivery, in_order: bool, is_late: bool) -> None:
        last, policy = delivery.outcome, self.policy(delivery.webhook)
        result: Deferred[Outcome | Postponed]
        if not self._running or is_late or (policy.ordered and not in_order):
            # The bot is stopping, or was stopped for so long that the lease may have ended, or the plugin was activated after it.
            result = succeed(Postponed("", 0.0))
        elif last and last.reason == PROCESS_ENDED and delivery.attempt > policy.attempts:
            # It may be what ends the process each time.
            result = succeed(Outcome(0, "the process ended during the last attempt"))
        else:
            result = maybeDeferred(self.run, delivery)
        result.addErrback(self._run_failed).addCallback(self._ended, delivery, policy).addErrback(_log_failure)

    def _run_failed(self, failure: Failure) -> Outcome:
        _log.failure("A webhook's delivery could not be run.", failure=failure)
        return Outcome(0, failure.getErrorMessage())

    def _ended(self, result: Outcome | Postponed, delivery: StoredDelivery, policy: RetryPolicy) -> None:
        if self._closed:
            return
        number, webhook = delivery.id, delivery.webhook
        self._bytes[webhook] -= _size(delivery)
        delivery = delivery._replace(request=None)
        self._slots[webhook] -= 1
        if isinstance(result, Postponed):
            self._postponed[webhook] = self.reactor.seconds() + result.seconds, result.reason
            # Due at once, since the reason for the wait ends with the process, or before `look`.
            self._retry_at(delivery, self.now(), None)
        elif result.succeeded or delivery.ack != "now":
            self.finish(number, result)
        elif result.final or delivery.attempt >= policy.attempts:
            self._write(number, partial(self.journal.bury, number, result), partial(self.dead, delivery, result))
        else:
            self._retry_at(delivery, self.now() + policy.wait_after(delivery.attempt, self.chance), result)
        self._soon()

    def _retry_at(self, delivery: StoredDelivery, due_at: float, outcome: Outcome | None) -> None:
        write = partial(self.journal.retry_at, delivery.id, due_at, outcome)
        self._write(delivery.id, write, partial(self._note_due, delivery.webhook, due_at))

    def _write(self, id: int, write: Callable[[], Deferred[None]], then: Callable[[], object]) -> None:
        """Write a result until the journal has it. The delivery is busy until then, so that it doesn't run again."""

        def written(_: None) -> None:
            self._journal_works()
            self._busy.pop(id, None)
            then()
            self._soon()

        def failed(failure: Failure) -> None:
            self._unwritten.append(partial(self._write, id, write, then))
            self._journal_failed(failure)

        write().addCallbacks(written, failed).addErrback(_log_failure)

    def _journal_failed(self, failure: Failure) -> None:
        now = self.reactor.seconds()
        if now >= self._journal_again_at:
            if not self._warned and self._warnings.allows("journal"):
                _log.warn("Deliveries of webhooks wait for the journal: {error}", error=failure.getErrorMessage())
                self._warned = True
            self._journal_again_at = now + self._journal_wait
            self._journal_wait = min(LONGEST_WAIT, 2 * self._journal_wait)
        self._soon()

    def _journal_works(self) -> None:
        if self._warned:
            _log.info("The journal of webhooks can be used again.")
        self._warned, self._journal_wait, self._journal_again_at = False, 1.0, 0.0


def _size(delivery: StoredDelivery) -> int:
    return len(delivery.request.body or b"") if delivery.request is not None else 0


def _log_failure(failure: Failure) -> None:
    _log.failure("The queue of webhooks has failed.", failure=failure)
