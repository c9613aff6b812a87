"""The bot as a service of twistd: begins after the fork, ends in time."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.config import ConfigError
from errklein.running.coroutines import install_task_factory, loop_of
from errklein.service.data_directory import DataDirectory, DataDirectoryError
from errklein.service.stopping import (
    Relaunch,
    end_after,
    end_process,
    exit_signal,
    let_signals_end_the_process,
    remove_pid_file,
)
from errklein.storage import StorageError
from errklein.text.masking import masker


class Startable(Protocol):
    """What the service starts and stops: the bot."""

    async def start(self) -> None:
        """Returns when everything works; raises if it can't."""

    async def stop(self, grace: float) -> None:
        """Take nothing new, give what runs `grace` seconds, and let go of everything."""


class Listening(Protocol):
    """Where requests come in."""

    def open(self, description: str) -> Deferred[None]:
        """Listen on the endpoint; fails with an error whose text is one line."""

    def pause(self) -> None:
        """Let connections wait, until `resume`."""

    def resume(self) -> None:
        """Take the connections that wait."""

    def reload_certificates(self) -> None:
        """Read certificates and keys from disk again."""


class CannotStart(Exception):
    """The service can't do its work; the text is one line that says why."""


@dataclass(frozen=True)
class Launch:
    """How the process was started: in the background or not, and which pid file it wrote."""

    daemon: bool = False
    pid_file: Path | None = None


class BotService(Service):
    """Runs the bot that `make_bot` makes, with its data locked and `endpoints` open.

    Nothing is opened, started or locked before twistd starts the service, since that is after the fork. Endpoints are
    opened while the process still has the rights to bind low ports. `reopen_log` is called on SIGHUP. `relaunch` begins
    the process again after its end, if that was asked for.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        data_directory: DataDirectory,
        listeners: Listening,
        endpoints: Sequence[str],
        make_bot: Callable[[], Startable],
        grace: float,
        launch: Launch = Launch(),
        reopen_log: Callable[[], None] = lambda: None,
        relaunch: Relaunch | None = None,
    ) -> None:
        self._reactor = reactor
        self._data_directory = data_directory
        self._listeners = listeners
        self._endpoints = endpoints
        self._make_bot = make_bot
        self._grace = grace
        self._launch = launch
        self._reopen_log = reopen_log
        self._relaunch = relaunch
        self._bot: Startable | None = None
        self._listened = False
        self._on_terminal = False
        self._ends = False

    def privilegedStartService(self) -> None:
        """Make the data directory and listen, before the process gives up its rights. Called by twistd."""
        Service.privilegedStartService(self)
        self._guarded(self._listen)

    def startService(self) -> None:
        """Start the bot. Called by twistd, in the process that stays."""
        Service.startService(self)
        if not self._listened:
            # twist knows of one step only.
            self.privilegedStartService()
        self._guarded(self._start)

    def stopService(self) -> Deferred[None]:
        """Fires when the bot has stopped; the process ends at the latest 1 s after the grace period."""
        Service.stopService(self)
        self._end_in_time(exit_signal(self._reactor))
        self.log.info("Stopping: what runs has {grace:g} s to end; a second signal means now", grace=self._grace)
        return Deferred.fromCoroutine(self._stop())

    def hang_up(self) -> None:
        """Begin a new log file and read certificates again; or stop, if the terminal is what hung up."""
        if self._on_terminal and not is_terminal():
            self._stop_reactor()
            return
        self._reopen_log()
        try:
            self._listeners.reload_certificates()
        except Exception:
            self.log.failure("Certificates could not be read again; the old ones stay in use")
        self.log.info("SIGHUP: the log goes on here, certificates are read again")

    def _listen(self) -> None:
        self._listened = True
        self._data_directory.prepare()
        # Whoever comes before the plugins are there waits, instead of being told that there is nothing.
        self._listeners.pause()
        for endpoint in self._endpoints:
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
        # Until the reactor runs, which takes the signal over, SIGTERM would leave the pid file behind.
        # Not callWhenRunning: just before the reactor takes it over, that would send it to this same handler, again and again.
        signal.signal(signal.SIGTERM, lambda number, _: self._reactor.callFromThread(os.kill, os.getpid(), number))
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.hang_up))
        self._bot = self._make_bot()
        Deferred.fromCoroutine(self._bot.start()).addCallbacks(self._started, self._fail)

    def _watch_signals(self) -> None:
        """See to it that the process ends in time even if a plugin blocks the reactor, which then can't stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            if callable(handler):
                signal.signal(number, partial(self._signalled, handler))

    def _signalled(self, handler: Callable[[int, Any], Any], number: int, frame: Any) -> None:
        self._end_in_time(number)
        handler(number, frame)

    def _end_in_time(self, number: int | None) -> None:
        """The next signal ends the process at once, and the end of the grace period does so in any case."""
        let_signals_end_the_process()
        if not self._ends:
            self._ends = True
            end_after(self._grace + 1, lambda: self._end(number))

    def _end(self, number: int | None) -> None:
        if self._relaunch is not None:
            self._relaunch.begin_again()
        end_process(number, self._launch.pid_file)

    def _started(self, _: None) -> None:
        settle_memory()
        self._listeners.resume()

    async def _stop(self) -> None:
        if self._bot is not None:
            try:
                await self._bot.stop(self._grace)
            except Exception:
                self.log.failure("Stopping went wrong")
        self._data_directory.unlock()

    def _guarded(self, step: Callable[[], None]) -> None:
        """Do the step; what goes wrong ends the process with one line, before a daemon says that it has started."""
        try:
            step()
        except Exception as error:
            text = " ".join(masker(str(error)).split()) or type(error).__name__
            if not isinstance(error, (CannotStart, ConfigError, DataDirectoryError, StorageError)):
                self.log.failure("errklein can't start")
            elif self._launch.daemon:
                self.log.critical("errklein can't start: {reason}", reason=text)
            if self._launch.daemon:
                raise CannotStart(text) from None
            remove_pid_file(self._launch.pid_file)
            _tell(text)
            raise SystemExit(1) from None

    def _fail(self, failure: Failure) -> None:
        """End the process, with a status that tells: the bot can't work."""
        self.log.critical("errklein can't work: {reason}", reason=failure.getErrorMessage(), log_failure=failure)
        if not self._launch.daemon:
            _tell(masker(failure.getErrorMessage()))
        self._reactor.addSystemEventTrigger("after", "shutdown", end_process, None, self._launch.pid_file, 1)
        self._reactor.callWhenRunning(self._stop_reactor)

    def _stop_reactor(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            self.log.debug("The reactor is stopping already")


def is_terminal() -> bool:
    """Whether standard input is a terminal that is still there."""
    return os.isatty(0)


def adopt_event_loop(reactor: Any) -> None:
    """Make the reactor's asyncio loop, if it has one, what asyncio.get_event_loop() returns in this process.

    Its tasks may await Deferreds. From Python 3.12 on, a child process has forgotten which loop its parent had set.
    """
    loop = loop_of(reactor)
    if loop is not None:
        asyncio.set_event_loop(loop)
        install_task_factory(loop)


def settle_memory() -> None:
    """Begin to collect garbage, but leave alone what is there now and stays.

    Looking through all of it again and again would now and then hold the reactor for 50 ms, and looking after each
    700 new objects, as Python does of itself, halves the number of commands in a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(3_000, 10, 10)
    gc.enable()


def _tell(text: str) -> None:
    """Say it on the terminal, where twistd has already turned sys.stderr into a log."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"errklein: {text}\n")
        sys.__stderr__.flush()
