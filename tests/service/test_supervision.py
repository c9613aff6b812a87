"""Supervision: real processes whose plugins block the reactor or hold the interpreter lock."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from errklein.service import reactor_deadline
from errklein.service._supervision import TracebackFile
from errklein.service._watchdog import line_in_tracebacks
from tests import needs_network
from tests.processes import LIMIT, TWISTD, Program, free_port, write_config, write_plugin

PLUGIN = """
    import re
    import time
    from errklein import BotPlugin, webhook

    class Blocking(BotPlugin):
        @webhook
        async def sleeps(self, request):
            print("a handler begins")
            time.sleep(3)

        @webhook
        def matches(self, request):
            print("a handler begins")
            re.match("(a|aa)+$", "a" * 60 + "b")

        @webhook
        def matches_later(self, request):
            print("a handler begins")
            time.sleep(1)
            re.match("(a|aa)+$", "a" * 60 + "b")

        @webhook
        def quick(self, request):
            return "done"
"""


def computing_time(process: int) -> float:
    """Return the seconds for which a process has computed."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ProcessTests(SynchronousTestCase):
    """Real processes."""

    timeout = 240

    def start(self, **settings: object) -> Program:
        """Start a bot with the plugin."""
        needs_network()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        write_plugin(self.directory / "plugins", "Blocking", dedent(PLUGIN))
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory / "plugins"), **settings})
        self.port = free_port()
        return self.run_bot()

    def run_bot(self) -> Program:
        """Run the bot, and wait until it has started."""
        program = Program(
            TWISTD, "-n", "errklein", "--web", f"tcp:{self.port}:interface=127.0.0.1", cwd=self.directory, fresh=True
        )
        self.addCleanup(program.kill)
        program.wait_for("Connected to null")
        return program

    def post(self, path: str) -> None:
        """Post to a webhook in a thread, and don't wait for the response."""

        def post() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("POST", path, "x")
                connection.getresponse().read()
            connection.close()

        thread = threading.Thread(target=post)
        thread.start()
        self.addCleanup(thread.join)

    def wait_until_lock_is_held(self, program: Program) -> None:
        """Wait until the regular expression holds the interpreter lock: the process computes, but doesn't respond."""
        computed = 0.0
        while computed < 0.5:
            before = computing_time(program.process.pid)
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
            try:
                connection.request("POST", "/quick", "x")
                connection.getresponse().read()
            except TimeoutError:
                # A process that has only waited for the processor hasn't computed.
                computed = computing_time(program.process.pid) - before
            connection.close()

    def test_blocking_handler_is_named(self) -> None:
        """The line of `time.sleep(3)` is in the log while it sleeps, and administrators are notified after it."""
        program = self.start()
        self.post("/sleeps")
        program.wait_for("a handler begins")
        program.wait_for("line 10: time.sleep(3)")
        self.assertNotIn("The reactor was blocked for ", program.text)
        self.assertIn("by Blocking.sleeps (plugin Blocking)", program.text)
        self.post("/quick")
        program.wait_for("Notifying administrators: The reactor was blocked for ")
        # The request that waited has a time of more than a second.
        program.wait_for('"POST /quick" 200')
        self.assertRegex(program.text, r'"POST /quick" 200 4 [12]\.')

    def test_regular_expression_does_not_prevent_the_end(self) -> None:
        """SIGTERM ends the process in time even if a regular expression in a thread holds the interpreter lock."""
        program = self.start(GRACE_PERIOD=2.0)
        self.post("/matches")
        self.wait_until_lock_is_held(program)
        program.signal(signal.SIGTERM)
        # The expression would match for hours.
        self.assertEqual(program.process.wait(LIMIT), -signal.SIGTERM)

    def test_process_that_has_hung_for_long_ends_at_once(self) -> None:
        """If the lock is held for longer than the grace period already, SIGTERM ends the process at once; nothing else does."""
        program = self.start(GRACE_PERIOD=0.5)
        self.post("/matches")
        self.wait_until_lock_is_held(program)
        # The kernel's timer has to expire without an end of the process.
        threading.Event().wait(3)
        self.assertIsNone(program.process.poll())
        program.signal(signal.SIGTERM)
        self.assertEqual(program.process.wait(LIMIT), -signal.SIGTERM)

    def test_regular_expression_while_stopping(self) -> None:
        """A thread that takes the interpreter lock during the stop doesn't delay the end; the next start reports its line."""
        program = self.start(GRACE_PERIOD=2.0)
        self.post("/matches_later")
        program.wait_for("a handler begins")
        program.signal(signal.SIGTERM)
        self.assertEqual(program.wait(), 1)
        self.run_bot().wait_for("blocking.py, line 2")

    def test_stopped_process_goes_on(self) -> None:
        """A process that was stopped with SIGSTOP for longer than the grace period goes on, and ends in order later."""
        program = self.start(GRACE_PERIOD=0.5)
        program.signal(signal.SIGSTOP)
        threading.Event().wait(2.5)
        program.signal(signal.SIGCONT)
        self.post("/quick")
        program.wait_for('"POST /quick" 200')
        program.signal(signal.SIGTERM)
        self.assertEqual(program.wait(), -signal.SIGTERM)
        self.assertIn("Server Shut Down", program.text)
        self.assertNotRegex(program.text, "reactor (was|has been) blocked|No Python code could run")

    def test_process_ends_at_the_reactor_deadline(self) -> None:
        """A process whose reactor is blocked for REACTOR_DEADLINE ends with status 1. The next start reports the line."""
        program = self.start(REACTOR_DEADLINE=1.5)
        self.post("/sleeps")
        program.wait_for("a handler begins")
        self.assertEqual(program.wait(), 1)
        file = self.directory / "data" / "traceback.txt"
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        restarted = self.run_bot()
        restarted.wait_for("blocking.py, line 10. ")
        self.assertIn("Notifying administrators: The previous process of the bot was ended", restarted.text)
        self.assertEqual(file.read_text(), "")
        self.assertIn("blocking.py", file.with_name("traceback.1.txt").read_text())


class DeadlineTests(SynchronousTestCase):
    """The default of REACTOR_DEADLINE."""

    def test_default(self) -> None:
        """Under systemd, the process ends one second after the grace period; otherwise, or with 0, never."""
        self.assertEqual(reactor_deadline(None, 10.0, {"NOTIFY_SOCKET": "/run/systemd/notify"}), 11)
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
