"""The watchdog: blocked reactors, held interpreter locks, suspended processes and debuggers."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from errklein.running import ReactorLag
from errklein.service._supervision import INTERVAL, Watchdog
from errklein.testing._surroundings import TestReactor
from tests.notices import KeptNotices

DEPLOY = ("errklein_plugins.Deploy_2d_it.deploy", "status")
LOOP = ("asyncio.base_events", "_run_once")
SELECTING = ("selectors", "select")
OWN = ("errklein.web.request", "process")


def stack(*functions: tuple[str, str]) -> FrameType:
    """Return the frame of the last function; each is given by its module and name, and calls the next one."""
    call: Callable[[], FrameType] = sys._getframe
    for number, (module, name) in reversed(list(enumerate(functions, 1))):
        namespace: dict[str, Any] = {"__name__": module, "call": call}
        file = f"/srv/{module.rpartition('.')[2]}.py"
        exec(compile("\n" * number + f"def {name}(): return call()", file, "exec"), namespace)
        call = namespace[name]
    return call()


class BusyReactor(MemoryReactorClock):
    """A reactor that makes the calls of threads when `turn` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], object]] = []

    def callFromThread(self, function: Callable[..., object], *args: object, **kwargs: object) -> None:
        self.waiting.append(lambda: function(*args, **kwargs))

    def turn(self) -> None:
        """Make the calls, and those that they request."""
        while self.waiting:
            self.waiting.pop(0)()


class WatchdogTests(SynchronousTestCase):
    """A watchdog whose clock, processor time and frames the test sets."""

    def setUp(self) -> None:
        """Create the watchdog of a bot that has started, and whose reactor is in a handler."""
        self.seconds = self.used = 0.0
        self.reactor = BusyReactor()
        self.lag = ReactorLag()
        self.frames = {threading.get_ident(): stack(LOOP, OWN, DEPLOY, ("requests.api", "get"))}
        self.watchdog = Watchdog(
            self.reactor, self.lag, lambda: self.seconds, lambda: self.used, lambda: dict(self.frames)
        )
        self.board = KeptNotices(TestReactor())
        self.watchdog.notify = self.board.post
        self.events = self.enterContext(capturedLogs())

    @property
    def lines(self) -> list[str]:
        """The lines of the log."""
        return [formatEvent(event) for event in self.events]

    def look(self, after: float = INTERVAL, computed: float = 0.0) -> None:
        """Let the watchdog look at the reactor."""
        self.seconds += after
        self.used += computed
        self.watchdog.look()

    def block(self, seconds: float) -> None:
        """Block the reactor for this time, and let it go on then."""
        self.look()
        for _ in range(int(seconds / INTERVAL)):
            self.look()
        self.reactor.turn()

    def test_values_of_threads_are_released(self) -> None:
        """A look at the threads doesn't keep their values in memory until the next garbage collection."""

        class Body:
            pass

        def handle() -> weakref.ref[Body]:
            body = Body()
            Watchdog(self.reactor, self.lag).look()
            return weakref.ref(body)

        gc.disable()
        self.addCleanup(gc.enable)
        self.assertIsNone(handle()())

    def test_blocking_code_is_logged_meanwhile(self) -> None:
        """After a quarter of a second the log has the handler, the plugin, the file and the line, and what to do."""
        self.look()
        self.look()
        [line] = self.lines
        self.assertIn("blocked for 0.25 s by status (plugin Deploy-it), /srv/deploy.py, line 4: ", line)
        self.assertIn("Await asynchronous calls instead", line)
        self.assertEqual(self.board.texts, [])

    def test_code_without_lines(self) -> None:
        """An instruction that has no line of its own is reported with the line of its function."""
        namespace: dict[str, Any] = {"__name__": "errklein_plugins.Deploy", "call": sys._getframe}
        exec(compile("\n\ndef status(): return call()", "/srv/deploy.py", "exec"), namespace)
        status = namespace["status"]
        status.__code__ = status.__code__.replace(co_linetable=b"")
        frame = status()
        self.assertIsNone(frame.f_lineno)
        self.frames = {threading.get_ident(): frame}
        self.look()
        self.look()
        self.assertIn("by status (plugin Deploy), /srv/deploy.py, line 3: ", self.lines[0])

    def test_long_blocks_are_logged_again(self) -> None:
        """A block is logged again after 1, 5 and 30 s, with the line at which the code is then."""
        self.block(40)
        durations = [line.partition("blocked for ")[2].partition(" by")[0] for line in self.lines]
        self.assertEqual(durations, ["0.25 s", "1.00 s", "5.00 s", "30.00 s"])

    def test_administrators_are_notified_once(self) -> None:
        """Administrators are notified when a block has ended, once an hour for each line, and the number of the others."""
        self.block(3)
        self.block(3)
        [notice] = self.board.texts
        self.assertTrue(
            notice.startswith("The reactor was blocked for 3.0 s by status (plugin Deploy-it), /srv/deploy.py, line 4.")
        )
        self.board.stop()
        self.assertIn("(again since the last notice: 1)", self.board.texts[1])

    def test_start(self) -> None:
        """While the bot starts, nobody is notified, and imports of errklein aren't logged."""
        self.watchdog.notify = None
        self.block(3)
        self.assertIn("Deploy-it", self.lines[0])
        self.frames = {threading.get_ident(): stack(LOOP, OWN)}
        del self.events[:]
        self.block(3)
        self.assertEqual((self.lines, self.board.texts), ([], []))

    def test_own_code(self) -> None:
        """Without code of a plugin, errklein's is named, and administrators are notified from one second on."""
        self.frames = {threading.get_ident(): stack(LOOP, OWN, ("json", "loads"))}
        self.block(0.5)
        self.assertIn("by /srv/request.py, line 3", self.lines[0])
        self.assertEqual(self.board.texts, [])
        self.block(1.5)
        self.assertEqual(len(self.board.texts), 1)

    def test_waiting_reactor_is_not_woken(self) -> None:
        """A reactor that waits for events isn't called; one whose handler waits in a selector is."""
        for waiting in (stack(LOOP, SELECTING), stack(("twisted.internet.epollreactor", "doPoll"))):
            self.frames = {threading.get_ident(): waiting}
            self.look()
            self.assertEqual(self.reactor.waiting, [])
        self.frames = {threading.get_ident(): stack(LOOP, DEPLOY, ("subprocess", "communicate"), SELECTING)}
        self.block(1)
        self.assertIn("/srv/deploy.py", self.lines[0])

    def test_lag(self) -> None:
        """The lag is how long a call waits for the reactor; the maximum is that since it was read."""
        self.look()
        self.seconds += 0.1
        self.reactor.turn()
        self.assertAlmostEqual(self.lag.last, 0.1)
        self.look(INTERVAL - 0.1)
        self.reactor.turn()
        self.assertEqual(self.lag.last, 0)
        self.assertAlmostEqual(self.lag.take_maximum(), 0.1)
        self.assertEqual(self.lag.take_maximum(), 0)
        self.look()
        self.look()
        self.assertEqual(self.lag.take_maximum(), INTERVAL)

    def test_input_of_a_blocked_reactor(self) -> None:
        """What the reactor reads first after a block is known to have waited, whether it reads or answers the watchdog first."""
        self.look()
        self.assertEqual(self.lag.backlog_until, 0)
        self.look()
        self.assertGreater(self.lag.backlog_until, self.reactor.seconds())

    def test_held_interpreter_lock(self) -> None:
        """If no thread could run although the process has computed, the lines of all plugins' threads are reported."""
        self.frames = {
            threading.get_ident(): stack(LOOP, SELECTING),
            1: stack(("threading", "run"), DEPLOY),
            2: stack(("threading", "run"), ("errklein_plugins.Search.search", "find")),
        }
        self.look()
        self.look(8 + INTERVAL, computed=8.0)
        self.reactor.turn()
        [notice] = self.board.texts
        self.assertIn("No Python code could run for 8.2 s", notice)
        self.assertIn("find (plugin Search), /srv/search.py, line 3; status (plugin Deploy-it), /srv/deploy.py", notice)
        self.assertEqual(self.lag.take_maximum(), 8 + INTERVAL)
        self.assertGreater(self.lag.backlog_until, self.reactor.seconds())

    def test_short_hold_of_the_lock(self) -> None:
        """A lock that was held for less than a second is only logged."""
        self.look()
        self.look(0.6, computed=0.6)
        self.reactor.turn()
        self.assertIn("No Python code could run for 0.6 s", self.lines[0])
        self.assertEqual(self.board.texts, [])

    def test_suspended_process(self) -> None:
        """A process that was suspended, and so hasn't computed, causes no alarm."""
        self.look()
        self.look(3600.0, computed=0.01)
        self.reactor.turn()
        self.assertEqual((self.lines, self.board.texts), ([], []))
        self.assertLess(self.lag.take_maximum(), 0.1)

    def test_debugger(self) -> None:
        """A reactor that a debugger has stopped causes no alarm."""
        self.frames = {threading.get_ident(): stack(LOOP, DEPLOY, ("bdb", "trace_dispatch"))}
        self.block(60)
        self.assertEqual((self.lines, self.board.texts), ([], []))
