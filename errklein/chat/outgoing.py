"""Messages that wait to be sent, and what has become of others, as plain values that can be stored."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

PAUSED = "paused:"
"""The beginning of the network of a message that isn't sent, since it was restored. No network has such a name."""

MOST_FOUND = 100
"""The number of records of messages that a query returns: the latest ones."""


class OutgoingMessage(NamedTuple):
    """A message that the bot has accepted for a network, before it is split into parts.

    :param id: The number of the message. A later message has a larger one, also after a restart.
    :param recipient: The recipient, as text from which the network's `build_identifier` makes it again.
    :param body: The text in Markdown, cut to what the network accepts of one message.
    :param origin: The route, person or plugin that has caused the message; see `running.context.origin`.
    :param priority: True if it is sent before messages without priority.
    :param sent: The share of the parts that the network has confirmed, from 0.0 to 1.0. A number of parts wouldn't show that a
        later process splits the message differently.
    :param details: JSON with what else the network needs, such as extras and the thread; "" for nothing.
    :param delivery: The id of the webhook's delivery whose handler has caused the message; 0 for none.
    :param key: The key of its handle, which no other message has, also if the data directory was deleted or restored.
    :param wanted: JSON with what is wanted besides the text; see `chat.operations.Wanted`. "" for nothing.
    :param file: The content of the file that it sends.
    """

    id: int
    network: str
    recipient: str
    body: str
    origin: str = ""
    priority: bool = False
    accepted_at: float = 0.0
    sent: float = 0.0
    details: str = ""
    delivery: int = 0
    key: str = ""
    wanted: str = ""
    file: bytes = b""


class MessageState(StrEnum):
    """What has become of a message. The network has confirmed one that is SENT, and refused one that is REJECTED."""

    WAITING = "waiting"
    SENT = "sent"
    DROPPED = "dropped"
    REJECTED = "rejected"


class MessageRecord(NamedTuple):
    """What has become of a message, without its text; see `OutgoingMessage`.

    :param at: The Unix time at which it was accepted if it waits, else that of its end.
    :param reason: Why it was dropped or rejected.
    :param key: The key of its handle, or of the handle of the message that it has edited; "" in records that are found.
    """

    id: int
    network: str
    recipient: str
    delivery: int
    state: MessageState
    at: float
    reason: str = ""
    key: str = ""


class Wait(NamedTuple):
    """The state of a network, room, message or delivery that others wait for. Times are Unix times, 0.0 if unknown.

    :param state: A clause, such as "the bot isn't in #ops".
    :param since: The time since when it is so.
    :param cause: The cause, such as the reason that the network has given; "" if it is unknown.
    :param again_at: The time of the next attempt to change it.
    """

    state: str
    since: float = 0.0
    cause: str = ""
    again_at: float = 0.0


def waiting_record(message: OutgoingMessage) -> MessageRecord:
    """Return the record of a message that waits."""
    number, network, recipient, *_ = message
    waits, at = MessageState.WAITING, message.accepted_at
    return MessageRecord(number, network, recipient, message.delivery, waits, at, key=message.key)
