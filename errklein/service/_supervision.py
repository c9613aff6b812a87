"""Supervision of the reactor's thread: its lag, the code that blocks it, and the end of a process that hangs, without
the interpreter. The watchdog, a thread, names the code that blocks the reactor, from the frames of threads."""

from __future__ import annotations

import ctypes
import faulthandler
import linecache
import os
import re
import signal
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import calcsize, pack
from traceback import walk_stack
from types import FrameType
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from errklein.listening import SOCKETS
from errklein.plugins.plug_file import PACKAGE
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
        location = f"{self.file}, line {self.line}"
        return f"{self.handler} (plugin {self.plugin}), {location}" if self.plugin else location

    @property
    def statement(self) -> str:
        linecache.checkcache(self.file)
        return linecache.getline(self.file, self.line).strip()


def location_of(frame: FrameType) -> CodeLocation:
    """Return the innermost line of a plugin that the frame executes; without one, that of errklein, or the frame's own.
    The handler is the outermost function of that plugin."""
    frames = [one for one, _ in walk_stack(frame)]
    for one in frames:
        if package := _plugin_package(one):
            handler = [outer for outer in frames if _plugin_package(outer) == package][-1]
            # The inverse of `slug`.
            name = re.sub("_([0-9a-f]+)_", lambda found: chr(int(found[1], 16)), package)
            return CodeLocation(name, handler.f_code.co_qualname, one.f_code.co_filename, _line(one))
    own = next((one for one in frames if _module(one).startswith("errklein.")), frame)
    return CodeLocation("", "", own.f_code.co_filename, _line(own))


def line_in_tracebacks(tracebacks: str) -> str:
    """Return the file and line of the innermost code that is neither Python's, a package's nor errklein's; "" without any."""
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
    return any(_traces(one.f_trace) or _module(one) in _DEBUGGERS for one, _ in walk_stack(frame))


def _traces(trace: Any) -> bool:
    """Return whether a frame's trace function is one of a debugger; coverage.py has some, too, which stop nothing."""
    module = getattr(trace, "__module__", None) or type(trace).__module__
    return trace is not None and module.partition(".")[0] != "coverage"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _line(frame: FrameType) -> int:
    line: int | None = frame.f_lineno
    return frame.f_code.co_firstlineno if line is None else line


def _plugin_package(frame: FrameType) -> str:
    """Return the name of the package of the plugin that the frame's code belongs to, without PACKAGE; "" if none."""
    package, _, rest = _module(frame).partition(".")
    return rest.partition(".")[0] if package == PACKAGE else ""


INTERVAL = 0.25  # the time between two looks at the reactor's thread, in seconds

REPORTED_AFTER = (0.25, 1.0, 5.0, 30.0, 300.0, 3600.0)
"""The durations of a blocked reactor that are logged while it lasts, in seconds."""

_NOTABLE = 1.0
"""The duration from which administrators are notified if no plugin has certainly blocked the reactor, in seconds."""

_NOTICE_INTERVAL = 3600.0  # the seconds between two notices about the same code

_ADVICE = (
    "Everything else waits meanwhile. Await asynchronous calls instead, call blocking functions with deferToThread, or make "
    "the handler a plain function with threaded=True, which runs in a thread"
)


@dataclass(eq=False)
class _PendingCall:
    since: float
    reports: int = 0
    location: CodeLocation | None = None


class Watchdog:
    """Measures the reactor's lag from a thread, logs what blocks the reactor, and notifies administrators afterwards. A
    reactor that waits for events is left alone: the thread only looks at its frame. Otherwise it calls a function on
    the reactor, and measures how long that takes. When the thread itself was late, either the process was suspended, in
    which it has used no processor time, or another thread has held the interpreter lock."""

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
        self._reactor_thread = threading.get_ident()
        self._looked, self._used = self._clock(), self._cpu()
        start_daemon_thread(self._run, "errklein watchdog")

    def stop(self) -> None:
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
        text = "The reactor has been blocked for {seconds:.2f} s by {location}: {statement}{advice}"
        self.log.warn(text, seconds=seconds, location=location, statement=location.statement, advice=advice)

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
    """Return the frames of all threads but this one. A function that has its own frame in a variable keeps all frames,
    with the values in them, until the next garbage collection."""
    own = threading.get_ident()
    return {thread: frame for thread, frame in sys._current_frames().items() if thread != own}


_CLOCK_MONOTONIC = 1
_SIGEV_THREAD_ID = 4
_SIGNAL_EVENT = "Piii48x"  # Linux's struct sigevent: a value, the signal, how it is sent, and the thread
_TIMER_TIME = "4l"  # struct itimerspec: the interval, and the time until the end, each in seconds and nanoseconds


class TracebackFile:
    """Ends the process with status 1 when a time has passed, and writes the tracebacks of all threads to a file. faulthandler
    does both in a thread that needs no interpreter lock. The process has one such timer. The file is opened in advance, with
    mode 0600, and is empty as long as it isn't needed. If it can't be opened, the process ends without it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def open(self) -> str:
        """Open the file; return the tracebacks that an earlier process has left, which are kept in another file."""
        left, flags = "", os.O_WRONLY | os.O_CLOEXEC
        with suppress(OSError):
            if self._path.stat().st_size:
                self._path.replace(self.kept)
                left = self.kept.read_text("utf-8", "replace")
        try:
            self._file = os.open(self._path, flags | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError:
            self._file = os.open(os.devnull, flags)
        return left

    @property
    def kept(self) -> Path:
        return self._path.with_name(f"{self._path.stem}.1{self._path.suffix}")

    def end_after(self, seconds: float) -> None:
        """End the process after this time, which replaces the time of an earlier call."""
        if self._file is not None:
            faulthandler.dump_traceback_later(seconds, exit=True, file=self._file)


class SecondSignal:
    """Lets a signal end the process even if Python's handler for it can't run. That handler, which calls `was_sent`, is
    set already. It applies once: when the signal arrives, the kernel restores the default action, which ends the
    process. And the kernel sends the signal itself when the time set by `renew` has passed. So a process that no longer
    renews it ends if, and only if, somebody sends the signal, too: at the end of that time, or at once if it has passed
    already. The kernel's signal is addressed to the main thread, so it doesn't merge with one from outside while the
    process is stopped. Linux with glibc has the functions; elsewhere this object has no effect."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._python_handler = signal.getsignal(number)
        self._renewed = False
        self._timer = ctypes.c_void_p()
        self._libc: Any = ctypes.CDLL(None)
        event = pack(_SIGNAL_EVENT, 0, number, _SIGEV_THREAD_ID, threading.get_native_id())
        action = (ctypes.c_void_p * 32)()
        try:
            self._once = self._libc.sysv_signal
            failed = self._libc.timer_create(_CLOCK_MONOTONIC, event, ctypes.byref(self._timer))
        except AttributeError:
            failed = True
        self._works = not failed
        if self._works:
            self._once.argtypes = (ctypes.c_int, ctypes.c_void_p)
            # The handler is the first member of struct sigaction.
            self._libc.sigaction(number, None, ctypes.byref(action))
            self._handler = action[0]
            self._once(number, self._handler)

    def renew(self, seconds: float) -> None:
        """Let the kernel send the signal after this time, or never (0). It never does if another handler was set."""
        if self._works:
            if signal.getsignal(self._number) is not self._python_handler:
                seconds = 0.0
            time = pack(_TIMER_TIME, 0, 0, *divmod(int(seconds * 1e9), 10**9))
            self._libc.timer_settime(self._timer, 0, time, None)
            self._renewed = seconds > 0

    def was_sent(self) -> bool:
        """Return whether somebody has sent the signal. If it was the kernel, the handler is called again for the next one."""
        left = ctypes.create_string_buffer(calcsize(_TIMER_TIME))
        if not self._renewed or self._libc.timer_gettime(self._timer, left) or any(left.raw):
            return True
        self._once(self._number, self._handler)
        return False


SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LONGEST_HEARTBEAT = 1.0
TRACEBACK = "traceback.txt"  # the file in the data directory with the tracebacks of a process that was ended


def reactor_deadline(setting: float | None, grace: float, environment: Mapping[str, str]) -> float:
    """Return the seconds after which a process with a blocked reactor ends; 0 if it never does. Without the setting, it
    ends where systemd, which sets NOTIFY_SOCKET, or `errklein run --processes`, which sets SOCKETS, starts it again."""
    if setting is not None:
        return setting
    return grace + 1 if {"NOTIFY_SOCKET", SOCKETS} & environment.keys() else 0.0


class Supervision:
    """Supervises the reactor's thread from the start of the reactor until the end of the process."""

    def __init__(
        self, reactor: Any, lag: ReactorLag, data_directory: Path, grace: float, deadline: float, notify: Notify
    ) -> None:
        self._notify = notify
        self._reactor = reactor
        self._watchdog = Watchdog(reactor, lag)
        self._tracebacks = TracebackFile(data_directory / TRACEBACK)
        self._limit = grace + 1
        self._deadline = 0.0
        self._deadline_once_started = deadline
        self._signals: dict[int, SecondSignal] = {}
        self._left = ""
        self._heartbeat = LoopingCall(self._renew)
        self._heartbeat.clock = reactor

    def begin(self) -> None:
        self._left = self._tracebacks.open()
        self._signals = {number: SecondSignal(number) for number in SIGNALS if callable(signal.getsignal(number))}
        # Four times within the shortest limit, since the reactor may be late.
        limits = [self._limit, self._deadline_once_started or self._limit]
        self._heartbeat.start(min(_LONGEST_HEARTBEAT, *(limit / 4 for limit in limits)))
        self._watchdog.start()
        self._reactor.addSystemEventTrigger("after", "shutdown", self._watchdog.stop)

    def started(self) -> None:
        """Notify administrators of blocks from now on, and of a process that was ended before. REACTOR_DEADLINE applies."""
        if not self._heartbeat.running:
            # A stop has interrupted the start.
            return
        self._watchdog.notify = self._notify
        self._deadline = self._deadline_once_started
        self._renew()
        if self._left:
            line = line_in_tracebacks(self._left)
            self._notify(
                "ended",
                f"The previous process of the bot was ended because it hung{line and f', probably in {line}'}. "
                f"{self._tracebacks.kept} shows what its threads were doing.",
            )

    def was_sent(self, number: int) -> bool:
        """Return whether somebody has sent the signal that has arrived, and not `SecondSignal`."""
        second = self._signals.get(number)
        if second is None or second.was_sent():
            return True
        second.renew(self._limit)
        return False

    def end_after(self, seconds: float) -> None:
        self._watchdog.notify = None
        if self._heartbeat.running:
            self._heartbeat.stop()
            for second in self._signals.values():
                second.renew(0)
            self._tracebacks.end_after(seconds)

    def _renew(self) -> None:
        for second in self._signals.values():
            second.renew(self._limit)
        if self._deadline:
            self._tracebacks.end_after(self._deadline)
