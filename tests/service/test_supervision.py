"""Supervision: the deadline of the reactor, and tracebacks of an earlier process."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from errklein.listening import SOCKETS
from errklein.service import reactor_deadline
from errklein.service._supervision import TracebackFile, line_in_tracebacks
from tests.processes import LIMIT


class DeadlineTests(SynchronousTestCase):
    """The default of REACTOR_DEADLINE."""

    def test_default(self) -> None:
        """Under systemd, the process ends one second after the grace period; otherwise, or with 0, never."""
        self.assertEqual(reactor_deadline(None, 10.0, {"NOTIFY_SOCKET": "/run/systemd/notify"}), 11)
        self.assertEqual(reactor_deadline(None, 10.0, {SOCKETS: "{}"}), 11)
        self.assertEqual(reactor_deadline(None, 10.0, {}), 0)
        self.assertEqual(reactor_deadline(0.0, 10.0, {"NOTIFY_SOCKET": "/run/systemd/notify"}), 0)
        self.assertEqual(reactor_deadline(3.0, 10.0, {}), 3)


class TracebackTests(SynchronousTestCase):
    """Tracebacks that a process has left."""

    def test_line_of_a_plugin(self) -> None:
        """The innermost line that is neither a library's nor errklein's is found, in the main thread first."""
        library = Path(sysconfig.get_path("purelib")) / "requests" / "api.py"
        text = (
            'Thread 0x01 (most recent call first):\n  File "/srv/other.py", line 3 in wait\n\n'
            f'Thread 0x02 (most recent call first):\n  File "<frozen x>", line 3 in x\n  File "{library}", line 5 in get\n'
            '  File "/srv/deploy.py", line 12 in status\n  File "/srv/deploy.py", line 80 in outer\n'
        )
        self.assertEqual(line_in_tracebacks(text), "/srv/deploy.py, line 12")
        self.assertEqual(line_in_tracebacks(text.partition("Thread 0x02")[0]), "/srv/other.py, line 3")
        self.assertEqual(line_in_tracebacks(""), "")

    def test_clean_start(self) -> None:
        """Without tracebacks of an earlier process, nothing is kept."""
        directory = Path(self.mktemp())
        directory.mkdir()
        tracebacks = TracebackFile(directory / "traceback.txt")
        self.assertEqual(tracebacks.open(), "")
        self.assertFalse(tracebacks.kept.exists())

    def test_unwritable_directory(self) -> None:
        """If the file can't be written, for instance since the disk is full, the process ends without it."""
        path = Path(self.mktemp()) / "missing" / "traceback.txt"
        script = f"""
            import time
            from pathlib import Path
            from errklein.service._supervision import TracebackFile
            tracebacks = TracebackFile(Path({str(path)!r}))
            tracebacks.open()
            tracebacks.end_after(0.1)
            time.sleep(60)
        """
        command = [sys.executable, "-c", dedent(script)]
        ended = subprocess.run(command, capture_output=True, check=False, timeout=LIMIT, text=True)
        self.assertEqual((ended.returncode, ended.stdout), (1, ""), ended.stderr)

    def test_symbolic_link(self) -> None:
        """A link in place of the file isn't followed, so no other file is changed."""
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory / "traceback.txt"
        path.symlink_to("other.txt")
        TracebackFile(path).open()
        self.assertFalse((directory / "other.txt").exists())
