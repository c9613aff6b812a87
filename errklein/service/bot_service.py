"""The bot as a service of twistd: started after the fork, stopped in time."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.logs import destinations
from errklein.running import install_task_factory, loop_of
from errklein.service._data_directory import DataDirectory
from errklein.service.process_exit import ProcessExit
from errklein.service.startup_checks import START_ERRORS
from errklein.text.masking import masker

if TYPE_CHECKING:
    from errklein.web import Listeners


class ManagedBot(Protocol):
    """The part of the bot that the service uses."""

    async def start(self) -> None:
        """Return when the bot works; raise if it can't start."""

    async def stop(self, grace: float) -> None:
        """Accept no new work, give running handlers `grace` seconds, and release all resources."""


class CannotStart(Exception):
    """The service can't start; the text is one line that says why."""


@dataclass(frozen=True)
class ServiceOptions:
    """The endpoints to open, the grace period in seconds, and whether the process runs in the background."""

    endpoints: Sequence[str]
    grace: float
    daemon: bool = False


class BotService(Service):
    """Runs the bot that `make_bot` returns, with its data locked and the endpoints open.

    Nothing is opened, started or locked before twistd starts the service, since that is after the fork. Endpoints are
    opened while the process may still bind low ports.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        options: ServiceOptions,
        process_exit: ProcessExit,
        data_directory: DataDirectory,
        listeners: Listeners,
        make_bot: Callable[[], ManagedBot],
    ) -> None:
        self._reactor = reactor
        self._options = options
        self._process_exit = process_exit
        self._data_directory = data_directory
        self._listeners = listeners
        self._make_bot = make_bot
        self._bot: ManagedBot | None = None
        self._listened = False
        self._on_terminal = False

    def privilegedStartService(self) -> None:
        """Make the data directory and listen, before the process gives up its rights. Called by twistd."""
        Service.privilegedStartService(self)
        self._or_exit(self._listen)

    def startService(self) -> None:
        """Start the bot. Called by twistd, in the process that stays."""
        Service.startService(self)
        if not self._listened:
            # twist calls startService only.
            self.privilegedStartService()
        self._or_exit(self._start)

    def stopService(self) -> Deferred[None]:
        """Fires when the bot has stopped; the process ends at the latest 1 s after the grace period."""
        Service.stopService(self)
        # The signal that stopped the reactor, if one did.
        self._process_exit.within(self._options.grace + 1, getattr(self._reactor, "_exitSignal", None))
        self.log.info(
            "Stopping: what runs has {grace:g} s to end; a second signal means now", grace=self._options.grace
        )
        return Deferred.fromCoroutine(self._stop())

    def hang_up(self) -> None:
        """Reopen the log and read certificates again; or stop, if the terminal is what hung up."""
        if self._on_terminal and not is_terminal():
            self._stop_reactor()
            return
        destinations.reopen()
        try:
            self._listeners.reload_certificates()
        except Exception:
            self.log.failure("Certificates could not be read again; the old ones stay in use")
        self.log.info("SIGHUP: the log goes on here, certificates are read again")

    def _listen(self) -> None:
        self._listened = True
        self._data_directory.prepare()
        # Requests that arrive before the plugins are active wait, since they would get 404 otherwise.
        self._listeners.pause()
        for endpoint in self._options.endpoints:
            opening = self._listeners.open(endpoint)
            failures: list[Failure] = []
            opening.addErrback(failures.append if opening.called else self._fail)
            if failures:
                raise CannotStart(failures[0].getErrorMessage())

    def _start(self) -> None:
        adopt_event_loop(self._reactor)
        self._data_directory.lock()
        self._on_terminal = is_terminal()
        self._reactor.callWhenRunning(self._watch_signals)
        # Until the reactor runs and handles SIGTERM itself, it would leave the pid file behind.
        # Not callWhenRunning: that runs just before the reactor takes SIGTERM over, so this handler would call itself for ever.
        signal.signal(signal.SIGTERM, lambda number, _: self._reactor.callFromThread(os.kill, os.getpid(), number))
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.hang_up))
        self._bot = self._make_bot()
        Deferred.fromCoroutine(self._bot.start()).addCallbacks(self._started, self._fail)

    def _watch_signals(self) -> None:
        """Make the process end in time even if a plugin blocks the reactor, which can't stop then."""
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            if callable(handler):
                signal.signal(number, partial(self._signalled, handler))

    def _signalled(self, handler: Callable[[int, Any], Any], number: int, frame: Any) -> None:
        self._process_exit.within(self._options.grace + 1, number)
        handler(number, frame)

    def _started(self, _: None) -> None:
        configure_garbage_collector()
        self._listeners.resume()

    async def _stop(self) -> None:
        if self._bot is not None:
            try:
                await self._bot.stop(self._options.grace)
            except Exception:
                self.log.failure("Stopping went wrong")
        self._data_directory.unlock()

    def _or_exit(self, step: Callable[[], None]) -> None:
        """Do the step; an error ends the process with one line, before a daemon reports that it has started."""
        try:
            step()
        except Exception as error:
            text = " ".join(masker(str(error)).split()) or type(error).__name__
            if not isinstance(error, (CannotStart, *START_ERRORS)):
                self.log.failure("errklein can't start")
            elif self._options.daemon:
                self.log.critical("errklein can't start: {reason}", reason=text)
            if self._options.daemon:
                raise CannotStart(text) from None
            self._process_exit.remove_pid_file()
            _write_to_terminal(text)
            raise SystemExit(1) from None

    def _fail(self, failure: Failure) -> None:
        """Stop the reactor, and exit with status 1."""
        self.log.critical("errklein can't work: {reason}", reason=failure.getErrorMessage(), log_failure=failure)
        if not self._options.daemon:
            _write_to_terminal(masker(failure.getErrorMessage()))
        self._reactor.addSystemEventTrigger("after", "shutdown", self._process_exit.now, 1)
        self._reactor.callWhenRunning(self._stop_reactor)

    def _stop_reactor(self) -> None:
        with suppress(ReactorNotRunning):
            self._reactor.stop()


def is_terminal() -> bool:
    """Whether standard input is a terminal that is still there."""
    return os.isatty(0)


def adopt_event_loop(reactor: Any) -> None:
    """Make the reactor's asyncio loop, if it has one, the result of asyncio.get_event_loop() in this process.

    Its tasks may await Deferreds. From Python 3.12 on, a child process doesn't know the loop that its parent had set.
    """
    loop = loop_of(reactor)
    if loop is not None:
        asyncio.set_event_loop(loop)
        install_task_factory(loop)


def configure_garbage_collector() -> None:
    """Start garbage collection, without the objects that exist now and stay.

    A collection of all of them would hold the reactor for 50 ms now and then, and a collection after each 700 new
    objects, Python's default, halves the number of commands per second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(3_000, 10, 10)
    gc.enable()


def _write_to_terminal(text: str) -> None:
    # twistd has replaced sys.stderr by a log already.
    if sys.__stderr__ is not None:
        print(f"errklein: {text}", file=sys.__stderr__, flush=True)
