"""Ends the process without the interpreter, which can't run any Python code while a thread holds its lock."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

_CLOCK_MONOTONIC = 1
_SIGEV_THREAD_ID = 4


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


class _SignalEvent(ctypes.Structure):
    """Linux's struct sigevent."""

    _fields_: ClassVar[Sequence[Any]] = (
        ("value", ctypes.c_void_p),
        ("number", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("padding", ctypes.c_char * 48),
    )


class _TimerTime(ctypes.Structure):
    """struct itimerspec."""

    _fields_: ClassVar[Sequence[Any]] = [
        (name, ctypes.c_long) for name in ("every", "every_ns", "seconds", "nanoseconds")
    ]


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
        event = _SignalEvent(None, number, _SIGEV_THREAD_ID, threading.get_native_id())
        action = (ctypes.c_void_p * 32)()
        try:
            self._once = self._libc.sysv_signal
            failed = self._libc.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer))
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
            time = _TimerTime(0, 0, *divmod(int(seconds * 1e9), 10**9))
            self._libc.timer_settime(self._timer, 0, ctypes.byref(time), None)
            self._renewed = seconds > 0

    def was_sent(self) -> bool:
        """Return whether somebody has sent the signal. If it was the kernel, the handler is called again for the next one."""
        left = _TimerTime()
        if not self._renewed or self._libc.timer_gettime(self._timer, ctypes.byref(left)):
            return True
        if left.seconds or left.nanoseconds:
            return True
        self._once(self._number, self._handler)
        return False
