"""The log file of a bot under test."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from twisted.logger import FileLogObserver, LogEvent, globalLogPublisher

from errklein.config import ConfigError
from errklein.logs import FROM_STDLIB, Bridge, FormattedByLogging, LevelFilter, format_line


@contextmanager
def log_file(config: Any) -> Iterator[None]:
    """Append the log to BOT_LOG_FILE in a `with` block, as the service does. Does nothing if the setting is empty.

    :raises ConfigError: The file can't be written to.
    """
    if not config.BOT_LOG_FILE:
        yield
        return
    with _opened(config.BOT_LOG_FILE) as file:
        formatter = config.BOT_LOG_FORMATTER
        write = FileLogObserver(file, format_line if formatter is None else FormattedByLogging(formatter))
        passes = LevelFilter([write], config.BOT_LOG_LEVEL)
        # A formatter may log something itself, and other threads may still log when the file is closed.
        lock = threading.RLock()

        def keep(event: LogEvent) -> None:
            with lock:
                if not file.closed:
                    passes(event)

        # Records of plugins arrive through the bridge.
        observer: Any = lambda event: None if FROM_STDLIB in event else keep(event)  # noqa: E731
        bridge = Bridge(keep)
        globalLogPublisher.addObserver(observer)
        logging.getLogger().addHandler(bridge)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(bridge)
            globalLogPublisher.removeObserver(observer)
            with lock:
                file.close()


def _opened(path: str) -> TextIO:
    try:
        # In append mode, so that tests may truncate or rewrite the file meanwhile.
        return open(path, "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))
    except OSError as error:
        raise ConfigError(f"BOT_LOG_FILE: {path} can't be written to: {error.strerror}") from error
