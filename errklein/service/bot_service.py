"""The Twisted service that runs the bot: started by twistd after the fork, stopped within the grace period."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.listening import SOCKETS
from errklein.logs import destinations
from errklein.running import install_task_factory, loop_of
from errklein.service._data_directory import DataDirectory
from errklein.service._supervision import Supervision
from errklein.service.process_exit import ProcessExit
from errklein.service.startup_checks import START_ERRORS
from errklein.text.masking import masker

if TYPE_CHECKING:
    from errklein.bot import Bot
    from errklein.listening import Listeners
    from errklein.listening.side_server import SideServer
    from errklein.service.reloading import ReloadingBot


class ServiceManager:
    """Reports the state of this process to systemd. Without NOTIFY_SOCKET, it does nothing. With WATCHDOG_USEC, it also
    reports twice in that time that the reactor runs."""

    log = Logger()

    def __init__(self, reactor: Any, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog = LoopingCall(self._notify, "WATCHDOG=1")
        self._watchdog.clock = reactor
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        self._interval = int(usec) / 2e6 if usec.isdecimal() and pid in ("", str(os.getpid())) else 0.0

    def starting(self) -> None:
        self._notify("STATUS=Starting")
        if self._address and self._interval:
            self._watchdog.start(self._interval)

    def started(self) -> None:
        self._notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=Running")

    def stopping(self, restarts: bool) -> None:
        """Report that the process ends; not before a restart, since the same process goes on then."""
        self._notify("STATUS=Restarting" if restarts else "STOPPING=1\nSTATUS=Stopping")

    def _notify(self, state: str) -> None:
        if not self._address:
            return
        # An abstract socket is written with "@" in place of the null byte.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.setblocking(False)
                notify.connect(address)
                notify.send(state.encode())
        except OSError as error:
            self.log.warn("{state} could not be reported to NOTIFY_SOCKET: {error}", state=state, error=str(error))


class CannotStart(Exception):
    """The service can't start. The text is one line with the reason."""


@dataclass(eq=False, repr=False)
class BotService(Service):
    """Runs the bot, with its data directory locked and its endpoints open. Nothing is opened, started or locked before
    twistd starts the service, which is after the fork."""

    log = Logger()

    reactor: Any
    process_exit: ProcessExit
    data_directory: DataDirectory
    listeners: Listeners
    make_bot: Callable[[], Bot | ReloadingBot]
    supervision: Supervision
    endpoints: Sequence[str]  # the endpoints to open
    grace: float  # the grace period, in seconds
    daemon: bool = False  # whether the process is one
    beside: Sequence[SideServer] = ()

    def __post_init__(self) -> None:
        self._manager = ServiceManager(self.reactor, os.environ)
        self._bot: Bot | ReloadingBot | None = None
        self._on_terminal = False
        self._stopping = False

    def startService(self) -> None:
        """Create the data directory, listen and start the bot. Called by twistd."""
        Service.startService(self)
        self._or_exit(self._listen)
        self._or_exit(self._start)

    def stopService(self) -> Deferred[None]:
        """Stop the bot; fires when it has stopped. The process ends at most 1 s after the grace period. Called by twistd."""
        Service.stopService(self)
        self._stopping = True
        self._manager.stopping(self.process_exit.restart_requested)
        # The signal that stopped the reactor, if one did.
        self._end_in_time(getattr(self.reactor, "_exitSignal", None))
        self.log.info("Stopping within {grace:g} s; a second signal ends the process at once", grace=self.grace)
        return Deferred.fromCoroutine(self._stop())

    def hang_up(self) -> None:
        """Reopen the log files and read certificates again. If the terminal of the process has closed, stop instead."""
        if self._on_terminal and not is_terminal():
            self._stop_reactor()
            return
        destinations.reopen()
        try:
            self.listeners.reload_certificates()
        except Exception:
            self.log.failure("Certificates could not be read again; the previous ones stay in use")
        self.log.info("SIGHUP received: log files reopened, certificates read again")

    def _listen(self) -> None:
        raise_descriptor_limit()
        self.data_directory.prepare()
        # Requests wait until the plugins are active; until then their routes would give 404.
        self.listeners.pause()
        for endpoint in self.endpoints:
            self._opened(self.listeners.open(endpoint))
        for server in self.beside:
            self._opened(server.open())

    def _opened(self, opening: Deferred[None]) -> None:
        failures: list[Failure] = []
        opening.addErrback(failures.append if opening.called else self._fail)
        if failures:
            raise CannotStart(failures[0].getErrorMessage())

    def _start(self) -> None:
        adopt_event_loop(self.reactor)
        self._manager.starting()
        self.data_directory.lock()
        self._on_terminal = is_terminal()
        self.reactor.callWhenRunning(self._watch_signals)
        # Before the reactor handles SIGTERM, the signal would end the process without removing the pid file. Not set in
        # callWhenRunning, which precedes the reactor's own handlers: this one would then call itself endlessly.
        signal.signal(signal.SIGTERM, lambda number, _: self.reactor.callFromThread(os.kill, os.getpid(), number))
        signal.signal(signal.SIGHUP, lambda *_: self.reactor.callFromThread(self.hang_up))
        self._bot = self.make_bot()
        Deferred.fromCoroutine(self._bot.start()).addCallbacks(self._started, self._fail)

    def _watch_signals(self) -> None:
        """Make the process end in time even if a plugin blocks the reactor, which then can't stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            if callable(handler):
                signal.signal(number, partial(self._signalled, handler))
        if SOCKETS in os.environ:
            # Ctrl-C reaches this process, too, but SIGTERM of the supervisor would be the second signal then.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.supervision.begin()

    def _signalled(self, handler: Callable[[int, Any], Any], number: int, frame: Any) -> None:
        if self.supervision.was_sent(number):
            self._end_in_time(number)
            handler(number, frame)

    def _end_in_time(self, signal_number: int | None) -> None:
        self.process_exit.within(self.grace + 0.5, signal_number)
        # If a thread holds the interpreter lock.
        self.supervision.end_after(self.grace + 1)

    def _started(self, _: None) -> None:
        self.supervision.started()
        configure_garbage_collector()
        shorten_thread_slices()
        self.listeners.resume()
        self._manager.started()

    async def _stop(self) -> None:
        if self._bot is not None:
            try:
                await self._bot.stop(self.grace)
            except Exception:
                self.log.failure("The bot could not be stopped cleanly")
        self.data_directory.unlock()
        # Last, so that the stop can be watched.
        for server in self.beside:
            await server.close()

    def _or_exit(self, step: Callable[[], None]) -> None:
        """Call the step. An error ends the process with one line, before a daemon has reported a successful start."""
        try:
            step()
        except Exception as error:
            text = " ".join(masker(str(error)).split()) or type(error).__name__
            if not isinstance(error, (CannotStart, *START_ERRORS)):
                self.log.failure("errklein can't start")
            elif self.daemon:
                self.log.critical("errklein can't start: {reason}", reason=text)
            if self.daemon:
                raise CannotStart(text) from None
            self.process_exit.remove_pid_file()
            _write_to_terminal(text)
            raise SystemExit(1) from None

    def _fail(self, failure: Failure) -> None:
        """Stop the reactor, and exit with status 1. A start that a stop has interrupted is no failure."""
        if self._stopping:
            self.log.info("The start was interrupted: {reason}", reason=failure.getErrorMessage())
            return
        self.log.critical("errklein can't start: {reason}", reason=failure.getErrorMessage(), log_failure=failure)
        if not self.daemon:
            _write_to_terminal(masker(failure.getErrorMessage()))
        self.reactor.addSystemEventTrigger("after", "shutdown", self.process_exit.now, 1)
        self.reactor.callWhenRunning(self._stop_reactor)

    def _stop_reactor(self) -> None:
        with suppress(ReactorNotRunning):
            self.reactor.stop()


def raise_descriptor_limit() -> None:
    """Allow this process as many file descriptors as it may have. Each connection of a client needs one."""
    _, most = getrlimit(RLIMIT_NOFILE)
    # macOS refuses "unlimited".
    with suppress(ValueError, OSError):
        setrlimit(RLIMIT_NOFILE, (most, most))


def is_terminal() -> bool:
    """Return whether standard input is an open terminal."""
    return os.isatty(0)


def adopt_event_loop(reactor: Any) -> None:
    """Set the reactor's asyncio loop, if it has one, as the event loop of this process, and let its tasks await
    Deferreds. Since Python 3.12, a child process doesn't inherit the loop that its parent has set."""
    loop = loop_of(reactor)
    if loop is not None:
        asyncio.set_event_loop(loop)
        install_task_factory(loop)


def configure_garbage_collector() -> None:
    """Enable garbage collection, and exempt the objects that exist now. A collection of all objects would block the reactor
    for about 50 ms. Python's default, a collection after each 700 new objects, halves the number of commands per second."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(3_000, 10, 10)
    gc.enable()


def shorten_thread_slices() -> None:
    """Let a thread that computes give up the interpreter after 0.5 ms if another one waits for it; Python's default is
    5 ms. The reactor gives up the interpreter for each read and each write, so with 50 connections that receive large
    bodies it would wait for half a second in each turn."""
    sys.setswitchinterval(0.0005)


def _write_to_terminal(text: str) -> None:
    # twistd has already replaced sys.stderr by the log.
    if sys.__stderr__ is not None:
        print(f"errklein: {text}", file=sys.__stderr__, flush=True)
