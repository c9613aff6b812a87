"""The rate limit for outgoing lines on IRC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from errklein.running import TokenBucket

INTERVAL = 1 / 3
"""Default number of seconds between two lines.

ngircd delays clients that send more than about 500 bytes and three commands per second. Measured, it confirms three lines
of 100 to 200 bytes per second, or two of 300 bytes and more.
"""

BURST = 4
"""Default number of lines that may be sent at once."""

SLOWEST = 2.0
"""Seconds between two lines that every server accepts: RFC 1459, section 8.10."""


@dataclass(frozen=True)
class MessageLine:
    """One line of a message: the command PRIVMSG or NOTICE, its target (a nick or room), and the text."""

    command: str
    target: str
    text: str


class LineRejected(Exception):
    """The server has rejected the line; str() has its reason."""


class IRCRateLimiter:
    """Rate limits for lines to rooms and to people.

    :param seconds: Returns the current time in seconds.
    :param channel_rate: IRC_CHANNEL_RATE, in seconds per line; None for the default limit.
    :param private_rate: IRC_PRIVATE_RATE, likewise. Without either setting, both kinds of lines share one limit.
    """

    def __init__(self, seconds: Callable[[], float], channel_rate: float | None, private_rate: float | None) -> None:
        usual = TokenBucket(seconds, INTERVAL, BURST)
        self._to_rooms = usual if channel_rate is None else TokenBucket(seconds, channel_rate, 1)
        self._to_people = usual if private_rate is None else TokenBucket(seconds, private_rate, 1)

    def take(self, line: MessageLine) -> float:
        """Take a token and return 0.0 if the line may be sent now; else return the seconds until it may."""
        return (self._to_rooms if line.target[0] in "#&+!" else self._to_people).take(line)

    def slow_down(self) -> None:
        """Use SLOWEST, without bursts, from now on. Call this after the server has closed a connection for flooding."""
        for bucket in (self._to_rooms, self._to_people):
            bucket.burst = 1
            bucket.interval = max(bucket.interval, SLOWEST)
