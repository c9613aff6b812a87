"""Log lines about messages that were not sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.logger import Logger

from errklein.backends.outbox._lanes import Entry
from errklein.text import truncated
from errklein.text.masking import masker

SHOWN = 60
"""Number of characters of a message in a log line."""

KEPT = 500
"""Number of characters of a message in which secrets are masked, before it is truncated to SHOWN."""

SINGLE = 1_000
"""Number of lost messages with a log line each. Further ones share lines, since a stopping process has a second left."""

SHARED = 50
"""Number of lost messages in a shared log line."""


def log_losses(log: Logger, network: str, lost: Sequence[Entry[Any]]) -> None:
    """Log each lost message with its recipient, its text, and how much of it the network has confirmed."""
    losses = [_loss(entry) for entry in lost]
    lines = losses[:SINGLE]
    lines += [" | ".join(losses[start : start + SHARED]) for start in range(SINGLE, len(losses), SHARED)]
    for line in lines:
        log.warn("{network}: {losses}", network=network, losses=line)


def _loss(entry: Entry[Any]) -> str:
    if entry.is_transmitted and entry.unconfirmed:
        what = "sent but not confirmed"
    elif entry.confirmed:
        what = f"sent {entry.confirmed} of {len(entry.parts or ())} parts"
    else:
        what = "not sent"
    recipient, text = truncated(entry.message.recipient, SHOWN), masker(entry.message.body[:KEPT])
    return f"{what}, to {recipient}: {truncated(text, SHOWN)}"
