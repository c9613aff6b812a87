"""What the bot logs, where tests look for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from errklein.logs import FROM_STDLIB, FROM_TWISTED, level_number


@contextmanager
def forwarded_log(level: int) -> Iterator[None]:
    """Meanwhile, logging's root logger lets pass what is of `level` or above, and gets what the bot logs as well.

    So it is found where what plugins log is found: in pytest's `caplog` and its report, or in `assertLogs`.
    """
    root = logging.getLogger()
    before = root.level
    root.setLevel(level)
    observer: Any = _forward
    globalLogPublisher.addObserver(observer)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observer)
        root.setLevel(before)


def _forward(event: LogEvent) -> None:
    if FROM_STDLIB in event:
        return
    level = level_number(event)
    logger = logging.getLogger(event.get("log_namespace", "errklein"))
    if not logger.isEnabledFor(level):
        return
    failure = event.get("log_failure")
    error = None if failure is None else (failure.type, failure.value, failure.getTracebackObject())
    logger.log(level, "%s", formatEvent(event), exc_info=error, extra={FROM_TWISTED: True})
