"""The end of the process: exit within a time limit, even if plugins' threads hang, or restart with the sockets that systemd passed."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

from errklein.database import JobThread
from errklein.plugins.subprocesses import ProgramError, run
from errklein.running.reactors import CannotRestart

_FIRST = 3  # the descriptor of the first socket: SD_LISTEN_FDS_START


class InheritedSockets:
    """Copies of all inherited descriptors, in systemd's order; none unless one of them is a listening socket.
    `environment` is the process's environment. It must be created before an endpoint is opened."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ, first: int = _FIRST) -> None:
        self._environment = environment
        # LISTEN_FDNAMES is the one variable that Twisted leaves.
        names = environment.get("LISTEN_FDNAMES", "")
        self._numbers = range(first, first + len(names.split(":"))) if names else range(0)
        # A parent may have left the variable. Then none of this process's own descriptors listens yet.
        self._copies: dict[int, int] = {}
        for number in self._numbers if any(map(_listens, self._numbers)) else ():
            # One that isn't open is left out.
            with suppress(OSError):
                self._copies[number] = os.dup(number)

    def pass_on(self) -> None:
        """Pass the descriptors on to the next program, as systemd does. What has their numbers by now is closed."""
        if not self._copies:
            return
        for number, copy in self._copies.items():
            os.dup2(copy, number, inheritable=True)
        self._environment["LISTEN_PID"] = str(os.getpid())
        self._environment["LISTEN_FDS"] = str(len(self._numbers))


def _listens(number: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(number)) as inherited:
            return bool(inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


RESTARTED = "ERRKLEIN_RESTARTED"  # the variable of the environment of a process that has restarted itself
_SAME_SIGNAL = 1.0  # the seconds for which a signal to stop may arrive again
_CHECK_SECONDS = 30.0  # the seconds that the check before a restart may take


@dataclass(eq=False, repr=False)
class ProcessExit:
    """Ends this process, or replaces it by one with the same command line. `check` are the arguments with which Python
    checks before that the new process could start. Both get the `variables` that were removed from the environment."""

    reactor: Any
    pid_file: Path | None = None
    check: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    restart_requested: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._directory = Path.cwd()
        self._arguments = [sys.executable, *sys.orig_argv[1:]]
        self._sockets = InheritedSockets()
        self._has_deadline = False

    def request_restart(self, *, at_once: bool = False) -> Deferred[None]:
        """Stop the reactor, then restart the process, unless the check fails. May be called from any thread. The
        Deferred fires on the reactor when the restart begins, and fails with CannotRestart after a failed check. With
        `at_once`, nothing else runs in this process, and the call doesn't return."""
        if at_once:
            try:
                self._restart()
            finally:
                self.now(1)
        requested: Deferred[None] = Deferred()
        requested.addCallback(lambda _: Deferred.fromCoroutine(self._check_and_stop()))
        self.reactor.callFromThread(requested.callback, None)
        return requested

    def within(self, seconds: float, signal_number: int | None) -> None:
        """Exit after at most that many seconds, as that signal would end the process. A signal ends it at once if it comes
        1 s later: a terminal, GNU timeout and supervisors send the first one to a process and to its group.
        The waiting thread uses neither the reactor nor a lock of the log, which may be blocked."""
        if not self._has_deadline:
            self._has_deadline = True
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, partial(self._signalled_again, monotonic() + _SAME_SIGNAL))
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

    def _signalled_again(self, since: float, number: int, _: object) -> None:
        if monotonic() >= since:
            signal.signal(number, signal.SIG_DFL)
            self.now(1, number)

    def remove_pid_file(self) -> None:
        with suppress(OSError, ValueError):
            if self.pid_file is not None and int(self.pid_file.read_text()) == os.getpid():
                self.pid_file.unlink()

    async def _check_and_stop(self) -> None:
        if self.check:
            # Another process reads the configuration: modules that it imports may have changed, and it may block.
            command, thread = [sys.executable, *self.check], JobThread(self.reactor, "check before a restart")
            check = partial(run, command, seconds=_CHECK_SECONDS, env=self.variables, directory=self._directory)
            checking = thread.run(check)
            thread.stop()
            try:
                await checking
            except ProgramError as error:
                _, found, problem = error.output.rpartition("errklein: ")
                raise CannotRestart(problem.strip() if found else f"the check failed: {error}") from error
        try:
            self.reactor.stop()
        except ReactorNotRunning:
            # The reactor is stopping already, with or without a restart.
            return
        self.restart_requested = True
        self.reactor.addSystemEventTrigger("after", "shutdown", self._restart)

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
        environment = {**os.environ, **self.variables, RESTARTED: "1"}
        os.execve(self._arguments[0], self._arguments, environment)  # noqa: S606  the process's own command line


def remove_stale_pid_file(path: Path) -> None:
    """Remove the pid file if its process has ended and another one has its id; twistd removes one whose id nobody has. A
    process that was killed leaves its file, and in a container, the next one has the same id. See proc_pid_stat(5)."""
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
