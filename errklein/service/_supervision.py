"""Supervision of the reactor's thread: its lag, the code that blocks it, and the end of a process that hangs, without the interpreter."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from struct import calcsize, pack
from typing import Any

from twisted.internet.task import LoopingCall

from errklein.ports.notices import Notify
from errklein.running import ReactorLag
from errklein.service._watchdog import Watchdog, line_in_tracebacks

_CLOCK_MONOTONIC = 1
_SIGEV_THREAD_ID = 4
_SIGNAL_EVENT = "Piii48x"
"""Linux's struct sigevent: a value, the signal, how it is sent, and the thread."""
_TIMER_TIME = "4l"
"""struct itimerspec: the interval, and the time until the end, each in seconds and nanoseconds."""


class TracebackFile:
    """Ends the process with status 1 when a time has passed, and writes the tracebacks of all threads to a file.

    faulthandler does both in a thread that needs no interpreter lock. The process has one such timer. The file is opened in
    advance, with mode 0600, and is empty as long as it isn't needed. If it can't be opened, the process ends without it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def open(self) -> str:
        """Open the file; return the tracebacks that an earlier process has left, which are kept in another file."""
        with suppress(OSError):
            if self._path.stat().st_size:
                self._path.replace(self.kept)
                left = self.kept.read_text("utf-8", "replace")
                self._open()
                return left
        self._open()
        return ""

    @property
    def kept(self) -> Path:
        """The file with the last tracebacks."""
        return self._path.with_name(f"{self._path.stem}.1{self._path.suffix}")

    def end_after(self, seconds: float) -> None:
        """End the process after this time, which replaces the time of an earlier call."""
        if self._file is not None:
            faulthandler.dump_traceback_later(seconds, exit=True, file=self._file)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CLOEXEC
        try:
            self._file = os.open(self._path, flags | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError:
            self._file = os.open(os.devnull, flags)


class SecondSignal:
    """Lets a signal end the process even if Python's handler for it can't run.

    The handler applies once: when the signal arrives, the kernel restores the default action, which ends the process. And
    the kernel sends the signal itself when the time set by `renew` has passed. So a process that no longer renews it ends if,
    and only if, somebody sends the signal, too: at the end of that time, or at once if it has passed already.

    The kernel's signal is addressed to the main thread, so it doesn't merge with one from outside while the process is
    stopped. Linux with glibc has the functions; elsewhere this object has no effect.

    :param number: The signal. Its Python handler, which calls `was_sent`, is set already.
    """

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
        """Let the kernel send the signal after this time, instead of an earlier one; 0 means never.

        It never does if another handler was set.
        """
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
TRACEBACK = "traceback.txt"
"""The file in the data directory with the tracebacks of a process that was ended."""


def reactor_deadline(setting: float | None, grace: float, environment: Mapping[str, str]) -> float:
    """Return the seconds after which a process with a blocked reactor ends; 0 if it never does.

    Without the setting, it ends where systemd, which sets NOTIFY_SOCKET, starts it again.
    """
    if setting is not None:
        return setting
    return grace + 1 if "NOTIFY_SOCKET" in environment else 0.0


class Supervision:
    """Supervises the reactor's thread from the start of the reactor until the end of the process.

    :param grace: The grace period in seconds.
    :param deadline: The result of `reactor_deadline`.
    :param notify: Notifies administrators. It is called after the start of the bot.
    """

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
        """Begin on the reactor, once the handlers of SIGNALS are set."""
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
        """End the process after this time, whatever its threads do; it is stopping."""
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
