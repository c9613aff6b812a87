"""The time at the beginning of late messages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeVar

from errklein.backends.outbox._transport import Transport
from errklein.chat import Message
from errklein.chat.outgoing import OutgoingMessage

P = TypeVar("P")

_LATE_AFTER = 300.0
"""The seconds after which a message is late."""


def split_in_time(
    transport: Transport[P], message: OutgoingMessage, original: Message | None, age: float, now: float
) -> Sequence[P]:
    """Return the parts of a message, with its time at the beginning if none of it was sent when it was late.

    :param age: The seconds since the message was accepted.
    :param now: The Unix time.
    """
    if message.sent or age <= _LATE_AFTER:
        return transport.split(message, original)
    stamp = _stamp(message.accepted_at, now)
    separator = "\n\n" if message.body.startswith(("#", "|", ">", "`")) else " "
    parts = transport.split(message._replace(body=stamp + separator + message.body), original)
    if len(parts) <= 1:
        return parts
    # A later process, which splits the message without its time, must recognise the difference by the number of parts.
    return [*transport.split(message._replace(body=stamp), original), *transport.split(message, original)]


def _stamp(accepted_at: float, now: float) -> str:
    """Return the local time, with the date unless it is today's."""
    then = time.localtime(accepted_at)
    is_today = then[:3] == time.localtime(now)[:3]
    return time.strftime("[%H:%M %Z]" if is_today else "[%Y-%m-%d %H:%M %Z]", then)
