"""Destinations of the log, and the format of its lines.

One event is one line: text from outside is escaped, so that nobody can forge a line or control a terminal. Only
tracebacks have more lines, each indented. Records of the standard library's logging arrive through a bridge, one way.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
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
    eventAsJSON,
    eventAsText,
    formatTime,
    globalLogPublisher,
    jsonFileLogObserver,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from zope.interface import implementer

from errklein.running.context import request_id
from errklein.text.masking import masker

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

LEVELS = {
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warn: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.critical: logging.CRITICAL,
}
"""The numbers that the standard library's logging has for Twisted's levels."""


def level_number(event: LogEvent) -> int:
    """The event's level as a number of the logging module; INFO if it has none."""
    return LEVELS.get(event.get("log_level", LogLevel.info), logging.INFO)


def escape(text: str) -> str:
    """The text with characters escaped that end a line, move a terminal's cursor or turn the direction of writing."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


_COLORS: Mapping[str, Mapping[int, str]] = {
    "light": dict(zip(sorted(LEVELS.values()), ("96", "92", "93", "91", "1;91"), strict=True)),
    "dark": dict(zip(sorted(LEVELS.values()), ("36", "32", "33", "31", "1;31"), strict=True)),
}
"""The colour (ECMA-48 SGR) of each level's name: light ones are for dark terminals, dark ones for light terminals."""


def format_line(event: LogEvent, theme: str = "") -> str | None:
    """The event as it is written to the log: a line, and for a failure the indented lines of its traceback.

    Secrets are masked, before anything is escaped. `theme` is "light" or "dark" where the line goes to a terminal that is to have colours.
    """
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
    line = f"{formatTime(event.get('log_time'))} {source} {request}{escape(masker(text)) if text else 'a failure'}\n"
    return f"{line}{indented_traceback(failure)}\n" if isinstance(failure, Failure) else line


def indented_traceback(failure: Failure) -> str:
    """The failure's traceback, each line indented and escaped, with secrets masked."""
    try:
        text = masker(failure.getTraceback())
    except Exception as error:
        text = f"(the traceback can't be shown: {type(error).__name__})"
    return "\n".join("\t" + escape(line) for line in text.splitlines())


@implementer(ILogObserver)
class LevelFilter:
    """Passes on the events that are at least as grave as `level`, a number of the logging module."""

    def __init__(self, observers: Iterable[ILogObserver], level: int) -> None:
        self._passed_on = LogPublisher(*observers)
        self._level = level

    def __call__(self, event: LogEvent) -> None:
        """Pass the event on, or not."""
        if level_number(event) >= self._level:
            self._passed_on(event)


class PrivateLogFile(LogFile):
    """A log file that is created with mode 0600 less the umask. The mode of an existing file is not changed."""

    def _openFile(self) -> None:  # noqa: N802 - LogFile calls it whenever it needs the file
        # LogFile gives a new file the mode of the one before it, and sets that of an existing file again.
        self.defaultMode = None
        if not Path(self.path).exists():
            _open_to_append(self.path)
        super()._openFile()  # type: ignore[no-untyped-call]


class Destinations:
    """Where this process logs to: any of "-" (standard output), "+" (standard error) and files' paths."""

    def __init__(self) -> None:
        self.level = logging.INFO
        self.format: Callable[[LogEvent], str | None] | None = None
        """What makes an event's text, ended by a newline, in place of `format_line`."""
        self.theme = ""
        """The colours on terminals: "light" or "dark" letters, or none."""
        self.places: list[str] = ["-"]
        self.rotated = True
        """Whether a file is put away and a new one begun when it grows large, and on SIGUSR1, as twistd does it."""
        self.prepare: Callable[[], None] = lambda: None
        """Called before the log is opened."""
        self.owner: tuple[int, int] | None = None
        """Whose the files are to be: the user and group that the process will become."""
        self._files: list[PrivateLogFile] = []

    def observer(self) -> LevelFilter:
        """Open the log, now."""
        return LevelFilter([self.writer(stream) for stream in self.streams()], self.level)

    def writer(self, stream: IO[Any]) -> FileLogObserver:
        """What writes events to the stream, one of `streams`."""
        theme = self.theme if _shows_colors(stream) else ""
        return FileLogObserver(stream, self.format or partial(format_line, theme=theme))

    def streams(self) -> list[IO[Any]]:
        """Open what is to be written to, now."""
        self.prepare()
        streams: list[IO[Any]] = []
        for place in self.places:
            if place in {"-", "+"}:
                streams.append(sys.stdout if place == "-" else sys.stderr)
                continue
            path = Path(place).absolute()
            file = PrivateLogFile(path.name, str(path.parent), 1_000_000 if self.rotated else None)  # type: ignore[no-untyped-call]
            if self.owner is not None:
                os.fchown(file._file.fileno(), *self.owner)
            self._files.append(file)
            streams.append(cast(IO[Any], file))
        if self.rotated and self._files and signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            signal.signal(signal.SIGUSR1, self._rotate)
        return streams

    @property
    def files(self) -> list[Path]:
        """The files that are written to."""
        return [Path(file.path) for file in self._files]

    def reopen(self) -> None:
        """Go on in new files, as after a log rotation; a file that can't be opened is gone on with as it is."""
        for file in self._files:
            try:
                _open_to_append(file.path)
            except OSError as error:
                Logger("errklein.logs").error(
                    "{path} can't be opened again, the old file goes on: {error}", path=file.path, error=error
                )
            else:
                file.reopen()  # type: ignore[no-untyped-call]

    def _rotate(self, signal_number: int, frame: object) -> None:
        from twisted.internet import reactor

        for file in self._files:
            reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]


def _open_to_append(path: str) -> None:
    """Create the file, if it doesn't exist, with mode 0600 less the umask; raises OSError if it isn't writable."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))


def _shows_colors(stream: IO[Any]) -> bool:
    # LogFile, for one, has no isatty; NO_COLOR is explained on no-color.org.
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


destinations = Destinations()
"""The destinations of this process. A global, since twistd makes the observer from its dotted name before the service exists."""


def observer() -> LevelFilter:
    """The observer that twistd finds by its dotted name."""
    return destinations.observer()


def use_with_twist(launcher: MutableMapping[str, Any]) -> None:
    """Have `twist`, whose options these are, write lines as twistd does, and not into a conversation.

    twist opens the log itself and knows no observers by name, so this can't do more. The JSON that it writes when
    nobody watches stays JSON, since tools read it, with secrets masked.
    """
    if launcher["fileLogObserverFactory"] is jsonFileLogObserver:
        launcher["fileLogObserverFactory"] = _masked_json
    if launcher["logFile"] is sys.stdout and "-" not in destinations.places:
        launcher["logFile"] = destinations.streams()[0]
    if launcher["fileLogObserverFactory"] is textFileLogObserver:
        launcher["fileLogObserverFactory"] = destinations.writer


def _masked_json(stream: IO[Any]) -> FileLogObserver:
    # As jsonFileLogObserver: RFC 7464.
    return FileLogObserver(stream, lambda event: masker(f"\x1e{eventAsJSON(event)}\n"))


FROM_STDLIB = "errklein_from_stdlib"
"""Field of events that were records of the standard library's logging: the record."""
FROM_TWISTED = "errklein_from_twisted"
"""Attribute of records that were Twisted's events, likewise."""


class Bridge(logging.Handler):
    """Forwards records of the standard library's logging to Twisted's, or to one observer of Twisted's events."""

    def __init__(self, observer: ILogObserver | Callable[[LogEvent], None] = globalLogPublisher) -> None:
        super().__init__()
        self._observer: Any = observer

    def emit(self, record: logging.LogRecord) -> None:
        """Log what the record says, under the same name."""
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
    """From now on, the standard library's loggers say what is at least as grave as `level` in Twisted's log."""
    root = logging.getLogger()
    root.setLevel(level)
    if not any(isinstance(handler, Bridge) for handler in root.handlers):
        root.addHandler(Bridge())
