"""Forwarding of the bot's log to Python's logging, where pytest and unittest find it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from errklein.logs import FROM_STDLIB, FROM_TWISTED, level_number


@contextmanager
def forwarded_log(level: int) -> Iterator[None]:
    """Forward the bot's log to the root logger in a `with` block, and set that logger to `level`.

    pytest's `caplog` and reports, and `assertLogs` of unittest, then contain it.
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
