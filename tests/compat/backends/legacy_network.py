"""A whole bot on third-party backends, with real threads and simulated time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from errklein.config import load_config
from errklein.journal import INLINE
from errklein.plugins.botplugin import BotPlugin
from errklein.running.threads import register_reactor_thread
from errklein.testing._surroundings import InlinePool, TestReactor
from errklein.wiring import wire
from tests.compat import BACKENDS as FIXTURES

PATIENCE = 3.0


class QueueReactor(TestReactor):
    """A reactor with simulated time. It runs the calls from threads when the test asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        self.asked.put(lambda: callable(*args, **kwargs))

    def turn_until(self, holds: Callable[[], object], what: str) -> None:
        """Run the calls from threads until the condition is true."""
        while not holds():
            try:
                work = self.asked.get(timeout=PATIENCE)
            except Empty:
                raise AssertionError(f"waited in vain for {what}") from None
            work()
            self.advance(0)


class LegacyNetworkCase(SynchronousTestCase):
    """A test with the bot `self.bot` on the backend named `backend`, whose object is `self.legacy`."""

    backend = "Once"
    settings: Mapping[str, Any] = {}
    plugins: Sequence[type[BotPlugin]] = ()

    def setUp(self) -> None:
        super().setUp()
        self.reactor = QueueReactor()
        register_reactor_thread(self.reactor)
        directory = tempfile.TemporaryDirectory(prefix="errklein-test-")
        self.addCleanup(directory.cleanup)
        settings = {
            **({} if "NETWORKS" in self.settings else {"BACKEND": self.backend}),
            "BOT_EXTRA_BACKEND_DIR": str(FIXTURES),
            "BOT_ADMINS": ("alice",),
            "BOT_DATA_DIR": directory.name,
            "BOT_IDENTITY": {"name": "bot"},
            "CORE_PLUGINS": (),
            "STORAGE": "Memory",
            **self.settings,
        }
        self.config = load_config(None, settings)
        self.ended: list[bool] = []
        _, make_bot = wire(
            self.reactor,
            self.config,
            ended=lambda: self.ended.append(True),
            plugin_classes=self.plugins,
            make_pool=InlinePool,
            journal_runs=INLINE,
        )
        self.bot = make_bot()
        self.networks: dict[str, Any] = dict(self.bot.backends)
        self.network = next(iter(self.networks.values()))
        self.legacy: Any = self.network.legacy
        self.successResultOf(Deferred.fromCoroutine(self.bot.start()))
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Stop the bot; further calls are ignored."""
        stopped: list[Any] = []
        if self.bot.storage is None:
            return
        stopping = Deferred.fromCoroutine(self.bot.stop(0))
        stopping.addBoth(stopped.append)
        self.reactor.advance(0)
        self.reactor.turn_until(lambda: stopped, "the bot to stop")
        self.assertEqual(stopped, [None])
        self.bot.storage = None  # type: ignore[assignment]

    def waits(self) -> list[float]:
        """Return the seconds until the networks reconnect, without the timers of the bot's loops."""
        now = self.reactor.seconds()
        calls = [call for call in self.reactor.getDelayedCalls() if not isinstance(call.func, LoopingCall)]
        return [call.getTime() - now for call in calls if call.getTime() > now]

    def plugin(self, cls: type[BotPlugin]) -> Any:
        """Return the instance of a plugin."""
        return self.bot.plugin_manager.instance(cls.__name__)

    def until(self, holds: Callable[[], object], what: str = "what the test expects") -> None:
        """Let the threads run until the condition is true."""
        self.reactor.turn_until(holds, what)
