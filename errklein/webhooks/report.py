"""A webhook as text, for operators: its address, its options, and the numbers of its requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from errklein.webhooks.declaration import Hook
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, StoredDelivery
from errklein.webhooks.delivery_words import MAX_COUNT
from errklein.webhooks.exported import not_recorded

_OPTIONS = ("form_param", "raw", "dedupe", "dedupe_window", "attempts", "ordered", "max_body", "timeout")


def listed(hook: Hook, site: str, methods: Iterable[str], paused: Iterable[str]) -> str:
    """Return a webhook as one line of a list. `site` is the URL of the bot, and `paused` has the names of paused webhooks."""
    declared, ending = hook.declaration, ", paused" if hook.full_name in paused else ""
    return f"{site}{declared.rule} -> {hook} [{', '.join(sorted(methods))}], {declared.summary}{ending}"


def options_given(hook: Hook) -> list[str]:
    """Return a line with the options that differ from the default, without those of the summary; none if there are none."""
    values = [f"{name}={value!r}" for name in _OPTIONS if (value := getattr(hook.declaration, name))]
    return [f"Options: {', '.join(values)}"] if values else []


def day_of(webhook: str, now: float) -> DeliveryQuery:
    """Return the query of the last 24 hours of a webhook."""
    return DeliveryQuery(webhook=webhook, since=now - 86400.0, limit=MAX_COUNT)


def numbers_of(day: Sequence[StoredDelivery], counted: int) -> list[str]:
    """Return a line with the numbers of the deliveries of a day; none if there are none.

    :param counted: The number of those that were only counted.
    """
    numbers = Counter(one.state for one in day)
    states = [f"{numbers[state]} {state}" for state in DeliveryState if numbers[state]]
    period = f"Of the last {MAX_COUNT} requests" if len(day) == MAX_COUNT else "In 24 hours"
    text = ", ".join([*states, *not_recorded(counted)]).removeprefix("and ")
    return [f"{period}: {text}"] if text else []
