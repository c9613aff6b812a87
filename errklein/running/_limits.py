"""Limits of times and rates: timeouts, deadlines, the reactor's lag, token buckets, and how often a warning may be repeated."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T")

NEVER = float("inf")
SWEEP_PERIOD = 0.25  # the time between two checks of deadlines, in seconds
_SHARE = 0.01
_NOTABLE = 0.05
_BACKLOG = 1.0
WARNING_INTERVAL = 60.0  # the minimal time between two warnings about the same thing, in seconds
MOST_WARNINGS = 1000  # the maximal number of warnings about different things within the interval


class TimedOut(Exception):
    """The result didn't arrive in time. The work continues."""


def cancel_timers(*timers: IDelayedCall | None) -> None:
    for timer in timers:
        if timer is not None and timer.active():
            timer.cancel()


def result_within(reactor: Any, seconds: float, awaited: Deferred[T]) -> Deferred[T]:
    """Return a Deferred of the result of `awaited`. It fails with TimedOut after `seconds`. Unlike with
    `Deferred.addTimeout`, the work isn't cancelled, and `awaited` keeps its later result."""
    result: Deferred[T] = Deferred()

    def forward(outcome: Any) -> Any:
        if result.called:
            return outcome
        # A Failure makes this an errback.
        result.callback(outcome)
        return None

    def time_out(*_: object) -> T:
        raise TimedOut

    awaited.addBoth(forward)
    return result.addTimeout(seconds, reactor, time_out)


class Deadline:
    """A deadline, `seconds` from now, for several operations, each of which gets at least `least` seconds."""

    def __init__(self, reactor: Any, seconds: float, least: float = 0.0) -> None:
        self._reactor = reactor
        self._least = least
        self._end = reactor.seconds() + seconds

    @property
    def left(self) -> float:
        remaining: float = self._end - self._reactor.seconds()
        return max(self._least, remaining)


class HasDeadline(Protocol):
    """An object with a deadline."""

    @property
    def deadline(self) -> float:
        """The deadline on the reactor's clock; NEVER if there is none at the moment."""

    def deadline_passed(self) -> None:
        """Handle the deadline. It must change `deadline`, or call `forget`."""


class DeadlineSweeper:
    """Calls `deadline_passed` of overdue objects, at most `SWEEP_PERIOD` seconds late, and for 10 ms in a turn of the
    reactor. A timer for each request costs a quarter of the throughput. Instead, all objects with a deadline are in one
    set, which is checked four times a second while it isn't empty."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._watched: set[HasDeadline] = set()
        self._timer: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []

    def watch(self, thing: HasDeadline) -> None:
        self._watched.add(thing)
        if self._timer is None:
            self._timer = self._reactor.callLater(SWEEP_PERIOD, self._sweep)

    def forget(self, thing: HasDeadline) -> None:
        self._watched.discard(thing)
        if self._waiting and not self._watched:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    def when_none(self) -> Deferred[None]:
        if not self._watched:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def stop(self) -> None:
        self._watched.clear()
        cancel_timers(self._timer)
        self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        pause = SWEEP_PERIOD
        for thing in [thing for thing in self._watched if thing.deadline <= now]:
            if self._reactor.seconds() - now > _SHARE:
                # Thousands of clients may exceed their deadlines at the same time.
                pause = 0
                break
            thing.deadline_passed()
        if self._watched and self._timer is None:
            self._timer = self._reactor.callLater(pause, self._sweep)


class ReactorLag:
    """The lag of the reactor, in seconds. `service.Watchdog` measures it while the reactor works."""

    def __init__(self) -> None:
        self.last = 0.0  # the last measured lag; 0 while the reactor waits for events
        self.backlog_until = 0.0
        """The time on the reactor's clock until which input may be read that has waited for the reactor."""
        self._maximum = 0.0

    def record(self, seconds: float) -> None:
        self.last = seconds
        self._maximum = max(self._maximum, seconds)

    def ended(self, seconds: float, now: float) -> None:
        """Note that the reactor, which was busy for this time, is about to read its input. `now` is the time on its clock."""
        if seconds >= _NOTABLE:
            self.backlog_until = now + _BACKLOG

    def take_maximum(self) -> float:
        maximum, self._maximum = max(self._maximum, self.last), 0.0
        return maximum


class TokenBucket:
    """A bucket of `burst` tokens, which may be taken at once after a pause. It is full at the beginning, and gets a
    token in each interval, in seconds; zero means no limit. `seconds` returns the time, as `reactor.seconds` does."""

    __slots__ = ("_seconds", "_since", "_tokens", "burst", "interval")

    def __init__(self, seconds: Callable[[], float], interval: float, burst: int) -> None:
        self.interval = interval
        self.burst = burst
        self._seconds = seconds
        self._tokens = float(burst)
        self._since = seconds()

    def take(self, part: object = None) -> float:
        """Take a token and return 0.0, or return the seconds until the next. `part`, what it is for, has no effect."""
        now = self._seconds()
        if self.interval > 0:
            # A clock that is set back adds nothing.
            self._tokens = min(self.burst, self._tokens + max(0.0, now - self._since) / self.interval)
            self._since = now
            # Rounding leaves sums of fractions slightly below one.
            if self._tokens < 1 - 1e-6:
                return (1 - self._tokens) * self.interval
            self._tokens = max(0.0, self._tokens - 1)
        return 0.0

    def give_back(self) -> None:
        self._tokens += 1

    def spend(self) -> None:
        """Take a token even if there is none. `take` waits for it, then."""
        self._tokens -= 1


class TokenBuckets:
    """A token bucket for each key, such as a client's address. Those used last are kept, so the memory is bounded. A
    forgotten bucket is full again when its key returns. A bucket is forgotten after `limit` other keys were used."""

    def __init__(self, seconds: Callable[[], float], interval: float, burst: int, limit: int = 10_000) -> None:
        self._make = partial(TokenBucket, seconds, interval, burst)
        self._limit = limit
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def bucket(self, key: str) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._limit:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = self._make()
        self._buckets.move_to_end(key)
        return bucket


class RateLimit:
    """Allows each key once per `interval`, and at most `most` keys within it. `seconds` returns the time in seconds."""

    def __init__(
        self, seconds: Callable[[], float], interval: float = WARNING_INTERVAL, most: int = MOST_WARNINGS
    ) -> None:
        self._seconds = seconds
        self._interval = interval
        self._most = most
        self._allowed_at: dict[Hashable, float] = {}

    def allows(self, key: Hashable) -> bool:
        """Return whether `key` was not allowed within the interval, and few enough other keys were. If so, its interval begins."""
        now = self._seconds()
        if key in self._allowed_at and now - self._allowed_at[key] < self._interval:
            return False
        if len(self._allowed_at) >= self._most:
            self._allowed_at = {one: at for one, at in self._allowed_at.items() if now - at < self._interval}
            if len(self._allowed_at) >= self._most:
                return False
        self._allowed_at[key] = now
        return True
