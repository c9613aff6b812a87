"""The order in which jobs of different origins get threads.

An origin is a route, a person or a plugin. While others wait, it holds at most its share of the threads. Waiting origins take
turns, and the jobs of one origin keep their order. An origin that is alone may use all threads.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """A job that waits for a thread."""

    origin: str
    since: float
    """The time when it began to wait."""
    admitted: bool
    """Whether it precedes other jobs of its origin, and is never rejected."""


J = TypeVar("J", bound=Waiting)


class _Line(Generic[J]):
    """The waiting jobs of one origin."""

    __slots__ = ("admitted", "others")

    def __init__(self) -> None:
        self.admitted: deque[J] = deque()
        self.others: deque[J] = deque()

    def __len__(self) -> int:
        return len(self.admitted) + len(self.others)

    @property
    def since(self) -> float:
        """The time since which its first job has been waiting."""
        return min(jobs[0].since for jobs in (self.admitted, self.others) if jobs)


@dataclass(eq=False)
class FairQueue(Generic[J]):
    """The places in which jobs run, and the jobs that wait for one.

    :param size: The number of places.
    :param most_ahead: The number of places beyond the size for jobs that are passed to threads before one is free. They don't
        exist from the call of `hold_up` until no job waits and a place is free.
    """

    size: int
    most_ahead: int = 0
    grown: int = field(default=0, init=False)
    """The number of additional places, which only origins with less than their share may take."""
    held: dict[str, int] = field(default_factory=dict, init=False)
    """The number of places that each origin holds."""

    def __post_init__(self) -> None:
        self.share = max(1, self.size // 4)
        self.ahead = self.most_ahead
        self.holding = 0
        """The number of places that are held."""
        self.waiting = 0
        """The number of waiting jobs."""
        self._lines: dict[str, _Line[J]] = {}
        """The waiting jobs by origin, in the order of the origins' turns."""

    def enter(self, origin: str) -> bool:
        """Take a place for a job that has just come, if it needn't wait. Return whether it has one."""
        held = self.held.get(origin, 0)
        if self.holding < self.size + self.ahead:
            enters = not self._lines
        else:
            # No other one below its share is waiting, as it would have the place.
            enters = self.holding < self.size + self.grown and held < self.share
        if enters:
            self.hold(origin)
        return enters

    def hold(self, origin: str) -> None:
        """Take a place, even if there is none."""
        self.held[origin] = self.held.get(origin, 0) + 1
        self.holding += 1

    def leave(self, origin: str) -> None:
        """Give a place back. The additional places exist until a place of the others is free."""
        left = self.held[origin] - 1
        if left:
            self.held[origin] = left
        else:
            del self.held[origin]
        self.holding -= 1
        if self.holding < self.size:
            self.grown = 0
            if not self._lines:
                self.ahead = self.most_ahead

    def hold_up(self, jobs: Iterable[J]) -> None:
        """Take the places of jobs that no thread has begun, since long ones hold all threads. They wait before others."""
        for job in jobs:
            self.leave(job.origin)
            job.admitted = True
            self.add(job)
        self.ahead = 0

    def add(self, job: J) -> bool:
        """Let the job wait. Return whether it is the only one of its origin."""
        line = self._lines.get(job.origin)
        is_first = line is None
        if line is None:
            line = self._lines[job.origin] = _Line()
        (line.admitted if job.admitted else line.others).append(job)
        self.waiting += 1
        return is_first

    def take(self) -> J | None:
        """Return the next job that may have a place, and take the place. Return None if all must wait."""
        origin = self._next_origin() if self._lines else None
        if origin is None:
            return None
        line = self._lines[origin]
        job = (line.admitted or line.others).popleft()
        self._removed(origin)
        if line and len(self._lines) > 1:
            # The other origins are next.
            self._lines[origin] = self._lines.pop(origin)
        self.hold(origin)
        return job

    def starving_since(self) -> float | None:
        """Return the time since which an origin has been waiting for which `grow` would add a place; None if there is none."""
        if self.ahead or self.grown >= self.size:
            return None
        return min((self._lines[origin].since for origin in self._below_share()), default=None)

    def grow(self, latest: float) -> bool:
        """Add a place for an origin that holds less than its share and has been waiting since `latest`, or longer.

        Return whether there is such an origin. There are never more additional places than places.
        """
        since = self.starving_since()
        if since is None or since > latest:
            return False
        self.grown += 1
        return True

    def expired(self, latest: float) -> list[J]:
        """Remove and return the jobs that have been waiting since `latest`, or longer, and aren't admitted."""
        jobs = []
        for origin, line in list(self._lines.items()):
            while line.others and line.others[0].since <= latest:
                jobs.append(line.others.popleft())
                self._removed(origin)
        return jobs

    def oldest(self) -> float | None:
        """Return the time since which a job has been waiting that isn't admitted; None if there is none."""
        return min((line.others[0].since for line in self._lines.values() if line.others), default=None)

    def make_room(self, origin: str) -> J | None:
        """Remove and return the newest job of the origin with most waiting jobs, unless `origin` had as many afterwards."""
        waiting = {other: len(line.others) for other, line in self._lines.items()}
        most = max(waiting, key=waiting.__getitem__, default=origin)
        if waiting.get(most, 0) < waiting.get(origin, 0) + 2:
            return None
        job = self._lines[most].others.pop()
        self._removed(most)
        return job

    def clear(self) -> list[J]:
        """Remove and return all waiting jobs."""
        jobs = [job for line in self._lines.values() for job in (*line.admitted, *line.others)]
        self._lines.clear()
        self.waiting = 0
        return jobs

    def waiting_by_origin(self) -> Counter[str]:
        """Return the number of waiting jobs of each origin."""
        return Counter({origin: len(line) for origin, line in self._lines.items()})

    def _below_share(self) -> Iterator[str]:
        return (origin for origin in self._lines if self.held.get(origin, 0) < self.share)

    def _next_origin(self) -> str | None:
        if self.ahead:
            return next(iter(self._lines)) if self.holding < self.size + self.ahead else None
        if self.holding < self.size + self.grown:
            # Few origins hold their share, so the first ones decide.
            for origin in self._lines:
                if self.held.get(origin, 0) < self.share:
                    return origin
        return min(self._lines, key=self.held.__getitem__) if self.holding < self.size else None

    def _removed(self, origin: str) -> None:
        self.waiting -= 1
        line = self._lines[origin]
        if not (line.admitted or line.others):
            del self._lines[origin]
