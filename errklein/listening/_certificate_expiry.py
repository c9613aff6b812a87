"""Warnings before certificates expire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from errklein.listening._listeners import Listeners

DAYS = (1, 7, 30)
"""The numbers of days before the expiry at which a warning is sent, in ascending order."""


def expiry_warnings(listeners: Listeners, now: datetime | None = None) -> Iterator[tuple[tuple[object, ...], str]]:
    """Yield a warning for each certificate in use that has less than 30, 7 or 1 days left, or has expired.

    Each is a pair of a key, which is another one at the next stage, and a sentence.
    """
    for endpoint, file, expires in listeners.expiries():
        left = expires - (now or datetime.now(UTC))
        stage = 0 if left.total_seconds() <= 0 else next((days for days in DAYS if left.days < days), None)
        if stage is not None:
            when = "has expired" if stage == 0 else f"expires on {expires:%Y-%m-%d}, in less than {stage} day"
            sentence = f"The certificate in {file} ({endpoint}) {when}{'s' if stage > 1 else ''}; replace it."
            yield ("certificate", endpoint, file, expires, stage), sentence
