"""A webhook as text, for operators: its address and options, and what has become of its requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from errklein.webhooks.declaration import HookDeclaration
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, StoredDelivery
from errklein.webhooks.delivery_words import MAX_COUNT
from errklein.webhooks.exported import not_recorded, summary

DAY = 86400.0

_OPTIONS = ("form_param", "raw", "dedupe", "dedupe_window", "attempts", "ordered", "max_body", "timeout")


def listed(webhook: str, url: str, methods: Sequence[str], declaration: HookDeclaration, *, is_paused: bool) -> str:
    """Return a webhook as one line of a list."""
    paused = ", paused" if is_paused else ""
    return f"{url} -> {webhook} [{', '.join(sorted(methods))}], {declaration.summary}{paused}"


def options_given(declaration: HookDeclaration) -> str:
    """Return the options that differ from the default, without those of the summary; empty if there are none."""
    values = {name: getattr(declaration, name) for name in _OPTIONS}
    return ", ".join(f"{name}={value!r}" for name, value in values.items() if value)


def queries(webhook: str, now: float) -> Sequence[DeliveryQuery]:
    """Return the queries of the last request of a webhook, the last one that was refused, and those of a day."""
    last = DeliveryQuery(webhook=webhook, limit=1)
    refused = DeliveryQuery(webhook=webhook, states=(DeliveryState.REFUSED,), limit=1)
    return last, refused, DeliveryQuery(webhook=webhook, since=now - DAY, limit=MAX_COUNT)


def requests_of(
    last: Sequence[StoredDelivery], refused: Sequence[StoredDelivery], day: Sequence[StoredDelivery], counted: int
) -> Iterator[str]:
    """Yield lines about the requests of a webhook; none if there are no requests.

    :param last: The results of `queries`.
    :param counted: The number of deliveries of a day that were only counted.
    """
    for delivery in last:
        yield f"Last request: {summary(delivery)}"
    for delivery in refused:
        if delivery.id != last[0].id:
            yield f"Last refused: {summary(delivery)}"
    numbers = Counter(delivery.state for delivery in day)
    if day or counted:
        most = f"the last {len(day)} requests" if len(day) == MAX_COUNT else "24 hours"
        states = [f"{numbers[state]} {state}" for state in DeliveryState if numbers[state]]
        yield f"In {most}: {', '.join([*states, *not_recorded(counted)]).removeprefix('and ')}"
