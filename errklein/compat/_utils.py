"""What `errbot.utils` offers to plugins."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from fnmatch import fnmatch
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from errklein.compat._running_bots import running_bots
from errklein.plugins.discovery import entry_point_roots
from errklein.running.restart import cannot_restart

P = ParamSpec("P")
R = TypeVar("R")

PLUGINS_SUBDIR = "plugins"
ON_WINDOWS = sys.platform == "win32"

_log = logging.getLogger("errbot.utils")


def global_restart() -> None:
    """Have the running bot stop, and its process start again. Returns at once. Raises CannotRestart."""
    bot = running_bots.newest
    cannot_restart() if bot is None else bot.restart()


def format_timedelta(duration: timedelta) -> str:
    """The duration in words, in the two largest of hours, minutes and seconds: "2 hours and 3 minutes", "5 seconds"."""
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours and minutes:
        return f"{hours} hours and {minutes} minutes"
    if hours:
        return f"{hours} hours"
    if minutes:
        return f"{minutes} minutes"
    return f"{seconds} seconds"


def split_string_after(text: str, length: int) -> Iterator[str]:
    """The text in parts of `length` characters; one empty part for an empty text."""
    for start in range(0, max(len(text), 1), length):
        yield text[start : start + length]


def rate_limited(min_interval: float) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator that lets calls, from all threads together, begin at least `min_interval` seconds apart.

    A call that comes too early waits, so it isn't for handlers that run on the reactor.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        lock = threading.Lock()
        not_before = 0.0

        @wraps(function)
        def limited(*args: P.args, **kwargs: P.kwargs) -> R:
            nonlocal not_before
            with lock:
                now = time.monotonic()
                start = max(now, not_before)
                not_before = start + min_interval
            time.sleep(start - now)
            return function(*args, **kwargs)

        return limited

    return decorate


def deprecated(new: Callable[..., R] | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator that logs a warning at each call; with `new`, that function is called in place of the old one."""

    def decorate(old: Callable[P, R]) -> Callable[P, R]:
        @wraps(old)
        def warning(*args: P.args, **kwargs: P.kwargs) -> R:
            hint = "" if new is None else f", use {new.__qualname__}"
            _log.warning("%s is deprecated%s", old.__qualname__, hint)
            return (new or old)(*args, **kwargs)

        return warning

    return decorate


def find_roots(path: str | Path, file_sig: str = "*.plug") -> list[str]:
    """The directories in and under `path` that have such a file, sorted; hidden ones and `__pycache__` are left out."""
    roots: set[str] = set()
    for directory, below, files in os.walk(path, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".") and name != "__pycache__"]
        if any(fnmatch(file, file_sig) for file in files):
            roots.add(directory)
    return sorted(roots)


def collect_roots(base_paths: Any, file_sig: str = "*.plug") -> list[str]:
    """As `find_roots`, for a path or any nesting of lists of paths, None being no path; each directory once."""
    if base_paths is None:
        return []
    if isinstance(base_paths, (str, Path)):
        return find_roots(base_paths, file_sig)
    return list(dict.fromkeys(root for path in base_paths for root in collect_roots(path, file_sig)))


def entry_point_plugins(group: str) -> list[str]:
    """The directories of the packages that installed distributions offer in that group of entry points."""
    return [str(path) for path in entry_point_roots([group])]
