"""The rate limits for outgoing lines on IRC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from errklein.running import TokenBucket

SLOWEST = 2.0
"""Seconds between two lines that every server accepts: RFC 1459, section 8.10."""

RECOVERY, LONGEST_RECOVERY = 600.0, 6 * 3600.0
"""The seconds in which the pace returns to normal after a flood, doubled by each further one, and at most."""


@dataclass(frozen=True)
class ServerPace:
    """What a server accepts by default, without a delay or the end of the connection.

    :param interval: Seconds between two commands.
    :param burst: Number of commands that may be sent at once after a pause.
    :param lines: Number of lines after which a PING is sent at the latest.
    :param size: Number of bytes that may wait at the server to be handled. The server closes the connection if they are
        more than its receive queue. A further line may follow, so this is less.
    :param join: Number of commands that a JOIN counts as.
    """

    interval: float
    burst: int
    lines: int
    size: int
    join: int = 1


USUAL = ServerPace(1 / 3, 4, 8, 512)
"""The pace for an unknown server. It may be slower, so that all lines since the last PING wait there. ircu has a receive queue
of 1024 bytes."""

PACES = {
    # Measured with the default limits, where a PING counts as much as a line. ngircd 27 handles three commands per second if
    # they arrive at once, but nearly five if they arrive one by one. ergo 2.15 handles 5 at once, then two per second.
    # InspIRCd 4.7 handles 11 at once, then one per second; with <connect fakelag="no"> it closes the connection instead. The
    # margin is for JOIN and the like. Its receive queue has 8192 bytes.
    #
    # 100 lines take 27 s on ngircd, 48 s on ergo, and 100 s on InspIRCd, or 94 s if it offers labels or echoes.
    "ngircd": ServerPace(1 / 4, 3, 8, 4096),
    "ergo": ServerPace(1 / 2, 4, 16, 4096),
    "inspircd": ServerPace(1.0, 6, 16, 4096, join=2),
}
"""The paces of servers, by the beginning of the version in their welcome (004), in lower case."""


class IRCRateLimiter:
    """Rate limits for lines to rooms and to people.

    :param seconds: Returns the current time in seconds.
    :param channel_rate: IRC_CHANNEL_RATE, in seconds per line; None for the server's pace.
    :param private_rate: IRC_PRIVATE_RATE, likewise. Without either setting, both kinds of lines share one limit.
    """

    def __init__(self, seconds: Callable[[], float], channel_rate: float | None, private_rate: float | None) -> None:
        self.pace = USUAL
        self._seconds = seconds
        self._slow_since: float | None = None
        self._recovery = RECOVERY / 2
        self._usual = TokenBucket(seconds, USUAL.interval, USUAL.burst)
        self._to_rooms = self._usual if channel_rate is None else TokenBucket(seconds, channel_rate, 1)
        self._to_people = self._usual if private_rate is None else TokenBucket(seconds, private_rate, 1)
        self._rates = [(self._to_rooms, channel_rate), (self._to_people, private_rate), (self._usual, None)]

    @property
    def interval(self) -> float:
        """The seconds between two commands at the server's pace."""
        return self._usual.interval

    def take(self, target: str) -> float:
        """Take a token and return 0.0 if a line may be sent to the target now; else return the seconds until it may."""
        self._recover()
        return (self._to_rooms if target[0] in "#&+!" else self._to_people).take()

    def take_join(self) -> float:
        """Take the tokens for a JOIN, and return the seconds after which it may be sent. Messages wait for its turn, then."""
        self._recover()
        wait = self._usual.take()
        for _ in range(0 if wait else 1, self.pace.join):
            self._usual.spend()
        return wait

    def count_ping(self) -> None:
        """Count a PING as servers do. The next line waits for it."""
        self._usual.spend()

    def server_is(self, version: str) -> None:
        """Use the pace of the server with this version, such as "InspIRCd-4"."""
        version = version.lower()
        self.pace = next((pace for name, pace in PACES.items() if version.startswith(name)), USUAL)
        self._recover()
        if self._slow_since is None:
            self._usual.interval, self._usual.burst = self.pace.interval, self.pace.burst

    def slow_down(self) -> None:
        """Use SLOWEST, without bursts, and then return to the usual pace slowly. Call this after an end for flooding."""
        self._slow_since = self._seconds()
        self._recovery = min(2 * self._recovery, LONGEST_RECOVERY)
        self._recover()

    def _recover(self) -> None:
        """Set the pace by the time since the last flood."""
        if self._slow_since is None:
            return
        slowness = max(0.0, 1 - (self._seconds() - self._slow_since) / self._recovery)
        for bucket, rate in self._rates:
            usual = self.pace.interval if rate is None else rate
            bucket.interval = usual + slowness * max(0.0, SLOWEST - usual)
            bucket.burst = 1
        if not slowness:
            self._slow_since = None
            self._usual.burst = self.pace.burst
