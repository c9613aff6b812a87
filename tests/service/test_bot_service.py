"""The service: start, stop, failures of endpoints and of the bot, signals."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from typing import cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from errklein.listening import ListenError, Listeners
from errklein.service import BotService, CannotStart, Supervision
from errklein.service import bot_service as service
from errklein.service._data_directory import DataDirectory, DataDirectoryError
from errklein.service.process_exit import ProcessExit


class FakeBot:
    """A bot that records its calls."""

    def __init__(self, started: Deferred[None]) -> None:
        self.started = started
        self.stopped: Deferred[None] = Deferred()
        self.grace: float | None = None

    async def start(self) -> None:
        await self.started

    async def stop(self, grace: float) -> None:
        self.grace = grace
        await self.stopped


class FakeListeners:
    """Listeners that open no ports."""

    def __init__(self, opening: Deferred[None]) -> None:
        self.opening = opening
        self.opened: list[str] = []
        self.reloaded = 0
        self.paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def open(self, description: str) -> Deferred[None]:
        self.opened.append(description)
        return self.opening

    def reload_certificates(self) -> None:
        self.reloaded += 1


class FakeProcessExit:
    """A process exit that records its calls and doesn't end the process."""

    def __init__(self) -> None:
        self.restart_requested = False
        self.seconds: float | None = None
        self.status: int | None = None

    def within(self, seconds: float, signal_number: int | None) -> None:
        self.seconds = seconds

    def now(self, status: int) -> None:
        self.status = status

    def remove_pid_file(self) -> None:
        pass


class FakeSupervision:
    """A supervision that records its calls."""

    def __init__(self) -> None:
        self.has_started = False
        self.seconds: float | None = None

    def begin(self) -> None:
        pass

    def started(self) -> None:
        self.has_started = True

    def end_after(self, seconds: float) -> None:
        self.seconds = seconds


class BotServiceTests(SynchronousTestCase):
    """The service with a bot and listeners that record their calls."""

    def setUp(self) -> None:
        """Replace signal handlers, the end of the process and the terminal."""
        self.told: list[str] = []
        self.patch(service, "_write_to_terminal", self.told.append)
        self.patch(service, "is_terminal", lambda: False)
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.reactor = MemoryReactorClock()
        self.directory = Path(self.mktemp()).absolute()

    def service(
        self,
        opening: Deferred[None] | None = None,
        started: Deferred[None] | None = None,
        daemon: bool = False,
    ) -> BotService:
        """Return a service whose endpoint opens, and whose bot starts, when the Deferreds fire."""
        self.listeners = FakeListeners(opening or succeed(None))
        self.bot = FakeBot(started or succeed(None))
        self.reopened = 0

        def reopen() -> None:
            self.reopened += 1

        self.patch(service.destinations, "reopen", reopen)
        self.process_exit = FakeProcessExit()
        self.supervision = FakeSupervision()
        return BotService(
            self.reactor,
            cast(ProcessExit, self.process_exit),
            DataDirectory(self.directory),
            cast(Listeners, self.listeners),
            lambda: self.bot,
            cast(Supervision, self.supervision),
            ["tcp:1", "tcp:2"],
            7.0,
            daemon,
        )

    def test_raises_its_limit_of_descriptors(self) -> None:
        """The process may use as many file descriptors as the hard limit allows, before it listens."""
        before = getrlimit(RLIMIT_NOFILE)
        self.addCleanup(setrlimit, RLIMIT_NOFILE, before)
        setrlimit(RLIMIT_NOFILE, (before[1] - 1, before[1]))
        self.service().startService()
        self.assertEqual(getrlimit(RLIMIT_NOFILE), (before[1], before[1]))

    def test_threads_that_compute(self) -> None:
        """While a thread computes, the reactor waits for the interpreter for at most half a millisecond."""
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(0.005)
        self.service().startService()
        self.assertAlmostEqual(sys.getswitchinterval(), 0.0005)

    def test_life(self) -> None:
        """The service locks the data, listens and starts the bot; at the stop the bot gets the grace period and the lock is released."""
        running = self.service()
        running.startService()
        self.assertEqual(self.listeners.opened, ["tcp:1", "tcp:2"])
        self.assertRaises(DataDirectoryError, DataDirectory(self.directory).lock)
        stopping = running.stopService()
        self.assertEqual((self.bot.grace, self.process_exit.seconds, self.supervision.seconds), (7.0, 7.5, 8.0))
        self.assertNoResult(stopping)
        self.bot.stopped.callback(None)
        self.successResultOf(stopping)
        DataDirectory(self.directory).check()

    def test_connections_wait_for_plugins(self) -> None:
        """Requests wait until the bot has started."""
        started: Deferred[None] = Deferred()
        running = self.service(started=started)
        running.startService()
        self.assertTrue(self.listeners.paused)
        started.callback(None)
        self.assertFalse(self.listeners.paused)

    def test_endpoint_fails(self) -> None:
        """An endpoint that can't be opened ends the process: with a line in the foreground, with an exception in a daemon."""
        running = self.service(opening=fail(ListenError("tcp:1", "in use")))
        exit_ = self.assertRaises(SystemExit, running.startService)
        self.assertEqual((exit_.code, self.told), (1, ["can't listen on tcp:1: in use"]))
        running = self.service(opening=fail(ListenError("tcp:1", "in use")), daemon=True)
        error = self.assertRaises(CannotStart, running.startService)
        self.assertEqual(str(error), "can't listen on tcp:1: in use")

    def test_endpoint_fails_later(self) -> None:
        """An endpoint that fails later stops the reactor, with exit status 1."""
        opening: Deferred[None] = Deferred()
        running = self.service(opening=opening)
        running.startService()
        opening.errback(RuntimeError("no"))
        self.flushLoggedErrors(RuntimeError)
        self.assertTrue(self.reactor.hasStopped or self.reactor.whenRunningHooks)
        [(function, args, kwargs)] = self.reactor.triggers["after"]["shutdown"]
        function(*args, **kwargs)
        self.assertEqual(self.process_exit.status, 1)
        self.assertIn("no", self.told)

    def test_bot_fails(self) -> None:
        """A bot that can't start stops the reactor, with exit status 1."""
        running = self.service(started=fail(RuntimeError("no storage")))
        running.startService()
        self.flushLoggedErrors(RuntimeError)
        self.assertIn("no storage", self.told)
        self.assertTrue(self.reactor.triggers["after"]["shutdown"])

    def test_hang_up(self) -> None:
        """SIGHUP reopens the log files and reads certificates again."""
        running = self.service()
        running.startService()
        running.hang_up()
        self.assertEqual((self.reopened, self.listeners.reloaded), (1, 1))

    def test_terminal_hangs_up(self) -> None:
        """SIGHUP stops a bot whose terminal has closed."""
        self.patch(service, "is_terminal", lambda: True)
        running = self.service()
        running.startService()
        self.patch(service, "is_terminal", lambda: False)
        running.hang_up()
        self.assertTrue(self.reactor.hasStopped)
        self.assertEqual(self.reopened, 0)

    def test_event_loop(self) -> None:
        """asyncio.get_event_loop() returns the reactor's loop, also in a child process."""
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        self.reactor._asyncioEventloop = loop
        before = asyncio.get_event_loop_policy()
        self.addCleanup(asyncio.set_event_loop_policy, before)
        asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
        self.service().startService()
        self.assertIs(asyncio.get_event_loop(), loop)
