"""The state of a pool of threads, for administrators and metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ThreadUse:
    """A job in a thread.

    :param origin: The origin of the job.
    :param name: The name of the job, such as "Builds.report".
    :param seconds: The time for which it has been running.
    :param replaced: Whether another thread takes its place, so that it keeps none from others.
    """

    origin: str
    name: str
    seconds: float
    replaced: bool = False


@dataclass(frozen=True)
class PoolStatus:
    """The state of a pool of threads at one time.

    :param name: The name of the pool, such as "commands".
    :param size: The number of threads that all origins share.
    :param threads: The number of threads that were started.
    :param uses: The jobs in threads, those that have been running longest first.
    :param waiting: The number of jobs that wait for a thread, by origin; see `running.context.origin`.
    :param full: The time for which jobs have been waiting without a break, in seconds.
    :param refusal: The reason why the last thread could not be started; "" if it could.
    """

    name: str
    size: int
    threads: int
    uses: tuple[ThreadUse, ...]
    waiting: Mapping[str, int]
    full: float = 0.0
    refusal: str = ""

    @property
    def running(self) -> Mapping[str, int]:
        """The number of jobs in threads, by origin."""
        return Counter(use.origin for use in self.uses)
