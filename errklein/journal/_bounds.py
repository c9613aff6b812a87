"""Sizes of texts from outside that the journal stores."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from errklein.webhooks.deliveries import Outcome, StoredDelivery

MAX_TEXT = 500
"""The largest stored size of a reason, in characters."""

MAX_KEY = 100
"""The largest size of a key that is stored itself; of a longer one, its hash is."""


def bounded(delivery: StoredDelivery) -> StoredDelivery:
    """Return the delivery with a key and a reason of limited size."""
    if len(delivery.key) > MAX_KEY:
        delivery = replace(delivery, key=sha256(delivery.key.encode("utf-8", "surrogatepass")).hexdigest())
    if delivery.outcome is not None and len(delivery.outcome.reason) > MAX_TEXT:
        delivery = replace(delivery, outcome=bounded_outcome(delivery.outcome))
    return delivery


def bounded_outcome(outcome: Outcome) -> Outcome:
    """Return the outcome with a reason of at most MAX_TEXT characters."""
    return outcome if len(outcome.reason) <= MAX_TEXT else replace(outcome, reason=outcome.reason[:MAX_TEXT])
