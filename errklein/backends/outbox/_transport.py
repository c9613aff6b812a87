"""The interface between an outbox and its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from errklein.chat import Message
from errklein.chat.outgoing import OutgoingMessage

P = TypeVar("P")


class NotConfirmed(Exception):
    """The connection broke before the network confirmed a part. The outbox sends the part again."""


@dataclass(frozen=True)
class Reports:
    """Functions that get what happens to messages that aren't sent at once. They are called on the reactor.

    :param dropped: Gets the number of messages that were given up, and the reason; the log has them.
    :param undelivered: Gets a recipient, the number of messages to it by origin, the reason, and whether the messages wait for the
        recipient; otherwise the network has rejected them, and the log has them.
    """

    dropped: Callable[[int, str], object] = lambda count, reason: None
    undelivered: Callable[[str, Mapping[str, int], str, bool], object] = lambda recipient, origins, reason, waiting: (
        None
    )


class Transport(Protocol[P]):
    """Splits messages into parts, and sends parts while the network is connected. Called on the reactor."""

    @property
    def window(self) -> int:
        """The number of parts that may be unconfirmed."""

    def estimate(self, body: str) -> int:
        """Return approximately how many parts `split` makes of the text. May be called in any thread."""

    def split(self, message: OutgoingMessage, original: Message | None) -> Sequence[P]:
        """Return the parts of the message, the same ones each time.

        :param original: The message as it was sent; None if an earlier process has accepted it.
        :raises Exception: The message can't be sent. It is dropped, and the text is logged.
        """

    def wait_for(self, recipient: str) -> float:
        """Return 0.0 if a part may be sent to the recipient now, and count it; else the seconds after which to ask again."""

    def transmit(self, parts: Sequence[P]) -> Sequence[Deferred[Any]]:
        """Send parts, and return a Deferred for each that fires when the network has it.

        It fails with NotConfirmed if the connection broke, and with any other exception if the network rejects the part; the
        rest of that message is then dropped.
        """
