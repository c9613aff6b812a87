"""Tests for the supervisor of several processes on one machine."""

from __future__ import annotations

import errno
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import which
from typing import Any
from unittest import SkipTest, mock

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated, ReactorNotRunning
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from errklein.config import ConfigError
from errklein.listening import SOCKETS, Listeners
from errklein.logs import destinations
from errklein.service._supervision import SIGNALS
from errklein.service.processes import Processes, open_sockets
from tests import needs_network
from tests.processes import ERRKLEIN, Program, write_config, write_plugin
from tests.service.test_service_manager import NotifySocketCase

ENDPOINT = "tcp:0:interface=127.0.0.1"


class Process:
    """A process of the supervisor."""

    def __init__(
        self, protocol: Any, command: Sequence[str], env: Mapping[str, str], shared: Mapping[int, int]
    ) -> None:
        self.protocol, self.command, self.env, self.shared = protocol, command, env, shared
        self.signals: list[str] = []
        self.has_ended = False

    def signalProcess(self, name: str) -> None:
        """Keep the signal."""
        self.signals.append(name)

    def end(self, status: int = 1) -> None:
        """End."""
        self.has_ended = True
        self.protocol.processEnded(Failure(ProcessTerminated(status) if status else ProcessDone(0)))


class Starter(Clock):
    """A reactor that starts no processes."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[Process] = []
        self.refusal: OSError | None = None  # the reason why no process can be started
        self.has_stopped = False
        self.ends_at_once = False  # whether a process has ended before Twisted returns it

    def spawnProcess(self, protocol: Any, program: str, command: Sequence[str], env: Any, childFDs: Any) -> Process:
        """Keep what is started."""
        assert program == command[0]
        if self.refusal is not None:
            raise self.refusal
        self.started.append(process := Process(protocol, command, env, childFDs))
        protocol.makeConnection(process)
        if self.ends_at_once:
            process.end()
        return process

    def callWhenRunning(self, function: Any) -> None:
        """Call it at once."""
        function()

    def stop(self) -> None:
        """Stop once."""
        if self.has_stopped:
            raise ReactorNotRunning
        self.has_stopped = True

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        """Call it at once."""
        function(*arguments)


class ProcessesTests(SynchronousTestCase):
    """A supervisor with a chat process and two others."""

    def setUp(self) -> None:
        """Start it."""
        needs_network()
        self.stops: list[int] = []
        for number in (signal.SIGHUP, *SIGNALS):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        for number in SIGNALS:
            signal.signal(number, lambda number, _: self.stops.append(number))
        self.reactor = Starter()
        environment = {"PATH": "/bin", "NOTIFY_SOCKET": "/nowhere"}
        arguments = ["--config", "c.py"]
        self.processes = Processes(self.reactor, 2, arguments, open_sockets([ENDPOINT]), environment, 10.0)
        with mock.patch("errklein.service.bot_service.ServiceManager._notify") as self.notified:
            self.processes.startService()
        self.chat, *self.workers = self.reactor.started
        self.addCleanup(self.end_all)

    def end_all(self) -> None:
        """Let the supervisor close its sockets."""
        if self.processes.running:
            self.stop()
        for process in self.reactor.started:
            if not process.has_ended:
                process.end()

    def stop(self) -> Deferred[None]:
        """Stop it."""
        with mock.patch("errklein.service.bot_service.ServiceManager._notify"):
            return self.processes.stopService()

    def test_commands(self) -> None:
        """One process has the role chat, and answers the others. These share the sockets, and serve neither status nor console."""
        setpriv = which("setpriv")
        with_this = [setpriv, "--pdeathsig", "TERM"] if setpriv else []
        run = [*with_this, sys.executable, "-m", "errklein", "run", "--config", "c.py"]
        self.assertEqual(self.chat.command, [*run, "--role", "chat", "--node", ENDPOINT])
        others = [*run, "--role", "intake,worker", "--status", "", "--console", ""]
        self.assertEqual([one.command for one in self.workers], [others, others])
        [(endpoint, number)] = json.loads(self.chat.env[SOCKETS]).items()
        self.assertEqual((endpoint, set(self.workers[0].shared)), (ENDPOINT, {0, 1, 2, number}))
        with socket.socket(fileno=os.dup(number)) as shared:
            self.assertTrue(shared.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        self.assertNotIn("NOTIFY_SOCKET", self.chat.env)
        self.assertTrue(self.notified.called)

    def test_other_machines(self) -> None:
        """An endpoint that other machines reach is that of the process that may own."""
        reactor = Starter()
        processes = Processes(reactor, 1, [], {}, {}, 10.0, "tcp:3143:interface=10.0.0.11")
        processes.startService()
        chat, worker = reactor.started
        self.assertEqual(chat.command[-2:], ["--node", "tcp:3143:interface=10.0.0.11"])
        self.assertNotIn("--node", worker.command)
        ended = processes.stopService()
        chat.end()
        worker.end()
        self.successResultOf(ended)

    def test_no_endpoint(self) -> None:
        """Without an endpoint for webhooks, a warning names the option."""
        reactor = Starter()
        processes = Processes(reactor, 1, [], {}, {}, 10.0)
        with capturedLogs() as events:
            processes.startService()
        for process in reactor.started:
            process.end()
        self.successResultOf(processes.stopService())
        self.assertIn("neither --web nor WEB names an endpoint", formatEvent(events[0]))

    def test_started_again(self) -> None:
        """A process that has ended is started again: after a long run soon, after short ones later and later."""
        self.workers[0].end()
        self.reactor.advance(0.5)
        self.assertEqual(self.reactor.started[-1].command, self.workers[0].command)
        for wait in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
            number = len(self.reactor.started)
            self.reactor.started[-1].end(0)
            self.reactor.advance(wait - 0.1)
            self.assertEqual(len(self.reactor.started), number, wait)
            self.reactor.advance(0.1)
            self.assertEqual(len(self.reactor.started), number + 1, wait)
        self.reactor.advance(60)
        self.reactor.started[-1].end()
        self.reactor.advance(0.5)
        self.assertEqual(len(self.reactor.started), number + 2)

    def test_shutdown(self) -> None:
        """When the process for the chat ends as after `!shutdown`, all end. A crash of it doesn't stop the others."""
        for status, stops in ((1, False), (0, True)):
            process = next(one for one in reversed(self.reactor.started) if one.command == self.chat.command)
            process.end(status)
            self.assertEqual(self.reactor.has_stopped, stops)
            number = len(self.reactor.started)
            self.reactor.advance(10.0)
            self.assertEqual(len(self.reactor.started) > number, not stops)
        stopped = self.stop()
        self.assertEqual([one.signals for one in self.workers], [["TERM"], ["TERM"]])
        for worker in self.workers:
            worker.end()
        self.successResultOf(stopped)

    def test_second_signal(self) -> None:
        """The first signal stops the supervisor; another one reaches the processes, which decide whether it is the same."""
        os.kill(os.getpid(), signal.SIGTERM)
        self.assertEqual((self.stops, self.chat.signals), ([signal.SIGTERM], []))
        self.stop()
        os.kill(os.getpid(), signal.SIGINT)
        self.assertEqual((self.stops, self.chat.signals), ([signal.SIGTERM], ["TERM", "TERM"]))

    def test_no_memory(self) -> None:
        """A process that the system can't start is tried again, later and later, and the log has the remedy."""
        self.workers[0].end()
        self.reactor.refusal = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        with capturedLogs() as events:
            self.reactor.advance(0.5)
            self.reactor.advance(1.0)
        lines = [formatEvent(event) for event in events]
        remedy = "raise the limit of processes (`ulimit -u`, and TasksMax= of systemd), or free memory"
        self.assertEqual(
            lines,
            [
                f"The process worker 1 is started again in {wait} s: {os.strerror(errno.EAGAIN)}; {remedy}"
                for wait in (1.0, 2.0)
            ],
        )
        self.reactor.refusal = None
        self.reactor.advance(2.0)
        self.assertEqual(self.reactor.started[-1].command, self.workers[0].command)

    def test_stopped_before_a_start(self) -> None:
        """A stop doesn't wait for a process that would be started later, also if it has ended at once."""
        for process in (self.chat, *self.workers):
            process.end()
        self.reactor.ends_at_once = True
        self.reactor.advance(0.5)
        self.successResultOf(self.stop())
        self.assertEqual((len(self.reactor.started), self.reactor.getDelayedCalls()), (6, []))

    def test_stopped(self) -> None:
        """A stop ends all processes, and waits for them; none is started again. One that doesn't end is killed."""
        self.workers[0].end()
        stopped = self.stop()
        self.assertEqual([one.signals for one in (self.chat, self.workers[1])], [["TERM"], ["TERM"]])
        self.chat.end(0)
        self.reactor.advance(11.9)
        self.assertNoResult(stopped)
        self.assertEqual(self.workers[1].signals, ["TERM"])
        self.reactor.advance(0.2)
        self.assertEqual(self.workers[1].signals, ["TERM", "KILL"])
        self.workers[1].end()
        self.successResultOf(stopped)
        self.assertEqual((len(self.reactor.started), self.reactor.getDelayedCalls()), (3, []))

    def test_signal(self) -> None:
        """SIGHUP reaches all processes, and the supervisor reopens its own log files."""
        reopened: list[bool] = []
        self.patch(destinations, "reopen", lambda: reopened.append(True))
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(reopened, [True])
        self.assertEqual([one.signals for one in self.reactor.started], [["HUP"]] * 3)


class OpenSocketsTests(SynchronousTestCase):
    """Ports that processes share."""

    def opened(self, endpoint: str) -> socket.socket:
        """Return the socket of an endpoint, open until the end of the test."""
        needs_network()
        [opened] = open_sockets([endpoint]).values()
        self.addCleanup(opened.close)
        return opened

    def test_port_in_use(self) -> None:
        """A port that another program uses prevents the start, with the remedy."""
        port = self.opened(ENDPOINT).getsockname()[1]
        error = self.assertRaises(ConfigError, open_sockets, [f"tcp:{port}:interface=127.0.0.1"])
        self.assertIn("is in use by another program", str(error))

    def test_kinds(self) -> None:
        """Only sockets with TCP are shared."""
        for endpoint in ("tcp:0", "tls:/certificates:0", "ssl:port=0", "haproxy:tcp:0"):
            self.opened(endpoint)
        for endpoint in ("unix:/run/errklein.sock", "systemd:domain=INET:index=0"):
            self.assertRaises(ConfigError, open_sockets, [endpoint])


class SharedSocketTests(TestCase):
    """Processes that listen on a socket that a supervisor has opened."""

    async def test_shared(self) -> None:
        """Both listen on the same port, and one goes on when the other one has stopped."""
        from twisted.internet import reactor

        needs_network()
        [opened] = open_sockets([ENDPOINT]).values()
        self.addCleanup(opened.close)
        self.patch(os, "environ", {**os.environ, SOCKETS: json.dumps({ENDPOINT: opened.fileno()})})
        connected: Deferred[None] = Deferred()

        class Accepted(Protocol):
            def connectionMade(self) -> None:
                connected.callback(None)
                self.transport.loseConnection()

        first, second = (Listeners(reactor, Factory.forProtocol(Accepted)) for _ in range(2))
        await first.open(ENDPOINT)
        await second.open(ENDPOINT)
        host, port = opened.getsockname()
        self.assertEqual([one.address(ENDPOINT) for one in (first, second)], [f"{host}:{port}"] * 2)
        await first.close_all()
        with socket.create_connection((host, port)):
            await connected
        await second.close_all()


POLITE = """
from errklein import BotPlugin

class Polite(BotPlugin):
    def deactivate(self):
        super().deactivate()
        print("deactivated")
"""


class KeyboardTests(SynchronousTestCase):
    """Ctrl-C in a terminal, which sends SIGINT to the supervisor and to its processes."""

    def test_stops_in_order(self) -> None:
        """A process waits for the SIGTERM of its supervisor, which would be the second signal, and end it at once."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        write_config(directory, {"BOT_EXTRA_PLUGIN_DIR": str(directory)})
        write_plugin(directory, "Polite", POLITE)
        self.patch(os, "environ", {**os.environ, SOCKETS: "{}"})
        program = Program(ERRKLEIN, "run", cwd=directory, fresh=True)
        self.addCleanup(program.kill)
        program.wait_for("Connected to")
        for number in (signal.SIGINT, signal.SIGTERM):
            program.signal(number)
        self.assertEqual(program.wait(), -signal.SIGTERM)
        self.assertIn("deactivated", program.text)


SUPERVISOR = """
import os, sys
from twisted.internet import reactor
from errklein.service import processes

supervisor = processes.Processes(reactor, 1, [], {}, os.environ, 1.0)
reactor.callWhenRunning(supervisor.startService)
reactor.addSystemEventTrigger("before", "shutdown", supervisor.stopService)
reactor.run()
"""

PROGRAM = """#!/bin/sh
echo $$
exec sleep 60
"""


class RealProcessesTests(NotifySocketCase):
    """A supervisor of real processes, which do nothing."""

    def start(self, stdin: int = subprocess.DEVNULL) -> Program:
        """Start the supervisor, and wait for its processes."""
        program = Path(self.mktemp()).absolute()
        program.write_text(PROGRAM)
        program.chmod(0o755)
        executable = f"import sys; sys.executable = {str(program)!r}"
        supervisor = Program([sys.executable, "-c", executable + SUPERVISOR], cwd=Path.cwd(), stdin=stdin, fresh=True)
        self.addCleanup(supervisor.kill)
        supervisor.wait_for("\n", 2)
        return supervisor

    def test_takes_its_processes_along(self) -> None:
        """If the supervisor is killed with SIGKILL, its processes are stopped, since they would keep the ports."""
        if which("setpriv") is None:
            raise SkipTest("setpriv of util-linux is missing")
        supervisor = self.start()
        supervisor.signal(signal.SIGKILL)
        # The end of its output is that of the last process that has the pipe.
        self.assertEqual(supervisor.wait(), -signal.SIGKILL)
        self.assertEqual(supervisor.text.count("\n"), 2)

    def test_closed_terminal(self) -> None:
        """SIGHUP stops all if the terminal has closed, and nothing is started again."""
        other_end, terminal = pty.openpty()
        supervisor = self.start(terminal)
        os.close(terminal)
        os.close(other_end)
        supervisor.signal(signal.SIGHUP)
        self.assertEqual(supervisor.wait(), 0)
        self.assertEqual(supervisor.text.count("\n"), 2)

    def test_watchdog(self) -> None:
        """The supervisor feeds systemd's watchdog from its start until its processes have ended."""
        self.patch(os, "environ", {**os.environ, "NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "200000"})
        supervisor = self.start()
        pid = supervisor.process.pid
        received = [self.socket.recv(1000).decode() for _ in range(5)]
        ready = f"READY=1\nMAINPID={pid}\nSTATUS=Running"
        self.assertEqual(received, ["STATUS=Starting", "WATCHDOG=1", ready, "WATCHDOG=1", "WATCHDOG=1"])
        supervisor.signal(signal.SIGTERM)
        while received[-1] == "WATCHDOG=1":
            received.append(self.socket.recv(1000).decode())
        self.assertEqual(received[-1], "STOPPING=1\nSTATUS=Stopping")
        supervisor.wait()
