"""Several processes of one bot on one machine: a supervisor opens the ports, and starts the processes, which share them."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from shutil import which
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ReactorNotRunning
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.config import ConfigError
from errklein.listening import SOCKETS, listen_problem, shared_address
from errklein.logs import destinations
from errklein.ports.nodes import CHAT, INTAKE, WORKER
from errklein.running import cancel_timers
from errklein.service._supervision import SIGNALS
from errklein.service.bot_service import ServiceManager, is_terminal

_BACKLOG = 1024  # the number of connections that wait while no process accepts them; the system has a limit of its own
_BETWEEN_NODES = "tcp:0:interface=127.0.0.1"
_SHORTEST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # the seconds before another start; they double while a process ends early
_LONG = 10.0  # the seconds after which a process hasn't ended early


@dataclass(eq=False)
class _Process(ProcessProtocol):
    """One of the processes, which is started again and again. It has a transport while it runs."""

    supervisor: Processes
    name: str
    command: Sequence[str]
    begun: float = 0.0
    wait: float = 0.0  # the seconds before it was last started again
    timer: IDelayedCall | None = None

    def processEnded(self, reason: Failure) -> None:
        self.transport = None
        if self.name == CHAT and reason.check(ProcessDone):  # as after `!shutdown`
            self.supervisor.stop()
        self.supervisor.ended(self, reason.getErrorMessage())


class Processes(Service):
    """Runs a process with the role chat, and `count` ones with the roles intake and worker, and starts each again when it
    has ended. The latter accept connections to the same sockets, so none is refused while one of them is started again.

    `arguments` are those of `errklein run` for each process, `sockets` those of the web server by their endpoints, `environment`
    that of the processes, `grace` the seconds in which they stop, and `node` the endpoint that the owner has for other
    processes, by default one that only those of this machine reach."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        count: int,
        arguments: Sequence[str],
        sockets: Mapping[str, socket.socket],
        environment: Mapping[str, str],
        grace: float,
        node: str | None = None,
    ) -> None:
        self._reactor, self._sockets, self._grace = reactor, sockets, grace
        numbers = {endpoint: one.fileno() for endpoint, one in sockets.items()}
        self._environment = {**environment, SOCKETS: json.dumps(numbers)}
        self._environment.pop("NOTIFY_SOCKET", None)
        # The output is this process's.
        self._shared = {number: number for number in (0, 1, 2, *numbers.values())}
        self._manager = ServiceManager(reactor, environment)
        # If this process is killed, Linux stops the others, which would keep the ports.
        setpriv = which("setpriv")
        with_this = [setpriv, "--pdeathsig", "TERM"] if setpriv else []
        run = [*with_this, sys.executable, "-m", "errklein", "run", *arguments]
        worker = [*run, "--role", f"{INTAKE},{WORKER}", "--status", "", "--console", ""]
        chat = _Process(self, CHAT, [*run, "--role", CHAT, "--node", node or _BETWEEN_NODES])
        self._processes = [chat, *(_Process(self, f"{WORKER} {number}", worker) for number in range(1, count + 1))]
        self._all_ended: Deferred[None] | None = None
        self._is_stopping = False

    def startService(self) -> None:
        """Start the processes. Called by twistd."""
        Service.startService(self)
        self._manager.starting()
        self._on_terminal = is_terminal()
        self._reactor.callWhenRunning(self._watch_signals)
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hang_up))
        if not self._sockets:
            self.log.warn("--processes: no process receives webhooks, since neither --web nor WEB names an endpoint")
        for process in self._processes:
            self._start(process)
        self._manager.started()

    def stopService(self) -> Deferred[None]:
        """Stop the processes; fires when all have ended. Called by twistd."""
        Service.stopService(self)
        self._manager.stopping(restarts=False)
        self._is_stopping, self._all_ended = True, Deferred()
        cancel_timers(*(process.timer for process in self._processes))
        self._kill = self._reactor.callLater(self._grace + 2.0, self.signal, "KILL")
        self.signal("TERM")
        self._end_when_empty()
        return self._all_ended

    def _hang_up(self) -> None:
        """Let all processes reopen log files and read certificates again. If their terminal has closed, stop them instead."""
        if self._on_terminal and not is_terminal():
            self.stop()
            return
        destinations.reopen()
        self.signal("HUP")

    def _watch_signals(self) -> None:
        for number in SIGNALS:
            if callable(handler := signal.getsignal(number)):
                signal.signal(number, partial(self._signalled, handler))

    def _signalled(self, stop: Callable[..., Any], *arguments: Any) -> None:
        """Stop after the first signal. The processes get later ones, which end them at once."""
        if self._is_stopping:
            self._reactor.callFromThread(self.signal, "TERM")
            return
        self._is_stopping = True
        stop(*arguments)

    def stop(self) -> None:
        """Stop the reactor, and with it all processes."""
        self._is_stopping = True
        with suppress(ReactorNotRunning):
            self._reactor.stop()

    def signal(self, name: str) -> None:
        """Send a signal, such as "HUP", to all processes."""
        for process in self._processes:
            if process.transport is not None:
                with suppress(ProcessExitedAlready):
                    process.transport.signalProcess(name)

    def _start(self, process: _Process) -> None:
        process.begun = self._reactor.seconds()
        command = process.command
        try:
            self._reactor.spawnProcess(process, command[0], command, self._environment, childFDs=self._shared)
        except OSError as error:
            remedy = "raise the limit of processes (`ulimit -u`, and TasksMax= of systemd), or free memory"
            self.ended(process, f"{error.strerror or error}; {remedy}")

    def ended(self, process: _Process, why: str) -> None:
        """Start a process again that has ended, unless all are stopped."""
        if self._is_stopping:
            self._end_when_empty()
            return
        lived = self._reactor.seconds() - process.begun
        process.wait = _SHORTEST_WAIT if lived > _LONG else min(_LONGEST_WAIT, 2 * process.wait or _SHORTEST_WAIT)
        self.log.warn(
            "The process {name} is started again in {wait} s: {why}", name=process.name, wait=process.wait, why=why
        )
        process.timer = self._reactor.callLater(process.wait, self._start, process)

    def _end_when_empty(self) -> None:
        if self._all_ended is not None and not any(process.transport for process in self._processes):
            cancel_timers(self._kill)
            for one in self._sockets.values():
                one.close()
            self._all_ended.callback(None)


def open_sockets(endpoints: Sequence[str]) -> dict[str, socket.socket]:
    """Open endpoints for processes that share them. Raises ConfigError if that isn't possible."""
    sockets = {}
    for endpoint in endpoints:
        if (address := shared_address(endpoint)) is None:
            raise ConfigError(f"--processes: {endpoint} can't be shared; expected one such as tcp:3141 or ssl:443")
        # "" is for all of IPv4, and "::" for all.
        host, port = address
        family, both = (socket.AF_INET6, host == "::") if ":" in host else (socket.AF_INET, False)
        try:
            sockets[endpoint] = socket.create_server(address, family=family, backlog=_BACKLOG, dualstack_ipv6=both)
        except OSError as error:
            raise ConfigError(f"{endpoint}: {listen_problem(error, port, host)}") from None
    return sockets
