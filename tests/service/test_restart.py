"""A process that begins again: with the same command line and number, after everything has ended in order."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.running.restart import CannotRestart
from errklein.service.process_exit import ProcessExit
from errklein.service.twistd_options import TwistdOptions
from errklein.testing._reactor import TestReactor
from tests.processes import TWISTD, Program, adopting_daemons, kill, run, wait_for_daemon, write_config, write_plugin

COUNTER = """
from errbot import BotPlugin, botcmd
from errbot.utils import global_restart

class Counter(BotPlugin):
    def activate(self):
        super().activate()
        self["starts"] = self.get("starts", 0) + 1
        print("start number", self["starts"])

    def deactivate(self):
        print("deactivated", self["starts"])
        super().deactivate()

    @botcmd
    def again(self, msg, args):
        global_restart()
"""


class ForegroundTests(SynchronousTestCase):
    """A bot that somebody talks with through a pipe."""

    def test_restart(self) -> None:
        """The plugins are deactivated, the pid file is written anew, and the same process goes on with the pipe."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        write_config(directory, {"BACKEND": "Text", "BOT_EXTRA_PLUGIN_DIR": str(directory)})
        write_plugin(directory, "Counter", COUNTER)
        program = Program(TWISTD, "-n", "errklein", cwd=directory, stdin=subprocess.PIPE)
        self.addCleanup(program.kill)
        assert program.process.stdin is not None
        for command, start in (("!restart", 1), ("!again", 2)):
            program.wait_for(f"start number {start}")
            program.wait_for("Connected to text", times=start)
            self.assertEqual((directory / "twistd.pid").read_text(), str(program.process.pid))
            program.process.stdin.write(f"{command}\n".encode())
            program.process.stdin.flush()
            program.wait_for(f"deactivated {start}")
        program.wait_for("start number 3")
        self.assertIn("Restarting.", program.text)
        program.wait_for("Connected to text", times=3)
        program.process.stdin.write(b"!echo still here\n!shutdown --confirm\n")
        program.process.stdin.flush()
        program.wait_for("still here")
        self.assertEqual(program.wait(), 0)
        self.assertFalse((directory / "twistd.pid").exists())


class DaemonTests(SynchronousTestCase):
    """A daemon."""

    def test_restart(self) -> None:
        """Another daemon takes its place, with a pid file and a log of the same name."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        write_config(directory, {"BOT_EXTRA_PLUGIN_DIR": str(directory)})
        once = COUNTER.replace('print("start number", self["starts"])', 'self["starts"] == 1 and global_restart()')
        write_plugin(directory, "Counter", once)
        with adopting_daemons():
            self.assertEqual(run(TWISTD, "errklein", cwd=directory).returncode, 0)
            first = int((directory / "twistd.pid").read_text())
            self.addCleanup(kill, first)
            self.assertEqual(wait_for_daemon(first), 0)
            second = int((directory / "twistd.pid").read_text())
            self.addCleanup(kill, second)
            self.assertNotEqual(first, second)
            os.kill(second, 15)
            wait_for_daemon(second)
        self.assertIn("deactivated 2", (directory / "twistd.log").read_text())


class RefusalTests(SynchronousTestCase):
    """Where a process can't replace itself."""

    def test_reasons(self) -> None:
        """Rights and sockets that it was given are not there a second time."""
        options = TwistdOptions()
        self.assertEqual(options.why_no_restart(["tcp:80"]), "")
        self.assertIn("another user", TwistdOptions(uid=1000).why_no_restart([]))
        self.assertIn("systemctl restart", options.why_no_restart(["tcp:80", "systemd:domain=INET:index=0"]))

    def test_nothing_happens(self) -> None:
        """The reactor goes on."""
        reactor = TestReactor()
        process_exit = ProcessExit(reactor, why_no_restart="no")
        self.assertRaises(CannotRestart, process_exit.request_restart)
        self.assertFalse(reactor.hasStopped)
        self.assertFalse(process_exit.restart_requested)
