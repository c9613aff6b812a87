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

REMOVED_WEBHOOK = "the webhook was removed"
"""The reason of deliveries that were given up with status 410, since their webhook is no more."""


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


UNFINISHED = (DeliveryState.RECEIVED, DeliveryState.RUNNING, DeliveryState.RETRY)
"""The states of deliveries that wait or run."""


class StoredRequest(NamedTuple):
    """A request from which a handler can be called again.

    :param target: The path and the query, as received.
    :param headers: The headers, with names in lower case.
    :param body: The body; None if it was left out, so the request can't be replayed.
    :param client: The client's address, or "".
    :param secure: Whether the client used HTTPS.
    :param server: The address and port of the server.
    :param base_path: The path below which the client reached the webhooks.
    :param secret_headers: The lower-case names of headers that the journal's log must leave out, beside those that it knows. They
        aren't stored.

    The repr leaves out what may contain secrets.
    """

    method: str
    target: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes | None
    client: str = ""
    secure: bool = False
    server: tuple[str, int] = ("localhost", 80)
    base_path: str = ""
    secret_headers: frozenset[bytes] = frozenset()

    @property
    def size(self) -> int:
        """The approximate number of bytes that the headers and the body take in memory."""
        return sum(100 + len(name) + len(value) for name, value in self.headers) + len(self.body or b"")

    def __repr__(self) -> str:
        return f"<StoredRequest: {self.method}, {len(self.headers)} headers, {len(self.body or b'')} bytes>"


class Outcome(NamedTuple):
    """The end of an attempt: the response's status, 0 if there was none, and the reason if it failed.

    :param traceback: The end of the traceback of the handler's exception, without secrets; "" in lists.
    """

    status: int
    reason: str = ""
    seconds: float = 0.0
    traceback: str = ""

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
    """The number of deliveries in the journal that wait, run, or were given up, and when the oldest of the first two was received.

    :param waiting: Those in the states RECEIVED and RETRY.
    :param running: Those in the state RUNNING.
    :param dead: Those in the state DEAD.
    :param oldest_at: The Unix time; 0.0 if none waits or runs.
    :param dead_of: The number of those in the state DEAD by webhook, for webhooks that have any.
    :param size: The size of the journal's files in bytes.
    :param oldest_kept_at: The Unix time at which the oldest delivery in the journal was received; 0.0 if there is none.
    """

    waiting: int = 0
    running: int = 0
    dead: int = 0
    oldest_at: float = 0.0
    dead_of: Mapping[str, int] = MappingProxyType({})
    size: int = 0
    oldest_kept_at: float = 0.0


class Attempt(NamedTuple):
    """An earlier attempt of a delivery: its number, its start as Unix time, and its outcome."""

    number: int
    began_at: float
    outcome: Outcome


class StoredDelivery(NamedTuple):
    """A delivery in the journal. Times are Unix times in seconds.

    :param id: The number of the delivery, which increases with time.
    :param webhook: The webhook as "Plugin:method".
    :param state: The state.
    :param received_at: The time of the request.
    :param request_id: The request's id in the log.
    :param ack: "now" or "after".
    :param attempt: The number of the present or last attempt; 0 before the first.
    :param due_at: The time of the next attempt for RETRY, and for RECEIVED if it is replayed at a rate; the end of the lease for RUNNING.
    :param origin: "" for a request of a client, "test" for `!webhook test`, "replay" for a replayed delivery.
    :param key: What identifies repeated requests, such as the source's id of the delivery; "" if nothing does.
    :param outcome: The last outcome, if an attempt has ended.
    :param request: The request; None in lists.
    :param attempts: The earlier attempts; empty in lists.
    :param verified: Whether only a known source can have sent the request.
    :param superseded_by: The id of a later delivery with which the source has repeated this one after it was given up or refused, or 0.
    :param began_at: The beginning of the last attempt; 0.0 in lists.
    :param answered: The status of the response that the source has got; 0 if there was none, or it isn't known.
    """

    id: int
    webhook: str
    state: DeliveryState
    received_at: float
    request_id: str = ""
    ack: str = "after"
    attempt: int = 0
    due_at: float = 0.0
    origin: str = ""
    key: str = ""
    outcome: Outcome | None = None
    request: StoredRequest | None = None
    attempts: Sequence[Attempt] = ()
    verified: bool = True
    superseded_by: int = 0
    began_at: float = 0.0
    answered: int = 0

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
    """A page of a list of deliveries, newest first. Fields that are None don't restrict it.

    :param webhook: The webhook as "Plugin:method", or a plugin as "Plugin".
    :param states: The states.
    :param since: The earliest time of receipt, as Unix time.
    :param until: The latest time of receipt.
    :param before: Only deliveries with a lower id, to continue after a page.
    :param limit: The size of the page.
    :param key: The key.
    :param status: The status of the last outcome.
    :param answered: The status of the response that the source has got.
    :param reason: A part of the reason of the last outcome, in upper or lower case.
    :param ids: The ids.
    :param request_id: The id of the request, which its response has as X-Request-Id.
    :param text: A text in the headers or the body, in upper or lower case, as it is or as in JSON or a form. Each is read, so name few ids.
    """

    webhook: str | None = None
    states: Sequence[DeliveryState] | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None
    limit: int = 20
    key: str | None = None
    status: int | None = None
    reason: str | None = None
    ids: Sequence[int] | None = None
    request_id: str | None = None
    text: str | None = None
    answered: int | None = None


class Total(NamedTuple):
    """The numbers of requests in a minute or hour, by the time of their receipt.

    :param at: Its beginning, as Unix time.
    :param accepted: The deliveries, with those that were removed since, and without those in `counted`.
    :param counted: Successful deliveries that were only counted.
    :param failed: Deliveries that are in the state FAILED now and weren't superseded; `dead` are those in the state DEAD.
    """

    at: float
    accepted: int = 0
    refused: int = 0
    repeated: int = 0
    counted: int = 0
    failed: int = 0
    dead: int = 0


class FailureGroup(NamedTuple):
    """Deliveries of a webhook with the same state, status and cause: their reasons differ only in numbers and quoted words.

    :param reason: The reason of the latest one.
    :param repeated: The number of those that the source has sent again: they are superseded.
    :param first: The time of receipt of the first one; `last` is that of the latest.
    :param key: What identifies the group.
    :param ids: The latest ids, first those that the source hasn't sent again; empty in lists of groups.
    :param sources: The source's ids of those that it hasn't sent again, "" for unknown ones; empty in lists of groups.
    """

    webhook: str
    state: DeliveryState
    status: int
    reason: str
    number: int
    repeated: int
    first: float
    last: float
    key: str = ""
    ids: Sequence[int] = ()
    sources: Sequence[str] = ()


class Action(NamedTuple):
    """Something that a person has done with the bot: an operation with its arguments, as text without secrets.

    :param way: "chat", "shell" or "console".
    """

    at: float
    who: str
    way: str
    operation: str
    arguments: str
    id: int = 0


class Balance(NamedTuple):
    """What has become of everything that was accepted in a period.

    :param kind: "deliveries" or "messages".
    :param since: The beginning of the period, as Unix time.
    :param parts: Their numbers by what has become of them.
    :param missing: The ids, of all times, that must have a row and have none; at most 1,000.
    :param kills: The times of starts after a process was killed; 0.0 for one that was killed or runs, and none was started since.
    """

    kind: str
    since: float
    accepted: int
    parts: Mapping[str, int]
    missing: Sequence[int]
    kills: Sequence[float]

    @property
    def difference(self) -> int:
        """The number of those of which nothing is known."""
        return self.accepted - sum(self.parts.values())
