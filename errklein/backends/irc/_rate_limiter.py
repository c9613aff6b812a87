"""Outgoing messages on IRC and their rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from errklein.backends.outbox import TokenBucket

INTERVAL = 1 / 3
"""Seconds from one line to the next if nothing else is set. ngircd, which delays who is faster, takes about 500 bytes
and three commands a second: measured, it confirms three lines of 100 to 200 bytes a second, two of 300 and more."""

BURST = 4
"""The number of lines that may be sent at once by default."""

SLOWEST = 2.0
"""Seconds between lines that no server minds: RFC 1459, section 8.10."""


@dataclass(frozen=True)
class MessageLine:
    """A PRIVMSG or NOTICE to a nick or room."""

    command: str
    target: str
    text: str


class LineRejected(Exception):
    """The server says that nobody got the line, and why."""


class IRCRateLimiter:
    """How fast lines may go: as IRC_CHANNEL_RATE and IRC_PRIVATE_RATE say in seconds, else near what servers take."""

    def __init__(self, seconds: Callable[[], float], channel_rate: float | None, private_rate: float | None) -> None:
        usual = TokenBucket(seconds, INTERVAL, BURST)
        self._to_rooms = usual if channel_rate is None else TokenBucket(seconds, channel_rate, 1)
        self._to_people = usual if private_rate is None else TokenBucket(seconds, private_rate, 1)

    def take(self, line: MessageLine) -> float:
        """Zero if the line may go now, else the seconds until it may."""
        return (self._to_rooms if line.target[0] in "#&+!" else self._to_people).take(line)

    def slow_down(self) -> None:
        """The server found this too fast: from now on keep to what no server minds."""
        for bucket in (self._to_rooms, self._to_people):
            bucket.burst = 1
            bucket.interval = max(bucket.interval, SLOWEST)
