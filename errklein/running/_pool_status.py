"""The state of a pool of threads, for administrators and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PoolStatus:
    """The state of a pool of threads at one time.

    :param name: The name of the pool, such as "commands".
    :param size: The number of threads that all origins share.
    :param threads: The number of threads that were started.
    :param running: The number of jobs in threads, by origin; see `running.context.origin`.
    :param waiting: The number of jobs that wait for a thread, by origin.
    :param full_since: The time on the reactor's clock since which jobs have been waiting, or None if none waits.
    """

    name: str
    size: int
    threads: int
    running: Mapping[str, int]
    waiting: Mapping[str, int]
    full_since: float | None
