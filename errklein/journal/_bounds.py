"""Texts from outside, as the journal stores them: of limited size, and valid Unicode."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from itertools import accumulate

from errklein.text.masking import masker
from errklein.webhooks.deliveries import Outcome, StoredDelivery

MAX_TEXT = 500
"""The largest stored size of a reason, in characters."""

MAX_KEY = 100
"""The largest size of a key that is stored itself; of a longer one, its hash is. Also that of a request's id."""


LEASE_BYTES = 16_000_000
"""The largest size of the bodies that one lease reads, unless its first one alone is larger."""

FURTHEST = 7200.0
"""The seconds after which no attempt is due. One with a later time is due now, since the clock was set back meanwhile."""


def bounded(delivery: StoredDelivery) -> StoredDelivery:
    """Return the delivery with texts that can be stored."""
    key = stored_key(delivery.key)
    if key != delivery.key:
        delivery = delivery._replace(key=key)
    if len(delivery.request_id) > MAX_KEY or not delivery.request_id.isascii():
        delivery = delivery._replace(request_id=_bounded_text(delivery.request_id, MAX_KEY))
    if delivery.outcome is not None:
        outcome = bounded_outcome(delivery.outcome)
        delivery = delivery if outcome is delivery.outcome else delivery._replace(outcome=outcome)
    return delivery


def stored_key(key: str) -> str:
    """Return a key as it is stored."""
    is_stored = len(key) <= MAX_KEY and key.isascii()
    return key if is_stored else sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def bounded_outcome(outcome: Outcome) -> Outcome:
    """Return the outcome with a reason that can be stored: with masked secrets, on one line."""
    if not outcome.reason:
        return outcome
    return outcome._replace(reason=bounded_reason(outcome.reason))


def bounded_reason(reason: str) -> str:
    """Return a reason as it is stored: with masked secrets, on one line."""
    # An exception may contain a whole body.
    return _bounded_text(" ".join(masker.part(reason, 0, 10 * MAX_TEXT).split()), MAX_TEXT) if reason else ""


def fitting(sizes: Iterable[int]) -> int:
    """Return how many of the bodies one lease reads: at least one."""
    return max(1, sum(total <= LEASE_BYTES for total in accumulate(sizes)))


def _bounded_text(text: str, size: int) -> str:
    return text[:size].encode("utf-8", "replace").decode("utf-8")
