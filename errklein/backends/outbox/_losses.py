"""Log lines about messages that were not sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

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


def log_left(log: Logger, network: str, kept: Sequence[Entry[Any]], lost: Sequence[Entry[Any]]) -> None:
    """Log what is left when the outbox is closed: the number of stored messages, and each of the others."""
    if kept:
        text = "{network}: {count} messages were not sent yet; they are sent after the next start"
        log.info(text, network=network, count=len(kept))
    if lost:
        log.warn("{network}: {count} messages were not sent:", network=network, count=len(lost))
        log_losses(log, network, lost)


def log_rejection(log: Logger, network: str, entry: Entry[Any], failure: Failure) -> None:
    """Log a message that the network has rejected."""
    log.warn(
        "{network}: the message to {recipient} could not be sent ({reason}): {text}",
        network=network,
        recipient=truncated(entry.message.recipient, SHOWN),
        reason=failure.getErrorMessage(),
        text=truncated(masker.part(entry.message.body, 0, KEPT), SHOWN),
    )


def _loss(entry: Entry[Any]) -> str:
    if entry.is_transmitted and entry.unconfirmed:
        what = "sent but not confirmed"
    elif entry.confirmed:
        what = f"sent {entry.confirmed} of {len(entry.parts or ())} parts"
    else:
        what = "not sent"
    recipient, text = truncated(entry.message.recipient, SHOWN), masker.part(entry.message.body, 0, KEPT)
    return f"{what}, to {recipient}: {truncated(text, SHOWN)}"
