"""Pid files of processes that were killed, and the restart of a process that lost its ownership."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from unittest import mock

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from errklein.service import process_exit as module
from errklein.service._supervision import SIGNALS
from errklein.service.process_exit import ProcessExit, remove_stale_pid_file


class StalePidFileTests(SynchronousTestCase):
    """A pid file at the start of a process."""

    def removed(self, text: str, age: float = 0.0) -> bool:
        """Return whether a pid file with this text is removed that was written `age` seconds ago."""
        path = Path(self.mktemp())
        path.write_text(text)
        os.utime(path, times=(time.time() - age,) * 2)
        remove_stale_pid_file(path)
        return not path.exists()

    def test_pid_of_another_process(self) -> None:
        """A file that is older than the process with its id is removed: in a container, ids are the same after each start."""
        self.assertTrue(self.removed(f"{os.getpid()}\n", age=86400 * 365))

    def test_running_process(self) -> None:
        """The file of a running process stays."""
        self.assertFalse(self.removed(str(os.getpid())))

    def test_other_files(self) -> None:
        """A file with an id that nobody has, or with other text, is left to twistd."""
        for text in ("99999999", "", "pid", "-1"):
            self.assertFalse(self.removed(text, age=86400 * 365), text)

    def test_missing_file(self) -> None:
        """A missing file is no error."""
        remove_stale_pid_file(Path(self.mktemp()))


class SecondSignalTests(SynchronousTestCase):
    """Signals that reach a process while it stops."""

    def test_same_signal(self) -> None:
        """A signal that arrives once more within a second is the same one, and a later one ends the process at once."""
        for number in SIGNALS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.patch(threading, "Timer", mock.Mock())
        process_exit = ProcessExit(MemoryReactorClock())
        ended: list[tuple[int, int]] = []
        self.patch(process_exit, "now", lambda *given: ended.append(given))
        self.patch(module, "monotonic", lambda: self.now)
        for begun, again, kind in ((5.0, 5.9, signal.SIGTERM), (5.0, 6.1, signal.SIGINT)):
            self.now = begun
            process_exit.within(10.0, signal.SIGTERM)
            self.now = again
            os.kill(os.getpid(), kind)
            # The reactor has stopped, too.
            process_exit.within(10.0, signal.SIGTERM)
        self.assertEqual(ended, [(1, signal.SIGINT)])


class Ended(Exception):
    """The process has ended, or was replaced, as a test simulates it."""


class RestartAtOnceTests(SynchronousTestCase):
    """A restart that lets nothing else run in the process."""

    def test_at_once(self) -> None:
        """The process is replaced in the call, without a stop of the reactor; if that fails, it ends."""
        calls: list[str] = []

        def execute(program: str, *_: object) -> None:
            calls.append(program)
            raise OSError("gone")

        def end(status: int) -> None:
            raise Ended(status)

        self.patch(os, "execve", execute)
        self.patch(os, "_exit", end)
        process_exit = ProcessExit(MemoryReactorClock(), check=["-c", "never run"])
        self.assertRaises(Ended, process_exit.request_restart, at_once=True)
        self.assertEqual((calls, process_exit.restart_requested), ([sys.executable], False))
