"""The interface between the web server and the store of webhooks' deliveries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from errklein.ports.outbox import OutboxStore
from errklein.webhooks.deliveries import Action, DeliveryQuery, FailureGroup, Outcome, QueueDepth, StoredDelivery, Total


class Journal(Protocol):
    """The durable store of webhooks' deliveries. A Deferred fires on the reactor when the change is on disk. Every method
    that returns a Deferred fails with JournalError if the store can't be read or written; nothing is changed then."""

    shared: bool
    """Whether other processes record and run deliveries at the same time."""

    @property
    def outbox(self) -> OutboxStore:
        """The messages that wait to be sent. `finish`, `retry_at` and `bury` write what was added before them, too."""

    def next_id(self) -> int:
        """Return the id of a new delivery. Raises JournalError: there is none while the database is absent for long."""

    def record(
        self, delivery: StoredDelivery, *, lease: float = 0.0, window: float = 0.0
    ) -> Deferred[StoredDelivery | None]:
        """Store a new delivery, unless its key is known. Both are one transaction.

        :param delivery: The delivery, with its request, in the state RECEIVED. Its source may have got no response yet.
        Those of its webhook with the same key that are DEAD, FAILED or REFUSED are superseded by it, also when it is passed to `log`.

        :param lease: Lease it at once for this many seconds; its state is RUNNING then, and its attempt 1.
        :param window: The seconds for which the key of the delivery is remembered. Without it, the key isn't compared either.
        :returns: None if the delivery was stored. Otherwise the earlier delivery with the same webhook and key, which is neither
            DEAD nor FAILED; the new one is stored as a DUPLICATE, without its request.
        """

    def lease(
        self, webhook: str, count: int, seconds: float, ordered: bool = False, busy: Sequence[int] = ()
    ) -> Deferred[Sequence[StoredDelivery]]:
        """Return up to `count` deliveries of a webhook that are due, oldest first, with their requests.

        Their state becomes RUNNING, and their attempt one higher. Nobody else gets them for this many seconds, or until `extend`.
        Due are deliveries in the state RECEIVED, those in RETRY whose time has come or is over two hours ahead (the clock was set), and those in RUNNING whose lease has ended,
        which only happens after a crash. A store that only one process uses ends the leases of an earlier process when it is opened.

        Fewer are returned, but at least one, if their bodies would have more than 16 MB together.

        :param ordered: Only the oldest unfinished delivery of the webhook is considered, whether it is due or not.
        :param busy: Deliveries that the caller is still busy with, and which aren't returned: their lease may seem to have ended,
            since the clock was set, or `retry_at` may have taken effect without the caller knowing.
        """

    def extend(self, ids: Sequence[int], seconds: float) -> Deferred[None]:
        """Let the leases of these deliveries end in this many seconds."""

    def retry_at(self, id: int, due_at: float, outcome: Outcome | None) -> Deferred[None]:
        """End an attempt that failed, or that was not begun if the outcome is None: it isn't counted then. The next one
        may begin at this Unix time; the state is RETRY."""

    def finish(self, id: int, outcome: Outcome) -> Deferred[None]:
        """End the last attempt: DONE if it succeeded, else FAILED. What only a further attempt needs is removed: the
        headers that authenticate the source, and large bodies."""

    def bury(self, id: int, outcome: Outcome) -> Deferred[None]:
        """End the last attempt of a delivery that is given up: DEAD. Its request stays complete, for a replay."""

    def depth(self) -> Deferred[QueueDepth]:
        """Return the number of deliveries that wait, run, or were given up."""

    def check(self) -> Deferred[None]:
        """Write something that changes nothing. Fails as other writes do, such as on a full disk."""

    def waiting(self, since: float = ...) -> Deferred[Sequence[str]]:
        """Return the webhooks with deliveries in the states RECEIVED, RETRY or RUNNING that were received, and due, at a time."""

    def next_due(self, webhook: str, ordered: bool = False) -> Deferred[float | None]:
        """Return the Unix time at which `lease` has something to return for the webhook; None if nothing is waiting.
        Deliveries in the state RUNNING aren't waiting. With `ordered`, it is the time of the oldest unfinished delivery."""

    def pause(self, webhook: str, paused: bool) -> Deferred[None]:
        """Store that the deliveries of the webhook wait, or don't any more. `lease` and `next_due` ignore it."""

    def paused(self) -> Deferred[Sequence[str]]:
        """Return the webhooks that `pause` has stored as paused."""

    def once(self, id: int, key: str) -> Deferred[bool]:
        """Return True the first time that it is called for this delivery and key, also in later attempts; False afterwards."""

    def log(self, delivery: StoredDelivery) -> None:
        """Store a finished delivery soon: one of `ack="after"`, or a refused request. Nothing waits for it, so a crash
        may lose the last second of them. Errors are logged, and never raised."""

    def count(self, webhook: str) -> None:
        """Count a successful delivery of the webhook soon, instead of storing it. A crash may lose the last second."""

    def counted(self, query: DeliveryQuery) -> Deferred[int]:
        """Return the number of deliveries that were only counted, of the query's webhook, states and times, to the
        minute, after two hours to the hour. Such a delivery is DONE, and has neither a key nor a reason."""

    def totals(self, since: float, until: float, step: int, webhook: str | None = None) -> Deferred[Sequence[Total]]:
        """Return the numbers of each whole step in a period: of 3600 seconds, or of 60 in the last hour. `webhook` is as in a query."""

    def failures(self, since: float = 0.0, webhook: str = "", key: str = "") -> Deferred[Sequence[FailureGroup]]:
        """Return the groups of deliveries that failed, were given up or refused, the latest first, at most 200.

        :param since: The earliest time of receipt.
        :param webhook: As in a query; "" for all.
        :param key: Return only the group with this key, with its latest ids, at most 1,000.
        """

    def last_requests(self, webhooks: Sequence[str] | None = None) -> Deferred[Sequence[StoredDelivery]]:
        """Return the latest delivery of each webhook, or of each of these, in any state, without its request."""

    async def search(self, text: str, before: int | None = None) -> tuple[Sequence[StoredDelivery], int]:
        """Return deliveries, newest first, with this id, request's id or source's id, and the id down to which was
        searched. The id is 0 if all were searched. Otherwise, pass it as `before` to go on."""

    def replayable(self, ids: Sequence[int], force: bool = False) -> Deferred[Sequence[int]]:
        """Return the ids of those that `replay` would let run."""

    def actions(self, before: int | None = None, limit: int = 50) -> Deferred[Sequence[Action]]:
        """Return what people have done, newest first; with `before`, only actions with a lower id."""

    def wake_up(self, function: Callable[[], None]) -> None:
        """Call the function when deliveries may have become due that another process has changed."""

    def find(self, query: DeliveryQuery) -> Deferred[Sequence[StoredDelivery]]:
        """Return the deliveries of a query, newest first, without their requests."""

    def get(self, id: int) -> Deferred[StoredDelivery | None]:
        """Return a delivery with its request and attempts; None if it is unknown."""

    def webhooks(self) -> Deferred[Sequence[str]]:
        """Return the webhooks that have or had deliveries, or were paused."""

    def replay(self, ids: Sequence[int], force: bool = False, spacing: float = 0.0) -> Deferred[Sequence[int]]:
        """Let deliveries run once more, whatever their state is; their origin becomes "replay".

        A delivery that waits for a retry is due at once then.

        :param force: Replay also those that are superseded.
        :param spacing: The seconds after which each may begin after the one before, in the order of their ids.
        :returns: The ids of those that can be replayed: their request is complete, and they aren't RECEIVED or RUNNING.
        """

    def note(self, action: Action) -> None:
        """Store soon what somebody does, for 90 days. Errors are logged, and never raised."""

    def watch(self, changed: Callable[[], None] | None) -> None:
        """Call the function on the reactor after each transaction, in place of an earlier one; None: call nothing."""

    def forget(self, ids: Sequence[int]) -> Deferred[Sequence[int]]:
        """Remove headers, bodies and reasons of deliveries that have ended, also from files. Return the ids of these.
        While another process reads the files, what was removed stays in them, and is removed a moment later."""

    def close(self) -> Deferred[None]:
        """Write what is pending, and close the store."""


class LaterDeliveries(Protocol):
    """Runs the deliveries whose source has got 202."""

    @property
    def paused(self) -> Collection[str]:
        """The webhooks that are paused, now and later: their deliveries are recorded, and run later."""

    def accept(self, delivery: StoredDelivery, window: float) -> Deferred[StoredDelivery | None]:
        """Record a delivery as `Journal.record` does, and run it later."""

    def look(self) -> None:
        """Look for deliveries that can run now, since a plugin was activated."""

    def finish(self, id: int, outcome: Outcome) -> None:
        """Store the outcome of a delivery that was run elsewhere, as `Journal.finish` does, and again after an error."""


class JournalError(Exception):
    """The journal can't be read or written. The text is one line with the file, the reason and the remedy."""
