"""The end of the process: it comes when it was promised, whatever threads of plugins do."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.error import ReactorNotRunning

from errklein.running.restart import CannotRestart


class Relaunch:
    """Replaces the process by one with the same command line, once somebody has asked for it and the bot has stopped.

    `refusal` is a line that says why that can't be done here; empty if it can.
    """

    def __init__(self, reactor: Any, pid_file: Path | None = None, refusal: str = "") -> None:
        self.wanted = False
        self._reactor = reactor
        self._pid_file = pid_file
        self._refusal = refusal
        self._directory = Path.cwd()
        self._arguments = [sys.executable, *sys.orig_argv[1:]]

    def request(self) -> None:
        """Stop the reactor, and begin again after that; from any thread. Raises CannotRestart."""
        if self._refusal:
            raise CannotRestart(self._refusal)
        self._reactor.callFromThread(self._stop)

    def begin_again(self) -> None:
        """Replace the process now, if that is wanted; from any thread."""
        if not self.wanted:
            return
        # The new process would take its own number in the file for another one that runs already.
        remove_pid_file(self._pid_file)
        _flush()
        os.chdir(self._directory)
        os.execv(self._arguments[0], self._arguments)  # noqa: S606  it is our own command line

    def _stop(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            # It is being stopped, by somebody who wants no other process, or who has asked for one already.
            return
        self.wanted = True
        self._reactor.addSystemEventTrigger("after", "shutdown", self.begin_again)


def exit_signal(reactor: Any) -> int | None:
    """The signal that stopped the reactor; None if it was stopped otherwise."""
    number = getattr(reactor, "_exitSignal", None)
    return int(number) if number is not None else None


def remove_pid_file(pid_file: Path | None) -> None:
    """Remove the file if it is this process's."""
    try:
        if pid_file is not None and int(pid_file.read_text()) == os.getpid():
            pid_file.unlink()
    except (OSError, ValueError):
        return


def end_process(number: int | None, pid_file: Path | None, status: int = 0) -> None:
    """End the process now, as its signal would have done, or with the status if there was none."""
    remove_pid_file(pid_file)
    _flush()
    if number is not None:
        os.kill(os.getpid(), number)
        # The first process of a container doesn't die of a signal that it doesn't handle.
        threading.Event().wait(0.1)
        status = 128 + number
    os._exit(status)


def _flush() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()


def let_signals_end_the_process() -> None:
    """From now on SIGTERM and SIGINT mean: at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def end_after(seconds: float, end: Callable[[], None]) -> None:
    """Call `end` in a thread of its own after so many seconds, unless the process is gone by then.

    The thread needs neither the reactor nor any lock of the log: whatever is stuck, this isn't.
    """
    done = threading.Event()

    def wait() -> None:
        done.wait(seconds)
        end()

    threading.Thread(target=wait, name="errklein end", daemon=True).start()
