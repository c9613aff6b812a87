"""Blocked code is reported, and real processes end in spite of it."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
import time
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

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


class ProcessCase(SynchronousTestCase):
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


class ProcessTests(ProcessCase):
    """Real processes."""

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


class TimesTests(ProcessCase):
    """Real processes, on a machine that does nothing else."""

    def test_blocking_handler_is_named_within_a_second(self) -> None:
        """The line of `time.sleep(3)` is in the log within a second."""
        program = self.start()
        self.post("/sleeps")
        program.wait_for("a handler begins")
        begun = time.monotonic()
        program.wait_for("line 10: time.sleep(3)")
        self.assertLess(time.monotonic() - begun, 1)

    def test_regular_expression_delays_the_end_by_a_second(self) -> None:
        """SIGTERM ends the process within a second after the grace period, though a thread holds the interpreter lock."""
        for path, status, most in (("/matches", -signal.SIGTERM, 3.1), ("/matches_later", 1, 3.5)):
            program = self.start(GRACE_PERIOD=2.0)
            self.post(path)
            program.wait_for("a handler begins")
            program.signal(signal.SIGTERM)
            signalled = time.monotonic()
            self.assertEqual(program.wait(), status)
            self.assertLess(time.monotonic() - signalled, most, path)

    def test_process_ends_half_a_second_after_the_deadline(self) -> None:
        """A process whose reactor is blocked for REACTOR_DEADLINE, here 1.5 s, ends within half a second more."""
        program = self.start(REACTOR_DEADLINE=1.5)
        self.post("/sleeps")
        program.wait_for("a handler begins")
        begun = time.monotonic()
        self.assertEqual(program.wait(), 1)
        self.assertLess(time.monotonic() - begun, 2)
