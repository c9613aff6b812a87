"""Destinations of the log, the format of its lines, the bridge from the standard library's logging, warnings about
deprecated names, and counts of errors. An event is one line, followed by the indented lines of a traceback. Control
characters are escaped, so that text from outside can neither forge a line nor control a terminal."""

from __future__ import annotations

import copy
import fcntl
import json
import logging
import os
import re
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogPublisher,
    eventAsText,
    formatEvent,
    formatTime,
    globalLogPublisher,
)
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from zope.interface import implementer

from errklein.running.context import request_id
from errklein.text.errors import error_text
from errklein.text.masking import masker

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

LEVELS = {level: logging.getLevelNamesMapping()[level.name.upper()] for level in LogLevel.iterconstants()}
"""The logging module's numbers of Twisted's levels."""


def level_number(event: LogEvent) -> int:
    return LEVELS.get(event.get("log_level", LogLevel.info), logging.INFO)


def escape(text: str) -> str:
    """Return the text with escaped line ends, control characters and characters that change the writing direction."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


_COLORS: Mapping[str, Mapping[int, str]] = {
    "light": dict(zip(sorted(LEVELS.values()), ("96", "92", "93", "91", "1;91"), strict=True)),
    "dark": dict(zip(sorted(LEVELS.values()), ("36", "32", "33", "31", "1;31"), strict=True)),
}
"""The colours (ECMA-48 SGR) by level number. The light ones suit dark terminals, the dark ones light terminals."""


LONGEST = 32 * 1024
"""The number of characters of a message or a traceback that are logged. A source may decide its length: a plugin may log a body
of 25 MB, and an exception may contain one."""


def shown(text: str) -> str:
    """Return the text with masked secrets; without its middle if it is too long."""
    if len(text) <= LONGEST:
        return masker(text)
    half = LONGEST // 2
    begin, end = masker.part(text, 0, half), masker.part(text, len(text) - half, len(text))
    return f"{begin} … ({len(text) - LONGEST} characters left out) … {end}"


def format_line(event: LogEvent, theme: str = "") -> str | None:
    """Return the event as it is logged: a line, followed by the indented traceback of a failure. None if it has no
    text. Secrets are masked before escaping, which would change them."""
    text = eventAsText(event, includeTimestamp=False, includeSystem=False, includeTraceback=False)
    failure = event.get("log_failure")
    if not text and failure is None:
        return None
    level = event.get("log_level")
    system = event.get("log_system") or f"{event.get('log_namespace', '-')}#{level.name if level else '-'}"
    source = f"[{escape(str(system))}]"
    if theme in _COLORS:
        source = f"\x1b[{_COLORS[theme][level_number(event)]}m{source}\x1b[m"
    request = "" if request_id.get() == "-" else f"({escape(request_id.get())}) "
    line = f"{formatTime(event.get('log_time'))} {source} {request}{escape(shown(text)) if text else 'a failure'}\n"
    return f"{line}{indented_traceback(failure)}\n" if isinstance(failure, Failure) else line


def indented_traceback(failure: Failure) -> str:
    try:
        text = shown(failure.getTraceback())
    except Exception as error:
        text = f"(the traceback can't be shown: {type(error).__name__})"
    return "\n".join("\t" + escape(line) for line in text.splitlines())


def record_of(event: LogEvent) -> logging.LogRecord:
    """Return the event as a record; for an event that the bridge has created, a copy of the original record. Texts are
    masked and escaped, so that they are a single line; the lines of a traceback are indented. The attribute
    `request_id` is the id of the request that is being handled, or "-"."""
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
        # Masked as a whole, a text such as `token=` would take the quotes and fields after it along.
        with suppress(ValueError, RecursionError):
            return json.dumps(masker.values(json.loads(line)))
    return shown(line)


_here = threading.local()  # whether a formatter of any destination runs in this thread


class FormattedByLogging:
    """Formats events with a formatter of the standard library's logging, such as BOT_LOG_FORMATTER."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self._formatter: Any = formatter

    def __call__(self, event: LogEvent) -> str | None:
        """Return the formatted event with a final newline; in errklein's own format if the formatter raises an exception."""
        if format_line(event) is None:
            return None
        if getattr(_here, "formatting", False):
            # The formatter logs something itself, which would never end.
            return format_line(event)
        _here.formatting = True
        try:
            # The formatter may include unmasked text: of the exception, or of other fields of the record.
            return f"{_masked(self._formatter.format(record_of(event)))}\n"
        except BaseException as error:
            line = format_line({**event, "log_failure": None}) or ""
            return f"{line.rstrip()} (BOT_LOG_FORMATTER raised {escape(masker(repr(error)))})\n"
        finally:
            _here.formatting = False


@implementer(ILogObserver)
class LevelFilter:
    """Forwards events at `level` or above, a number of the logging module, to the observers."""

    def __init__(self, observers: Iterable[ILogObserver], level: int) -> None:
        self._passed_on = LogPublisher(*observers)
        self.level = level

    def __call__(self, event: LogEvent) -> None:
        if level_number(event) >= self.level:
            self._passed_on(event)


class PrivateLogFile(LogFile):
    """A log file that is created with mode 0600 less the umask. The mode of an existing file is not changed."""

    def _openFile(self) -> None:  # noqa: N802 - LogFile calls it whenever it needs the file
        # Otherwise LogFile would set the mode of the previous file.
        self.defaultMode = None
        if not Path(self.path).exists():
            _open_to_append(self.path)
        super()._openFile()  # type: ignore[no-untyped-call]
        # Otherwise, after a rotation that copies and truncates the file, it would begin with NUL bytes.
        flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
        fcntl.fcntl(self._file, fcntl.F_SETFL, flags | os.O_APPEND)


class Destinations:
    """The destinations of the log. `outputs` are paths of files, "-" for standard output, "+" for standard error."""

    def __init__(self) -> None:
        self.level = logging.INFO
        self.formatter: logging.Formatter | None = None  # the operator's formatter, which replaces `format_line`
        self.theme = ""  # the colours of levels on terminals: "light", "dark", or no colours for any other value
        self.outputs: list[str] = ["-"]
        self.rotated = True  # whether a file is rotated, as twistd does it, at 1 MB and on SIGUSR1
        self.prepare: Callable[[], None] = lambda: None  # called before the log is opened
        self._files: list[PrivateLogFile] = []
        self._filter: LevelFilter | None = None

    def observer(self) -> LevelFilter:
        self._filter = LevelFilter([self.writer(stream) for stream in self.streams()], self.level)
        return self._filter

    def use_level(self, level: int) -> None:
        """Log at another level from now on. The standard library's records, too, if they are forwarded."""
        self.level = level
        if self._filter is not None:
            self._filter.level = level
        if any(isinstance(handler, Bridge) for handler in logging.getLogger().handlers):
            bridge_stdlib(level)

    def writer(self, stream: IO[Any]) -> FileLogObserver:
        if self.formatter is not None:
            return FileLogObserver(stream, FormattedByLogging(self.formatter))
        return FileLogObserver(stream, partial(format_line, theme=self.theme if _shows_colors(stream) else ""))

    def streams(self) -> list[IO[Any]]:
        self.prepare()
        streams: list[IO[Any]] = []
        for output in self.outputs:
            if output in {"-", "+"}:
                streams.append(sys.stdout if output == "-" else sys.stderr)
                continue
            path = Path(output).absolute()
            file = PrivateLogFile(path.name, str(path.parent), 1_000_000 if self.rotated else None)  # type: ignore[no-untyped-call]
            self._files.append(file)
            streams.append(cast(IO[Any], file))
        return streams

    @property
    def files(self) -> list[Path]:
        return [Path(file.path) for file in self._files]

    def reopen(self) -> None:
        """Reopen the files by their paths, after a log rotation. A file that can't be opened stays in use."""
        for file in self._files:
            try:
                _open_to_append(file.path)
            except OSError as error:
                text = "{path} can't be reopened, and the previous file stays in use: {error}"
                Logger("errklein.logs").error(text, path=file.path, error=error)
            else:
                file.reopen()  # type: ignore[no-untyped-call]

    def handle_signal(self) -> None:
        """Rotate or reopen the files on SIGUSR1, which would end the process; without files, it has no effect."""
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            signal.signal(signal.SIGUSR1, self._rotate)

    def _rotate(self, signal_number: int, frame: object) -> None:
        from twisted.internet import reactor

        for rotate in [file.rotate for file in self._files] if self.rotated else [self.reopen]:
            reactor.callFromThread(rotate)  # type: ignore[attr-defined]


def _open_to_append(path: str) -> None:
    """Create the file, if it doesn't exist, with mode 0600 less the umask; raises OSError if it isn't writable."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))


def _shows_colors(stream: IO[Any]) -> bool:
    # LogFile has no isatty. For NO_COLOR see no-color.org.
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


destinations = Destinations()
"""The destinations of this process. A global, since twistd makes the observer from its dotted name before the service exists."""


def observer() -> LevelFilter:
    """Return the observer of this process's log. twistd finds the function by its dotted name."""
    return destinations.observer()


FROM_STDLIB = "errklein_from_stdlib"  # field of events that the bridge has created: the record of the standard library
FROM_TWISTED = "errklein_from_twisted"  # attribute of records that were created from Twisted's events


class Bridge(logging.Handler):
    """A handler that forwards the standard library's records to Twisted's log, or to a single observer."""

    def __init__(self, observer: ILogObserver | Callable[[LogEvent], None] = globalLogPublisher) -> None:
        super().__init__()
        self._observer: Any = observer

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, FROM_TWISTED):
            return
        try:
            text = record.getMessage()
        except Exception:
            text = f"{record.msg!r} % {record.args!r}"
        if record.stack_info:
            text += "\n" + record.stack_info
        level = [LogLevel.debug, *(level for level, number in LEVELS.items() if record.levelno >= number)][-1]
        fields: dict[str, Any] = {"text": text, FROM_STDLIB: record}
        if record.exc_info and record.exc_info[1] is not None:
            kind, value, trace = record.exc_info
            fields["log_failure"] = Failure(value, kind, trace)
        Logger(namespace=record.name, observer=self._observer).emit(level, "{text}", **fields)


def bridge_stdlib(level: int) -> None:
    """Forward the standard library's records at `level` or above to Twisted's log. Further calls only set the level."""
    root = logging.getLogger()
    root.setLevel(level)
    if not any(isinstance(handler, Bridge) for handler in root.handlers):
        root.addHandler(Bridge())


_MOST_BYTES = 256 * 1024  # what is read of a log file


def last_lines(path: Path, count: int) -> list[str]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _MOST_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    if size > _MOST_BYTES:
        del lines[0]
    return lines[-count:]


_warned: set[tuple[str, int, str]] = set()


def warn_deprecated(old: str, new: str = "", until: str = "", *, depth: int = 1) -> None:
    """Log once for each line that uses a deprecated name, `depth` calls above the caller of this function. `new` is the
    name to use instead, and `until` the version that removes the old one."""
    frame = sys._getframe(depth + 1)
    line = frame.f_code.co_filename, frame.f_lineno, old
    if line not in _warned:
        _warned.add(line)
        end, hint = until and f", and works until errklein {until}", new and f"; use {new}"
        text = "{path}, line {line}: {old} is deprecated{end}{hint}"
        Logger("errklein.deprecations").warn(text, path=line[0], line=line[1], old=old, end=end, hint=hint)


PERIOD = 3600.0
_MOST = 10_000
_PARTS = ("callback", "method", "command")  # the fields of an event that name the part of the plugin


@implementer(ILogObserver)
class RecentErrors:
    """Counts errors by the part of the bot: a webhook, a plugin with its method, such as "Builds.deploy", or else a
    logger. Of more than 10,000 errors an hour, the latest are counted. It may be called in any thread."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.total = 0  # the number of errors since the start
        self._now = now
        self._errors: deque[tuple[float, str]] = deque(maxlen=_MOST)

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_level") in (LogLevel.critical, LogLevel.error):
            self.total += 1
            self._errors.append((self._now(), _part(event)))

    def counts(self) -> Mapping[str, int]:
        since = self._now() - PERIOD
        return dict(Counter(part for time, part in self._errors.copy() if time > since).most_common())


def _part(event: LogEvent) -> str:
    if "webhook" in event:
        return str(event["webhook"])
    if "plugin" not in event:
        return str(event.get("log_namespace", "-"))
    part = next((event[name] for name in _PARTS if name in event), "")
    return f"{event['plugin']}.{part}" if part else str(event["plugin"])
