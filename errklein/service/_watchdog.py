"""A thread that notices when the reactor is blocked, and names the code that blocks it, from the frames of threads."""

from __future__ import annotations

import linecache
import re
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.logger import Logger

from errklein.plugins.names import PACKAGE
from errklein.ports.notices import Notify
from errklein.running import ReactorLag, start_daemon_thread

_DEBUGGERS = frozenset({"bdb", "pdb"})
_POLLING = frozenset({"doPoll", "doSelect", "doKEvent"})


@dataclass(frozen=True)
class CodeLocation:
    """A line of code that a thread executes. `plugin` and `handler` are empty outside of plugins."""

    plugin: str
    handler: str
    file: str
    line: int

    def __str__(self) -> str:
        """Return the handler, the plugin, the file and the line."""
        location = f"{self.file}, line {self.line}"
        return f"{self.handler} (plugin {self.plugin}), {location}" if self.plugin else location

    @property
    def statement(self) -> str:
        """The line of the source; "" if it can't be read."""
        linecache.checkcache(self.file)
        return linecache.getline(self.file, self.line).strip()


def location_of(frame: FrameType) -> CodeLocation:
    """Return the innermost line of a plugin that the frame executes; without one, that of errklein, or the frame's own.

    The handler is the outermost function of that plugin.
    """
    frames = list(_callers(frame))
    for one in frames:
        if package := _plugin_package(one):
            handler = [outer for outer in frames if _plugin_package(outer) == package][-1]
            return CodeLocation(_plugin_name(package), handler.f_code.co_qualname, one.f_code.co_filename, _line(one))
    own = next((one for one in frames if _module(one).startswith("errklein.")), frame)
    return CodeLocation("", "", own.f_code.co_filename, _line(own))


def line_in_tracebacks(tracebacks: str) -> str:
    """Return the file and line of the innermost code that is neither Python's, an installed package's nor errklein's.

    :param tracebacks: The tracebacks of all threads that faulthandler has written, that of the main thread last, which is
        searched first.
    :returns: "" if there is no such line.
    """
    libraries = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    libraries.append(Path(__file__).parent.parent)
    for thread in reversed(tracebacks.split("\n\n")):
        for file, line in re.findall(r'^  File "(/[^"\n]*)", line (\d+) in ', thread, re.MULTILINE):
            if not any(map(Path(file).is_relative_to, libraries)):
                return f"{file}, line {line}"
    return ""


def waits_for_events(frame: FrameType) -> bool:
    """Return whether the frame is that of a reactor, or of asyncio's loop, that has nothing to do."""
    caller = frame.f_back
    if _module(frame) == "selectors" and caller is not None:
        return _module(caller) == "asyncio.base_events" and caller.f_code.co_name == "_run_once"
    return frame.f_code.co_name in _POLLING and _module(frame).startswith("twisted.internet.")


def is_debugged(frame: FrameType) -> bool:
    """Return whether a debugger controls the thread, which may stop it for any time."""
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None:
        return True
    return any(_traces(one.f_trace) or _module(one) in _DEBUGGERS for one in _callers(frame))


def _traces(trace: Any) -> bool:
    """Return whether a frame's trace function is one of a debugger; coverage.py has some, too, which stop nothing."""
    module = getattr(trace, "__module__", None) or type(trace).__module__
    return trace is not None and module.partition(".")[0] != "coverage"


def _callers(frame: FrameType) -> Iterator[FrameType]:
    """Yield the frame, the one that called it, and so on."""
    one: FrameType | None = frame
    while one is not None:
        yield one
        one = one.f_back


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _line(frame: FrameType) -> int:
    """Return the line that the frame executes, or that of its function for an instruction without a line."""
    line: int | None = frame.f_lineno
    return frame.f_code.co_firstlineno if line is None else line


def _plugin_package(frame: FrameType) -> str:
    """Return the name of the package of the plugin that the frame's code belongs to, without PACKAGE; "" if none."""
    package, _, rest = _module(frame).partition(".")
    return rest.partition(".")[0] if package == PACKAGE else ""


def _plugin_name(package: str) -> str:
    # The inverse of `slug`.
    return re.sub("_([0-9a-f]+)_", lambda found: chr(int(found[1], 16)), package)


INTERVAL = 0.25
"""The time between two looks at the reactor's thread, in seconds."""

REPORTED_AFTER = (0.25, 1.0, 5.0, 30.0, 300.0, 3600.0)
"""The durations of a blocked reactor that are logged while it lasts, in seconds."""

_NOTABLE = 1.0
"""The duration from which administrators are notified if no plugin has certainly blocked the reactor, in seconds."""

_NOTICE_INTERVAL = 3600.0
"""The seconds between two notices about the same code."""

_ADVICE = (
    "Everything else waits meanwhile. Await asynchronous calls instead, call blocking functions with deferToThread, or make "
    "the handler a plain function with threaded=True, which runs in a thread"
)


@dataclass(eq=False)
class _PendingCall:
    """A call that waits for the reactor: since when, and what was logged meanwhile."""

    since: float
    reports: int = 0
    location: CodeLocation | None = None


class Watchdog:
    """Measures the reactor's lag from a thread, logs what blocks the reactor, and notifies administrators afterwards.

    A reactor that waits for events is left alone: the thread only looks at its frame. Otherwise it calls a function on the
    reactor, and measures how long that takes. When the thread itself was late, either the process was suspended, in which
    it has used no processor time, or another thread has held the interpreter lock.

    :param lag: Where the lag is stored.
    :param clock: Returns the time in seconds.
    :param cpu: Returns the processor time that the process has used, in seconds.
    :param frames: Returns the frames of threads by thread id; by default, those of all other threads.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        lag: ReactorLag,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
        frames: Callable[[], Mapping[int, FrameType]] | None = None,
    ) -> None:
        self.notify: Notify | None = None
        """Notifies administrators; None while the bot starts or stops, when nobody is to be notified."""
        self._reactor, self._lag = reactor, lag
        self._clock, self._cpu, self._frames = clock, cpu, frames or _frames_of_other_threads
        self._reactor_thread = threading.get_ident()
        self._stopped = threading.Event()
        self._looked, self._used = clock(), cpu()
        # Both threads use it, so each reads the attribute once.
        self._pending: _PendingCall | None = None

    def start(self) -> None:
        """Start the thread. Call it in the reactor's thread."""
        self._reactor_thread = threading.get_ident()
        self._looked, self._used = self._clock(), self._cpu()
        start_daemon_thread(self._run, "errklein watchdog")

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def look(self) -> None:
        """Look at the reactor's thread; called in the watchdog's thread after each INTERVAL."""
        now, used = self._clock(), self._cpu()
        late, computed = now - self._looked - INTERVAL, used - self._used
        self._looked, self._used = now, used
        frames = self._frames()
        frame = frames.get(self._reactor_thread)
        if frame is None:
            return
        pending = self._pending
        if late >= REPORTED_AFTER[0]:
            if pending is not None:
                pending.since = now
            if computed >= late / 2 and not is_debugged(frame):
                self._lock_was_held(late + INTERVAL, frames)
        elif pending is None:
            if waits_for_events(frame):
                self._lag.last = 0.0
            else:
                self._pending = pending = _PendingCall(now)
                self._reactor.callFromThread(self._answer, pending)
        elif is_debugged(frame):
            pending.since = now
        else:
            self._is_blocked(pending, now - pending.since, frame)

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            try:
                self.look()
            except Exception:
                self.log.failure("The watchdog failed")

    def _is_blocked(self, pending: _PendingCall, seconds: float, frame: FrameType) -> None:
        self._lag.record(seconds)
        # The reactor may read its input before it calls `_answer`.
        self._lag.ended(seconds, self._reactor.seconds())
        due = sum(seconds >= limit for limit in REPORTED_AFTER)
        location = location_of(frame)
        # While the bot starts, imports block the reactor.
        if due <= pending.reports or not (location.plugin or self.notify or seconds >= REPORTED_AFTER[2]):
            return
        advice = "" if pending.reports else f". {_ADVICE}"
        pending.reports, pending.location = due, location
        self.log.warn(
            "The reactor has been blocked for {seconds:.2f} s by {location}: {statement}{advice}",
            seconds=seconds,
            location=location,
            statement=location.statement,
            advice=advice,
        )

    def _answer(self, pending: _PendingCall) -> None:
        """Store the lag, and notify administrators of a reported block. Called on the reactor."""
        self._pending = None
        now, location = self._clock(), pending.location
        seconds = now - pending.since
        self._lag.ended(seconds, self._reactor.seconds())
        if now - self._looked - INTERVAL >= REPORTED_AFTER[0]:
            # The watchdog's thread is late, too, and finds out why.
            return
        self._lag.record(seconds)
        if location is None:
            return
        notify = self.notify
        text = f"The reactor was blocked for {seconds:.1f} s by {location}"
        if notify and (location.plugin or seconds >= _NOTABLE):
            notify(("blocked", location), f"{text}. {_ADVICE}.", interval=_NOTICE_INTERVAL)
        else:
            self.log.info("{text}", text=text)

    def _lock_was_held(self, seconds: float, frames: Mapping[int, FrameType]) -> None:
        """Report the plugins' code that threads execute, one of which has held the interpreter lock."""
        self._lag.record(seconds)
        self._lag.ended(seconds, self._reactor.seconds())
        locations = sorted({str(location) for location in map(location_of, frames.values()) if location.plugin})
        text = (
            f"No Python code could run for {seconds:.1f} s, since a thread held the interpreter lock, as a regular "
            f"expression does that tries many combinations. Threads with plugins' code: {'; '.join(locations) or 'none'}"
        )
        self.log.warn("{text}", text=text)
        notify = self.notify
        if notify and seconds >= _NOTABLE:
            notify(("blocked", *locations), f"{text}.", interval=_NOTICE_INTERVAL)


def _frames_of_other_threads() -> Mapping[int, FrameType]:
    """Return the frames of all threads but this one.

    A function that has its own frame in a variable keeps all frames, with the values in them, until the next garbage collection.
    """
    own = threading.get_ident()
    return {thread: frame for thread, frame in sys._current_frames().items() if thread != own}
