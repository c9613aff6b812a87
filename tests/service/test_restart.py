"""!restart: the process runs the same command line again, after an orderly stop."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.service.process_exit import InheritedSockets
from tests import needs_network
from tests.processes import (
    LIMIT,
    TWISTD,
    Program,
    adopting_daemons,
    free_port,
    kill,
    run,
    wait_for_daemon,
    write_config,
    write_plugin,
)

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

SYSTEMD = """
import os, socket, sys
port, *command = sys.argv[1:]
listening = socket.create_server(("127.0.0.1", int(port)))
datagrams = socket.socket(type=socket.SOCK_DGRAM)
# 3 and 4 may be the numbers of these two sockets.
for number, one in enumerate((os.dup(datagrams.fileno()), os.dup(listening.fileno())), 30):
    os.dup2(one, number)
os.dup2(30, 3)
os.dup2(31, 4)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "udp:web"}
os.closerange(5, 40)
os.execv(command[0], command)
"""
"""Opens a port and a UDP socket and replaces itself by the command, as systemd does with two .socket units."""

FIRST = 500
"""A file descriptor that nothing else in the tests' process has, nor those after it."""


class ForegroundTests(SynchronousTestCase):
    """A bot in the foreground, with a conversation through a pipe."""

    def test_restart(self) -> None:
        """The plugins are deactivated, the pid file is written again, and the same process continues the conversation."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        write_config(directory, {"BACKEND": "Text", "BOT_EXTRA_PLUGIN_DIR": str(directory)})
        write_plugin(directory, "Counter", COUNTER)
        program = Program(TWISTD, "-n", "errklein", cwd=directory, stdin=subprocess.PIPE, fresh=True)
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

    def test_invalid_configuration(self) -> None:
        """With an error in config.py, a restart is refused with the error, and the bot goes on; without it, it restarts."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        write_config(directory, {"BACKEND": "Text", "BOT_EXTRA_PLUGIN_DIR": str(directory)})
        write_plugin(directory, "Counter", COUNTER)
        valid = (directory / "config.py").read_text()
        program = Program(TWISTD, "-n", "errklein", cwd=directory, stdin=subprocess.PIPE, fresh=True)
        self.addCleanup(program.kill)
        assert program.process.stdin is not None
        program.wait_for("Connected to text")
        for command, more, error in (
            ("!restart", "BOT_ADMINS = (", "The bot can't restart itself: "),
            ("!restart", "WEBHOOKS = {'A:b': {'verify': 'githb'}}", "did you mean 'github'"),
            ("!restart", "import os; os.kill(os.getpid(), 9)", "failed without output"),
            ("!again", "from missing import name", "No module named 'missing'"),
        ):
            (directory / "config.py").write_text(f"{valid}{more}\n")
            program.process.stdin.write(f"{command}\n".encode())
            program.process.stdin.flush()
            program.wait_for(error)
        (directory / "config.py").write_text(valid)
        program.process.stdin.write(b"!restart\n")
        program.process.stdin.flush()
        program.wait_for("start number 2")
        self.assertEqual(program.text.count("start number 1"), 1)


class SocketActivationTests(SynchronousTestCase):
    """A service whose sockets systemd opens."""

    def test_restart_keeps_socket(self) -> None:
        """After !restart the process has the same number and listens on the same socket."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        write_config(directory, {"BACKEND": "Text"})
        port = free_port()
        arguments = (str(port), *TWISTD, "-n", "errklein", "--web", "systemd:domain=INET:name=web")
        program = Program([sys.executable, "-c", SYSTEMD], *arguments, cwd=directory, stdin=subprocess.PIPE, fresh=True)
        self.addCleanup(program.kill)
        assert program.process.stdin is not None
        for start in (1, 2, 3):
            program.wait_for("Connected to text", times=start)
            self.assertEqual((directory / "twistd.pid").read_text(), str(program.process.pid))
            with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as client:
                client.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
                self.assertIn(b" 404 ", client.recv(100))
            program.process.stdin.write(b"!restart\n" if start < 3 else b"!shutdown --confirm\n")
            program.process.stdin.flush()
        self.assertEqual(program.wait(), 0)

    def test_order_of_sockets(self) -> None:
        """Each socket gets its old number again, and the variables that Twisted has removed are set."""
        listening = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for number, one in enumerate(listening):
            self.addCleanup(one.close)
            one.bind(self.mktemp())
            one.listen()
            self.addCleanup(os.close, os.dup2(one.fileno(), FIRST + number, inheritable=False))
        environment = {"LISTEN_FDNAMES": "web:admin"}
        sockets = InheritedSockets(environment, FIRST)
        for number in (FIRST, FIRST + 1):
            os.dup2(0, number)
        sockets.pass_on()
        self.assertEqual(
            environment, {"LISTEN_FDNAMES": "web:admin", "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}
        )
        for number, one in enumerate(listening, FIRST):
            self.assertTrue(os.path.sameopenfile(number, one.fileno()))
            self.assertTrue(os.get_inheritable(number))

    def test_other_kinds(self) -> None:
        """UDP sockets, pipes and closed descriptors don't prevent the listening socket from being passed on."""
        needs_network()
        reading, writing = os.pipe()
        with socket.socket(socket.AF_UNIX) as listening, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            listening.bind(self.mktemp())
            listening.listen()
            for number, passed in ((FIRST, reading), (FIRST + 2, datagrams.fileno()), (FIRST + 3, listening.fileno())):
                self.addCleanup(os.close, os.dup2(passed, number, inheritable=False))
            environment = {"LISTEN_FDNAMES": "pipe:closed:udp:web"}
            sockets = InheritedSockets(environment, FIRST)
            os.dup2(0, FIRST + 3)
            sockets.pass_on()
            self.assertEqual(environment["LISTEN_FDS"], "4")
            self.assertTrue(os.path.sameopenfile(FIRST + 3, listening.fileno()))
            self.assertTrue(os.path.sameopenfile(FIRST + 2, datagrams.fileno()))
            self.assertTrue(os.get_inheritable(FIRST))
        os.close(reading)
        os.close(writing)

    def test_variable_of_another_process(self) -> None:
        """A variable that a parent has left doesn't make other descriptors sockets of systemd."""
        self.addCleanup(os.close, os.dup2(0, FIRST, inheritable=False))
        environment = {"LISTEN_FDNAMES": "web"}
        InheritedSockets(environment, FIRST).pass_on()
        self.assertEqual(environment, {"LISTEN_FDNAMES": "web"})
        self.assertFalse(os.get_inheritable(FIRST))


class DaemonTests(SynchronousTestCase):
    """A daemon."""

    def test_restart(self) -> None:
        """A new daemon replaces it, with the same pid file and log file."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        write_config(directory, {"BOT_EXTRA_PLUGIN_DIR": str(directory)})
        start = 'print("start number", self["starts"])'
        once = COUNTER.replace(start, f'global_restart() if self["starts"] == 1 else {start}')
        write_plugin(directory, "Counter", once)
        with adopting_daemons():
            self.assertEqual(run(TWISTD, "errklein", cwd=directory, fresh=True).returncode, 0)
            first = int((directory / "twistd.pid").read_text())
            self.addCleanup(kill, first)
            self.assertEqual(wait_for_daemon(first), 0)
            second = int((directory / "twistd.pid").read_text())
            self.addCleanup(kill, second)
            self.assertNotEqual(first, second)
            limit = time.monotonic() + LIMIT
            while "start number 2" not in (directory / "twistd.log").read_text() and time.monotonic() < limit:
                threading.Event().wait(0.05)
            os.kill(second, 15)
            wait_for_daemon(second)
        self.assertIn("deactivated 2", (directory / "twistd.log").read_text())
