"""Messages that wait to be sent, as plain values that can be stored."""

from __future__ import annotations

from typing import NamedTuple


class OutboxLane(NamedTuple):
    """The messages of one origin to one recipient. Lanes take turns; within a lane, the order is kept."""

    network: str
    recipient: str
    origin: str


class OutgoingMessage(NamedTuple):
    """A message that the bot has accepted for a network, before it is split into parts.

    :param id: The number of the message. A later message has a larger one, also after a restart.
    :param network: The name of the network.
    :param recipient: The recipient, as text from which the backend's `build_identifier` makes it again.
    :param body: The text in Markdown, cut to what the network accepts of one message.
    :param origin: The route, person or plugin that has caused the message; see `running.context.origin`.
    :param priority: True if it is sent before messages without priority.
    :param accepted_at: The Unix time.
    :param sent: The share of the parts that the network has confirmed, from 0.0 to 1.0. A number of parts wouldn't show that a
        later process splits the message differently.
    :param details: JSON with what else the backend needs, such as extras and the thread; "" for nothing.
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

    @property
    def lane(self) -> OutboxLane:
        """The lane of the message."""
        return OutboxLane(self.network, self.recipient, self.origin)
