"""Deliveries and requests as rows of the database."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from errklein.webhooks.deliveries import DeliveryState, Outcome, StoredDelivery, StoredRequest

STATES = (
    DeliveryState.RECEIVED,
    DeliveryState.RUNNING,
    DeliveryState.RETRY,
    DeliveryState.DONE,
    DeliveryState.DEAD,
    DeliveryState.FAILED,
    DeliveryState.DUPLICATE,
    DeliveryState.REFUSED,
)
"""The states by their number in the database."""

NUMBERS = {state: number for number, state in enumerate(STATES)}

DELIVERY = (
    "d.id, r.name, d.state, d.received_at, d.request_id, d.durable, d.attempt, d.due_at, d.origin, d.key, "
    "d.verified, d.superseded_by, d.status, d.reason, d.seconds"
)
"""The columns of a delivery in a query with `deliveries d` and `routes r`, for `delivery_of`."""

_ROW_SIZE = 200


def delivery_row(delivery: StoredDelivery, route: int, began_at: float, request_size: int) -> Sequence[object]:
    """Return the row of a delivery in `deliveries`."""
    outcome = delivery.outcome
    durable = delivery.ack == "now"
    return (
        delivery.id,
        route,
        NUMBERS[delivery.state],
        delivery.received_at,
        delivery.request_id,
        durable,
        delivery.attempt,
        delivery.due_at if durable or delivery.state is not DeliveryState.RUNNING else None,
        delivery.origin,
        delivery.key,
        began_at,
        *((None, None, None) if outcome is None else (outcome.status, outcome.reason, outcome.seconds)),
        _ROW_SIZE + request_size,
        delivery.verified,
        delivery.superseded_by,
    )


def delivery_of(row: Sequence[Any], request: StoredRequest | None = None) -> StoredDelivery:
    """Return the delivery of the columns DELIVERY."""
    number, route, state, received_at, request_id, durable, attempt, due_at, origin, key, verified, later, *outcome = (
        row
    )
    return StoredDelivery(
        number,
        route,
        STATES[state],
        received_at,
        request_id,
        "now" if durable else "after",
        attempt,
        due_at or 0.0,
        origin,
        key,
        None if outcome[0] is None else Outcome(*outcome),
        request,
        verified=bool(verified),
        superseded_by=later,
    )


def head_of(request: StoredRequest, target: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a request with this target and these headers, as lines.

    A line end within a field, which no HTTP parser accepts, is replaced by a space.
    """
    host, port = request.server
    fields = (request.method, target, request.client, "s" if request.secure else "", host, str(port), request.base_path)
    lines = [field.encode("utf-8", "surrogatepass") for field in fields] + list(chain.from_iterable(headers))
    head = b"\n".join(lines)
    if head.count(b"\n") >= len(lines):
        head = b"\n".join(line.replace(b"\n", b" ") for line in lines)
    return head


def request_of(head: bytes | None, body: bytes | None) -> StoredRequest | None:
    """Return the request of a head and a body; None without a head."""
    if head is None:
        return None
    lines = head.split(b"\n")
    method, target, client, secure, host, port, base_path = [
        line.decode("utf-8", "surrogatepass") for line in lines[:7]
    ]
    headers = list(zip(lines[7::2], lines[8::2], strict=True))
    return StoredRequest(method, target, headers, body, client, bool(secure), (host, int(port)), base_path)
