"""The log file of a bot under test, at BOT_LOG_FILE."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any, TextIO

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from errklein.config import ConfigError
from errklein.logs import FROM_STDLIB, Bridge, FormattedByLogging, LevelFilter, format_line


@implementer(ILogObserver)
class LogFile:
    """Writes what the bot and its plugins log to BOT_LOG_FILE while it is open, in the format of the service.

    Does nothing without BOT_LOG_FILE. `open` raises ConfigError if the file isn't writable.
    """

    def __init__(self, config: Any) -> None:
        self._config = config
        self._bridge = Bridge(self._write)
        # A formatter may log something itself.
        self._lock = threading.RLock()
        self._file: TextIO | None = None

    def open(self) -> None:
        """Append to the file from now on."""
        path = self._config.BOT_LOG_FILE
        if not path:
            return
        try:
            # In append mode, so that tests may truncate or rewrite the file meanwhile.
            file = open(path, "a", encoding="utf-8", opener=_private)  # noqa: SIM115  closed in `close`
        except OSError as error:
            raise ConfigError(f"BOT_LOG_FILE: {path} can't be written to: {error.strerror}") from error
        formatter = self._config.BOT_LOG_FORMATTER
        write = FileLogObserver(file, format_line if formatter is None else FormattedByLogging(formatter))
        self._file, self._filter = file, LevelFilter([write], self._config.BOT_LOG_LEVEL)
        globalLogPublisher.addObserver(self)
        logging.getLogger().addHandler(self._bridge)

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._file is not None:
            logging.getLogger().removeHandler(self._bridge)
            globalLogPublisher.removeObserver(self)
            # Other threads may still log.
            with self._lock:
                self._file.close()
                self._file = None

    def __call__(self, event: LogEvent) -> None:
        """Write an event of the bot; records of plugins arrive through a logging handler."""
        if FROM_STDLIB not in event:
            self._write(event)

    def _write(self, event: LogEvent) -> None:
        with self._lock:
            if self._file is not None:
                self._filter(event)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
