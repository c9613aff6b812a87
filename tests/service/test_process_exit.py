"""Pid files of processes that were killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.service.process_exit import remove_stale_pid_file


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
