"""Several processes of one bot on one machine: a supervisor opens the ports, and starts the processes, which share them."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from shutil import which
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.config import ConfigError
from errklein.listening import SOCKETS, listen_problem, shared_address
from errklein.ports.nodes import CHAT, INTAKE, WORKER
from errklein.running import cancel_timers
from errklein.service.bot_service import ServiceManager

_BACKLOG = 1024  # the number of connections that wait while no process accepts them; the system has a limit of its own
_BETWEEN_NODES = "tcp:0:interface=127.0.0.1"
_SHORTEST_WAIT, _LONGEST_WAIT = (
    0.5,
    30.0,
)  # the seconds before a process is started again; they double while it ends early
_LONG = 10.0  # the seconds after which a process hasn't ended early


class _Process(ProcessProtocol):
    def __init__(self, supervisor: Processes, name: str) -> None:
        self._supervisor, self._name = supervisor, name

    def processEnded(self, reason: Failure) -> None:
        self._supervisor.ended(self._name, reason)


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
        workers = [*run, "--role", f"{INTAKE},{WORKER}", "--status", "", "--console", ""]
        self._commands = {CHAT: [*run, "--role", CHAT, "--node", node or _BETWEEN_NODES]}
        self._commands |= {f"{WORKER} {number}": workers for number in range(1, count + 1)}
        self._running: dict[str, Any] = {}
        self._begun: dict[str, float] = {}
        self._waits: dict[str, float] = {}
        self._timers: dict[str, IDelayedCall] = {}
        self._all_ended: Deferred[None] | None = None

    def startService(self) -> None:
        """Start the processes. Called by twistd."""
        Service.startService(self)
        self._manager.starting()
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.signal, "HUP"))
        for name in self._commands:
            self._start(name)
        self._manager.started()

    def stopService(self) -> Deferred[None]:
        """Stop the processes; fires when all have ended. Called by twistd."""
        Service.stopService(self)
        self._manager.stopping(restarts=False)
        self._all_ended = Deferred()
        cancel_timers(*self._timers.values())
        self._timers = {"kill": self._reactor.callLater(self._grace + 2.0, self.signal, "KILL")}
        self.signal("TERM")
        self._end_when_empty()
        return self._all_ended

    def signal(self, name: str) -> None:
        """Send a signal, such as "HUP", to all processes."""
        for process in self._running.values():
            with suppress(ProcessExitedAlready):
                process.signalProcess(name)

    def _start(self, name: str) -> None:
        self._begun[name] = self._reactor.seconds()
        command = self._commands[name]
        self._running[name] = self._reactor.spawnProcess(
            _Process(self, name), command[0], command, env=self._environment, path=None, childFDs=self._shared
        )

    def ended(self, name: str, reason: Failure) -> None:
        """Start a process again that has ended, unless all are stopped."""
        self._running.pop(name, None)
        if self._all_ended is not None:
            self._end_when_empty()
            return
        lived = self._reactor.seconds() - self._begun[name]
        wait = _SHORTEST_WAIT if lived > _LONG else min(_LONGEST_WAIT, 2 * self._waits.get(name, _SHORTEST_WAIT / 2))
        self._waits[name] = wait
        why = reason.getErrorMessage()
        self.log.warn(
            "The process {name} has ended, and is started again in {wait} s: {why}", name=name, wait=wait, why=why
        )
        self._timers[name] = self._reactor.callLater(wait, self._start, name)

    def _end_when_empty(self) -> None:
        if self._all_ended is not None and not self._running:
            cancel_timers(*self._timers.values())
            for one in self._sockets.values():
                one.close()
            self._all_ended.callback(None)


def open_sockets(endpoints: Sequence[str]) -> dict[str, socket.socket]:
    """Open endpoints for processes that share them. Raises ConfigError if that isn't possible."""
    sockets = {}
    for endpoint in endpoints:
        address = shared_address(endpoint)
        if address is None:
            raise ConfigError(
                f"--processes: {endpoint} can't be shared; expected an endpoint such as tcp:3141 or ssl:443"
            )
        try:
            sockets[endpoint] = listen(*address)
        except OSError as error:
            raise ConfigError(f"{endpoint}: {listen_problem(error, address[1], address[0])}") from None
    return sockets


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a port of an address, "" for all of IPv4, or "::" for all. Raises OSError."""
    family, both = (socket.AF_INET6, host == "::") if ":" in host else (socket.AF_INET, False)
    return socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
