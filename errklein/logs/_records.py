"""Log events as records of the standard library's logging, for formatters and handlers."""

from __future__ import annotations

import copy
import logging
import threading
import time
from contextlib import suppress
from typing import Any

from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure

from errklein.logs._output import (
    FROM_STDLIB,
    FROM_TWISTED,
    LONGEST,
    escape,
    format_line,
    indented_traceback,
    level_number,
    masked_json,
    shown,
)
from errklein.running.context import request_id
from errklein.text.errors import error_text
from errklein.text.masking import masker


def record_of(event: LogEvent) -> logging.LogRecord:
    """Return the event as a record; for an event that the bridge has created, a copy of the original record.

    Texts are masked and escaped, so that they are a single line; the lines of a traceback are indented. The attribute
    `request_id` is the id of the request that is being handled, or "-".
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
        if isinstance(value, BaseException):
            # Its text may have line ends.
            value = error_text(value)
        if isinstance(value, str):
            setattr(record, name, escape(shown(value) if len(value) > LONGEST else value))
    record.msg, record.args, record.stack_info = escape(shown(formatEvent(event))), None, None
    record.exc_info = record.exc_text = None
    failure = event.get("log_failure")
    if isinstance(failure, Failure) and isinstance(failure.value, BaseException):
        record.exc_info = type(failure.value), failure.value, failure.getTracebackObject()
        # Formatters use this text instead of formatting the traceback.
        record.exc_text = indented_traceback(failure)
    vars(record).update({"request_id": request_id.get(), FROM_TWISTED: True})
    return record


def _masked(line: str) -> str:
    """Return a formatted event with masked secrets; of JSON, field by field."""
    if line.startswith("{") and len(line) <= 8 * LONGEST:
        with suppress(ValueError, RecursionError):
            return masked_json(line)
    return shown(line)


class FormattedByLogging:
    """Formats events with a formatter of the standard library's logging, such as BOT_LOG_FORMATTER."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self._formatter: Any = formatter
        self._here = threading.local()

    def __call__(self, event: LogEvent) -> str | None:
        """Return the formatted event with a final newline; in errklein's own format if the formatter raises an exception."""
        if format_line(event) is None:
            return None
        if getattr(self._here, "formatting", False):
            # The formatter logs something itself, which would never end.
            return format_line(event)
        self._here.formatting = True
        try:
            # The formatter may include unmasked text: of the exception, or of other fields of the record.
            return f"{_masked(self._formatter.format(record_of(event)))}\n"
        except BaseException as error:
            line = format_line({**event, "log_failure": None}) or ""
            return f"{line.rstrip()} (BOT_LOG_FORMATTER raised {escape(masker(repr(error)))})\n"
        finally:
            self._here.formatting = False
