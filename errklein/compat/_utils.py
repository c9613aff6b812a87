"""The content of `errbot.utils`: functions that plugins use."""

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
from errklein.logs import warn_deprecated
from errklein.plugins.discovery import entry_point_roots
from errklein.running.restart import cannot_restart

P = ParamSpec("P")
R = TypeVar("R")

PLUGINS_SUBDIR = "plugins"
ON_WINDOWS = sys.platform == "win32"

_log = logging.getLogger("errbot.utils")


def global_restart() -> None:
    """Stop the bot that was started last, and start its process again. Returns at once; an invalid config.py is only logged.

    :raises CannotRestart: if no bot is running, or the process can't be started again.
    """
    bot = running_bots.newest
    restarting = cannot_restart() if bot is None else bot.restart()
    restarting.addErrback(lambda failure: _log.error("The bot can't restart itself: %s", failure.getErrorMessage()))


def format_timedelta(duration: timedelta) -> str:
    """Return the duration in words, with the two largest of hours, minutes and seconds.

    Example::

        format_timedelta(timedelta(minutes=123))  # "2 hours and 3 minutes"
        format_timedelta(timedelta(seconds=5))  # "5 seconds"
    """
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
    """Yield the text in parts of at most `length` characters; an empty text yields one empty part."""
    for start in range(0, max(len(text), 1), length):
        yield text[start : start + length]


def rate_limited(min_interval: float) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that limits how often a function is called.

    Calls from all threads together begin at least `min_interval` seconds apart. A call that is too early blocks until
    its time, so don't use this for handlers that run on the reactor.

    Example::

        @rate_limited(2.0)
        def fetch(url):
            return requests.get(url, timeout=10)

    :param min_interval: Seconds between the beginnings of two calls.
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
    """Return a decorator of a deprecated function. Each line that calls it is logged once.

    :param new: The function that is called in place of the old one; by default the old one is called.
    """

    def decorate(old: Callable[P, R]) -> Callable[P, R]:
        @wraps(old)
        def warning(*args: P.args, **kwargs: P.kwargs) -> R:
            warn_deprecated(old.__qualname__, "" if new is None else new.__qualname__)
            return (new or old)(*args, **kwargs)

        return warning

    return decorate


def find_roots(path: str | Path, file_sig: str = "*.plug") -> list[str]:
    """Return the directories in and below `path` that contain a matching file, sorted.

    Hidden directories and `__pycache__` are skipped.

    :param file_sig: The pattern for the names of files.
    """
    roots: set[str] = set()
    for directory, below, files in os.walk(path, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".") and name != "__pycache__"]
        if any(fnmatch(file, file_sig) for file in files):
            roots.add(directory)
    return sorted(roots)


def collect_roots(base_paths: Any, file_sig: str = "*.plug") -> list[str]:
    """Return the directories of `find_roots` for several paths, each once.

    :param base_paths: A path, None, or a nested list of paths.
    :param file_sig: The pattern for the names of files.
    """
    if base_paths is None:
        return []
    if isinstance(base_paths, (str, Path)):
        return find_roots(base_paths, file_sig)
    return list(dict.fromkeys(root for path in base_paths for root in collect_roots(path, file_sig)))


def entry_point_plugins(group: str) -> list[str]:
    """Return the directories of the packages that installed distributions declare in the entry point group."""
    return [str(path) for path in entry_point_roots([group])]
