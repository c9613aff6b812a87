"""Deliveries of webhooks as the journal stores them: the request, its state, and the outcome of an attempt. Most are
named tuples: one is created for each request, and a frozen dataclass takes four times as long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

MAX_LOGGED_BODY = 1_000_000  # the size in bytes of the largest body that the log stores
MAX_TRACEBACK = 4000  # the number of characters that are kept of a traceback: its end, which has the exception
REMOVED_WEBHOOK = "the webhook was removed"  # the reason of deliveries that were given up with status 410


class DeliveryState(StrEnum):
    """The state of a delivery. With `ack="now"`: RECEIVED, RUNNING, RETRY and RECEIVED again, then DONE or DEAD. With
    `ack="after"`: RUNNING, then DONE or FAILED. A DUPLICATE was not run, since its id is known. A REFUSED request was
    not run either; `reason` says why. Journals store the states as numbers, in this order."""

    RECEIVED = "received"
    RUNNING = "running"
    RETRY = "retry"
    DONE = "done"
    DEAD = "dead"
    FAILED = "failed"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


# The states of deliveries that wait or run.
UNFINISHED = (DeliveryState.RECEIVED, DeliveryState.RUNNING, DeliveryState.RETRY)


class StoredRequest(NamedTuple):
    """A request from which a handler can be called again. The repr leaves out what may contain secrets."""

    method: str
    target: str  # the path and the query, as received
    headers: Sequence[tuple[bytes, bytes]]  # with names in lower case
    body: bytes | None  # None if it was left out, so the request can't be replayed
    client: str = ""  # the client's address, or ""
    secure: bool = False  # whether the client used HTTPS
    server: tuple[str, int] = ("localhost", 80)
    base_path: str = ""  # the path below which the client reached the webhooks
    secret_headers: frozenset[bytes] = frozenset()  # those that the journal must leave out beside those that it knows

    @property
    def size(self) -> int:
        """The approximate number of bytes that the headers and the body take in memory."""
        return sum(100 + len(name) + len(value) for name, value in self.headers) + len(self.body or b"")

    def __repr__(self) -> str:
        return f"<StoredRequest: {self.method}, {len(self.headers)} headers, {len(self.body or b'')} bytes>"


class Outcome(NamedTuple):
    """The end of an attempt: the response's status, 0 if there was none, and the reason if it failed."""

    status: int
    reason: str = ""
    seconds: float = 0.0
    traceback: str = ""  # the end of the traceback of the handler's exception, without secrets; "" in lists

    @property
    def succeeded(self) -> bool:
        """Whether the handler has accepted the delivery: a status below 400."""
        return 0 < self.status < 400

    @property
    def final(self) -> bool:
        """Whether another attempt is useless: the handler has succeeded, or rejected the request with a status 4xx."""
        return 0 < self.status < 500


@dataclass(frozen=True, slots=True)
class Postponed:
    """The handler was not called, for this reason; the attempt doesn't count. It may be called in this many seconds."""

    reason: str
    seconds: float


class QueueDepth(NamedTuple):
    """The number of deliveries in the journal that wait, run, or were given up, and when the oldest of the first two was received."""

    waiting: int = 0  # those in the states RECEIVED and RETRY
    running: int = 0
    dead: int = 0
    oldest_at: float = 0.0  # the Unix time; 0.0 if none waits or runs
    dead_of: Mapping[str, int] = MappingProxyType({})  # the number of dead ones by webhook, for webhooks that have any
    size: int = 0  # the size of the journal's files in bytes
    oldest_kept_at: float = 0.0  # the Unix time of receipt of the oldest delivery in the journal; 0.0 if there is none


class Attempt(NamedTuple):
    """An earlier attempt of a delivery: its number, its start as Unix time, and its outcome."""

    number: int
    began_at: float
    outcome: Outcome


class StoredDelivery(NamedTuple):
    """A delivery in the journal. Times are Unix times in seconds."""

    id: int  # increases with time
    webhook: str  # as "Plugin:method"
    state: DeliveryState
    received_at: float
    request_id: str = ""  # the request's id in the log
    ack: str = "after"  # or "now"
    attempt: int = 0  # the number of the present or last attempt; 0 before the first
    # The time of the next attempt for RETRY, and for RECEIVED if it is replayed at a rate; the end of the lease for RUNNING.
    due_at: float = 0.0
    origin: str = ""  # "" for a request of a client, "test" for `!webhook test`, "replay" for a replayed delivery
    key: str = ""  # what identifies repeated requests, such as the source's id of the delivery; "" if nothing does
    outcome: Outcome | None = None  # the last outcome, if an attempt has ended
    request: StoredRequest | None = None  # None in lists
    attempts: Sequence[Attempt] = ()  # the earlier attempts; empty in lists
    verified: bool = True  # whether only a known source can have sent the request
    superseded_by: int = 0  # a later delivery with which the source has repeated this one, which had failed
    began_at: float = 0.0  # the beginning of the last attempt; 0.0 in lists
    answered: int = 0  # the status of the response that the source has got; 0 if there was none, or it isn't known

    @property
    def status_of_repeated(self) -> int:
        """The status of the response to a request that repeats this one: 409 as long as its own isn't known."""
        return self.outcome.status if self.outcome is not None and self.state is DeliveryState.DONE else 409

    def without_reasons(self) -> StoredDelivery:
        """Return the delivery without the reasons and tracebacks of its attempts, which may be texts of exceptions."""
        if self.outcome is None:
            return self
        attempts = [one._replace(outcome=one.outcome._replace(reason="", traceback="")) for one in self.attempts]
        return self._replace(outcome=self.outcome._replace(reason="", traceback=""), attempts=attempts)


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    """A page of a list of deliveries, newest first. Fields that are None don't restrict it."""

    webhook: str | None = None  # as "Plugin:method", or a plugin as "Plugin"
    states: Sequence[DeliveryState] | None = None
    since: float | None = None  # the earliest time of receipt, as Unix time
    until: float | None = None
    before: int | None = None  # only deliveries with a lower id, to continue after a page
    limit: int = 20
    key: str | None = None
    status: int | None = None  # that of the last outcome
    reason: str | None = None  # a part of the reason of the last outcome, in upper or lower case
    ids: Sequence[int] | None = None
    request_id: str | None = None  # the id that the response has as X-Request-Id
    text: str | None = None  # in the headers or the body, also as in JSON or a form; each is read, so name few ids
    answered: int | None = None  # the status of the response that the source has got


class Total(NamedTuple):
    """The numbers of requests in a minute or hour, by the time of their receipt."""

    at: float  # its beginning, as Unix time
    accepted: int = 0  # the deliveries, with those that were removed since, and without those in `counted`
    refused: int = 0
    repeated: int = 0
    counted: int = 0  # successful deliveries that were only counted
    failed: int = 0  # deliveries that are in the state FAILED now and weren't superseded
    dead: int = 0


class FailureGroup(NamedTuple):
    """Deliveries of a webhook with the same state, status and cause: their reasons differ only in numbers and quoted words."""

    webhook: str
    state: DeliveryState
    status: int
    reason: str  # that of the latest one
    number: int
    repeated: int  # the number of those that the source has sent again: they are superseded
    first: float  # the time of receipt of the first one
    last: float
    key: str = ""
    ids: Sequence[int] = ()  # the latest ids, first those that the source hasn't sent again; empty in lists of groups
    # The source's ids of those that it hasn't sent again, "" if unknown; empty in lists of groups.
    sources: Sequence[str] = ()


class Action(NamedTuple):
    """Something that a person has done with the bot: an operation with its arguments, as text without secrets."""

    at: float
    who: str
    way: str  # "chat", "shell" or "console"
    operation: str
    arguments: str
    id: int = 0


class Balance(NamedTuple):
    """What has become of everything that was accepted in a period."""

    kind: str  # "deliveries" or "messages"
    since: float  # the beginning of the period, as Unix time
    accepted: int
    parts: Mapping[str, int]  # their numbers by what has become of them
    missing: Sequence[int]  # the ids, of all times, that must have a row and have none; at most 1,000
    kills: Sequence[float]  # the starts after kills; 0.0 if none was since, or it runs. Of several processes, their own

    @property
    def difference(self) -> int:
        """The number of those of which nothing is known."""
        return self.accepted - sum(self.parts.values())
