"""What is logged as records of the standard library's logging, for what was written for those: formatters, handlers."""

from __future__ import annotations

import copy
import logging
import threading
import time
from typing import Any

from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure

from errklein.logs._output import FROM_STDLIB, FROM_TWISTED, escape, format_line, indented_traceback, level_number
from errklein.running.context import request_id
from errklein.text.masking import masker


def record_of(event: LogEvent) -> logging.LogRecord:
    """The event as a record, the original one's copy if it was one. Nothing in its texts can end a line.

    `request_id` is the id of the request that is being handled, or "-". The lines of a traceback are indented.
    """
    original = event.get(FROM_STDLIB)
    if isinstance(original, logging.LogRecord):
        record = copy.copy(original)
    else:
        name = str(event.get("log_namespace", "errklein"))
        record = logging.LogRecord(name, level_number(event), "", 0, "", None, None)
        record.created = float(event.get("log_time", time.time()))
        record.msecs = record.created % 1 * 1000
    for name, value in vars(record).items():
        if isinstance(value, str):
            setattr(record, name, escape(value))
    record.msg, record.args, record.stack_info = escape(masker(formatEvent(event))), None, None
    record.exc_info = record.exc_text = None
    failure = event.get("log_failure")
    if isinstance(failure, Failure) and isinstance(failure.value, BaseException):
        record.exc_info = type(failure.value), failure.value, failure.getTracebackObject()
        # Formatters take this, if it is there, in place of a traceback of their own.
        record.exc_text = indented_traceback(failure)
    vars(record).update({"request_id": request_id.get(), FROM_TWISTED: True})
    return record


class FormattedByLogging:
    """Writes an event as a formatter of the standard library's logging says, as BOT_LOG_FORMATTER does."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self._formatter: Any = formatter
        self._here = threading.local()

    def __call__(self, event: LogEvent) -> str | None:
        """The event's line, or lines; as errklein itself writes them if the formatter fails."""
        if format_line(event) is None:
            return None
        if getattr(self._here, "formatting", False):
            # It logs something itself, of which each line would be one more.
            return format_line(event)
        self._here.formatting = True
        try:
            # A formatter may format the exception itself, and fields of the record that aren't in its message.
            return masker(f"{self._formatter.format(record_of(event))}\n")
        except BaseException as error:
            line = format_line({**event, "log_failure": None}) or ""
            return f"{line.rstrip()} (BOT_LOG_FORMATTER fails: {escape(masker(repr(error)))})\n"
        finally:
            self._here.formatting = False
