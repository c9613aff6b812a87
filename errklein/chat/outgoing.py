"""Messages that wait to be sent, and what has become of others, as plain values that can be stored."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

PAUSED = "paused:"  # begins the network of a message that isn't sent, since it was restored; no network has such a name
MOST_FOUND = 100  # the number of records of messages that a query returns: the latest ones


class OutgoingMessage(NamedTuple):
    """A message that the bot has accepted for a network, before it is split into parts."""

    id: int  # a later message has a larger one, also after a restart
    network: str
    recipient: str  # as text from which the network's `build_identifier` makes it again
    body: str  # the text in Markdown, cut to what the network accepts of one message
    origin: str = ""  # the route, person or plugin that has caused the message; see `running.context.origin`
    priority: bool = False  # whether it is sent before messages without priority
    accepted_at: float = 0.0
    sent: float = 0.0
    """The share of the parts that the network has confirmed, from 0.0 to 1.0. A number of parts wouldn't show that a later process
    splits the message differently."""
    details: str = ""  # JSON with what else the network needs, such as extras and the thread; "" for nothing
    delivery: int = 0  # the id of the webhook's delivery whose handler has caused the message; 0 for none
    key: str = ""  # that of its handle, which no other message has, also if the data directory was deleted or restored
    wanted: str = ""  # JSON with what is wanted besides the text; see `chat.operations.Wanted`. "" for nothing
    file: bytes = b""  # the content of the file that it sends


class MessageState(StrEnum):
    """What has become of a message. The network has confirmed one that is SENT, and refused one that is REJECTED."""

    WAITING = "waiting"
    SENT = "sent"
    DROPPED = "dropped"
    REJECTED = "rejected"


class MessageRecord(NamedTuple):
    """What has become of a message, without its text; see `OutgoingMessage`."""

    id: int
    network: str
    recipient: str
    delivery: int
    state: MessageState
    at: float  # the Unix time at which it was accepted if it waits, else that of its end
    reason: str = ""  # why it was dropped or rejected
    key: str = ""  # that of its handle, or of the message that it has edited; "" in records that are found


class Wait(NamedTuple):
    """The state of a network, room, message or delivery that others wait for. Times are Unix times, 0.0 if unknown."""

    state: str  # a clause, such as "the bot isn't in #ops"
    since: float = 0.0
    cause: str = ""  # such as the reason that the network has given; "" if it is unknown
    again_at: float = 0.0  # the time of the next attempt to change it


def waiting_record(message: OutgoingMessage) -> MessageRecord:
    """Return the record of a message that waits."""
    number, network, recipient, *_ = message
    waits, at = MessageState.WAITING, message.accepted_at
    return MessageRecord(number, network, recipient, message.delivery, waits, at, key=message.key)
