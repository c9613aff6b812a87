"""What the bot logs, where tests look for it."""

from __future__ import annotations

import logging

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from errklein.logs import FROM_STDLIB, FROM_TWISTED, LEVELS


@implementer(ILogObserver)
class LogForwarder:
    """While open, logging's root logger lets pass what is of `level` or above, and gets what the bot logs as well.

    So it is found where what plugins log is found: in pytest's `caplog` and its report, or in `assertLogs`.
    """

    def __init__(self, level: int) -> None:
        self._level = level
        self._before = logging.NOTSET

    def open(self) -> None:
        """Begin."""
        root = logging.getLogger()
        self._before = root.level
        root.setLevel(self._level)
        globalLogPublisher.addObserver(self)

    def close(self) -> None:
        """End, and leave logging as it was."""
        globalLogPublisher.removeObserver(self)
        logging.getLogger().setLevel(self._before)

    def __call__(self, event: LogEvent) -> None:
        """Pass the event on."""
        if FROM_STDLIB in event:
            return
        level = LEVELS.get(event.get("log_level", LogLevel.info), logging.INFO)
        logger = logging.getLogger(event.get("log_namespace", "errklein"))
        if not logger.isEnabledFor(level):
            return
        failure = event.get("log_failure")
        error = None if failure is None else (failure.type, failure.value, failure.getTracebackObject())
        logger.log(level, "%s", formatEvent(event), exc_info=error, extra={FROM_TWISTED: True})
