"""The end of the process: exit within a time limit, even if plugins' threads hang, or restart."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.error import ReactorNotRunning

from errklein.running.restart import CannotRestart
from errklein.service._inherited_sockets import InheritedSockets


class ProcessExit:
    """Ends this process, or replaces it by one with the same command line.

    :param reactor: the running reactor.
    :param pid_file: the file with the id of this process, if there is one.
    :param why_no_restart: the reason why a restart is impossible, in one line; "" if it is possible.
    """

    def __init__(self, reactor: Any, pid_file: Path | None = None, why_no_restart: str = "") -> None:
        self.restart_requested = False
        self._reactor = reactor
        self._pid_file = pid_file
        self._why_no_restart = why_no_restart
        self._directory = Path.cwd()
        self._arguments = [sys.executable, *sys.orig_argv[1:]]
        self._sockets = InheritedSockets()
        self._has_deadline = False

    def request_restart(self) -> None:
        """Stop the reactor, then restart the process. May be called from any thread. Raises CannotRestart."""
        if self._why_no_restart:
            raise CannotRestart(self._why_no_restart)
        self._reactor.callFromThread(self._stop_for_restart)

    def within(self, seconds: float, signal_number: int | None) -> None:
        """Exit after at most that many seconds, as that signal would end the process. The next signal ends it at once.

        The waiting thread uses neither the reactor nor a lock of the log, which may be blocked.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        if not self._has_deadline:
            self._has_deadline = True
            timer = threading.Timer(seconds, self._exit_or_restart, [signal_number])
            timer.name, timer.daemon = "errklein exit", True
            timer.start()

    def now(self, status: int, signal_number: int | None = None) -> None:
        """End the process at once, with the status, or as the signal ends a process without a handler for it."""
        self.remove_pid_file()
        _flush()
        if signal_number is not None:
            os.kill(os.getpid(), signal_number)
            # The kernel ignores the signal for the first process of a container.
            threading.Event().wait(0.1)
            status = 128 + signal_number
        os._exit(status)

    def remove_pid_file(self) -> None:
        """Remove the pid file if it contains the id of this process."""
        with suppress(OSError, ValueError):
            if self._pid_file is not None and int(self._pid_file.read_text()) == os.getpid():
                self._pid_file.unlink()

    def _stop_for_restart(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            # The reactor is stopping already, with or without a restart.
            return
        self.restart_requested = True
        self._reactor.addSystemEventTrigger("after", "shutdown", self._restart)

    def _exit_or_restart(self, signal_number: int | None) -> None:
        if self.restart_requested:
            self._restart()
        self.now(0, signal_number)

    def _restart(self) -> None:
        # The new process has the same id, and twistd would take the file for that of another running bot.
        self.remove_pid_file()
        _flush()
        os.chdir(self._directory)
        self._sockets.pass_on()
        os.execv(self._arguments[0], self._arguments)  # noqa: S606  the process's own command line


def remove_stale_pid_file(path: Path) -> None:
    """Remove the pid file if its process has ended and another one has its id; twistd removes one whose id nobody has.

    A process that was killed leaves its file. In a container, the next one has the same id. Linux has the start of a process
    in /proc (proc_pid_stat(5)).
    """
    with suppress(OSError, ValueError, IndexError):
        written = path.stat().st_mtime
        fields = Path(f"/proc/{int(path.read_text())}/stat").read_text().rpartition(")")[2].split()
        boot = next(
            line.split()[1] for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime ")
        )
        # The time of the boot is rounded to seconds.
        if int(boot) + int(fields[19]) / os.sysconf("SC_CLK_TCK") > written + 2:
            path.unlink()


def _flush() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()
