"""The messages that systemd gets on NOTIFY_SOCKET."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.service.bot_service import ServiceManager
from tests.processes import LIMIT, TWISTD, Program, write_config, write_plugin

SLOW = """
from errklein import BotPlugin

class Slow(BotPlugin):
    def activate(self):
        super().activate()
        print("activated")
"""


class NotifySocketCase(SynchronousTestCase):
    """A test that is what systemd is for a service."""

    def setUp(self) -> None:
        """Open a socket for datagrams, whose path must be short."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = str(Path(directory.name) / "notify")
        self.socket = self.listen(self.path)

    def listen(self, address: str) -> socket.socket:
        """Return a socket at the address."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listening.close)
        listening.bind(address)
        listening.settimeout(LIMIT)
        return listening


class ServiceManagerTests(NotifySocketCase):
    """The messages, on a clock of the test."""

    def manager(self, address: str, **others: str) -> ServiceManager:
        """Return the manager of a process with this NOTIFY_SOCKET and other variables."""
        self.clock = Clock()
        return ServiceManager(self.clock, {"NOTIFY_SOCKET": address, **others})

    def test_start_and_stop(self) -> None:
        """systemd gets the state and the process id when the bot has started, and the state when it begins to stop."""
        manager = self.manager(self.path)
        manager.starting()
        manager.started()
        manager.stopping(restarts=False)
        received = [self.socket.recv(1000).decode().splitlines() for _ in range(3)]
        expected = [
            ["STATUS=Starting"],
            ["READY=1", f"MAINPID={os.getpid()}", "STATUS=Running"],
            ["STOPPING=1", "STATUS=Stopping"],
        ]
        self.assertEqual(received, expected)

    def test_restart(self) -> None:
        """Before a restart, the service isn't stopping for systemd, which would kill the restarted process."""
        self.manager(self.path).stopping(restarts=True)
        self.assertEqual(self.socket.recv(1000), b"STATUS=Restarting")

    def test_abstract_socket(self) -> None:
        """A NOTIFY_SOCKET that begins with @ is an abstract socket."""
        name = f"errklein test {os.getpid()}"
        abstract = self.listen(f"\0{name}")
        self.manager(f"@{name}").started()
        self.assertIn(b"READY=1", abstract.recv(1000))

    def test_watchdog(self) -> None:
        """systemd's watchdog is fed twice in its time, by the reactor."""
        manager = self.manager(self.path, WATCHDOG_USEC="4000000", WATCHDOG_PID=str(os.getpid()))
        manager.starting()
        self.clock.pump([1.9, 0.1, 2.0])
        received = [self.socket.recv(1000) for _ in range(4)]
        self.assertEqual(received, [b"STATUS=Starting", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"])

    def test_watchdog_of_another_process(self) -> None:
        """A watchdog for another process isn't fed, nor an unreadable time."""
        for others in ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {}):
            manager = self.manager(self.path, **others)
            manager.starting()
            self.assertEqual((self.socket.recv(1000), self.clock.getDelayedCalls()), (b"STATUS=Starting", []))

    def test_no_manager(self) -> None:
        """Without NOTIFY_SOCKET nothing is sent; without a listener, the bot runs nevertheless."""
        for address in ("", f"{self.path}-missing"):
            manager = self.manager(address, WATCHDOG_USEC="4000000")
            manager.started()
            manager.stopping(restarts=False)


class ProcessTests(NotifySocketCase):
    """A real process."""

    def test_started_by_systemd(self) -> None:
        """A bot reports its start after its plugins are active, feeds the watchdog, and reports its stop."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        write_config(directory, {"BOT_EXTRA_PLUGIN_DIR": str(directory)})
        write_plugin(directory, "Slow", SLOW)
        self.patch(os, "environ", {**os.environ, "NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "200000"})
        program = Program(TWISTD, "-n", "--pidfile=", "errklein", cwd=directory, fresh=True)
        self.addCleanup(program.kill)
        received = b""
        while b"READY=1" not in received:
            received = self.socket.recv(1000)
        self.assertIn(f"MAINPID={program.process.pid}\n".encode(), received)
        program.wait_for("activated")
        self.assertEqual(self.socket.recv(1000), b"WATCHDOG=1")
        program.signal(signal.SIGTERM)
        while received == b"WATCHDOG=1" or b"READY=1" in received:
            received = self.socket.recv(1000)
        self.assertIn(b"STOPPING=1", received)
