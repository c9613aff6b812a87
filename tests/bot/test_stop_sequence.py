"""The sequence in which the parts of a bot stop."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.bot import Bot
from errklein.bot._bot import SHORTEST_DEACTIVATION


class StopSequenceTests(SynchronousTestCase):
    """The stop of a bot with one network, whose parts record their names."""

    def setUp(self) -> None:
        """Nothing runs yet."""
        self.clock = Clock()
        self.calls: list[Any] = []
        self.quiet: Deferred[Any] = Deferred()
        self.deactivated: Deferred[None] = Deferred()
        web = SimpleNamespace(
            begin_stopping=partial(self.note, "web"),
            when_idle=lambda: succeed(None),
            refuse_waiting=lambda: None,
            close=partial(self.note, "listeners"),
        )
        quiet = SimpleNamespace(stop=lambda: None, close=lambda: None, end_all=lambda: None)
        self.bot: Any = SimpleNamespace(
            log=Bot.log,
            reactor=self.clock,
            web=web,
            http_clients=SimpleNamespace(close=partial(self.note, "http")),
            _download_clients=SimpleNamespace(close=partial(self.note, "downloads")),
            backends={"libera": SimpleNamespace(disconnect=partial(self.note, "network"))},
            journal=SimpleNamespace(
                close=partial(self.note, "journal"), outbox=SimpleNamespace(flush=partial(self.note, "outbox"))
            ),
            nodes=SimpleNamespace(stop=partial(self.note, "node")),
            alone=True,
            storage=SimpleNamespace(close=partial(self.note, "storage")),
            plugin_manager=SimpleNamespace(stop=self.deactivate),
            when_quiet=lambda: self.quiet,
            delivery_queue=SimpleNamespace(stop=partial(self.note, "intake"), close=partial(self.note, "work")),
            health=SimpleNamespace(stop=partial(self.note, "services")),
            _workers=SimpleNamespace(core=SimpleNamespace(pool=quiet), values=quiet),
            recent_errors=None,
            **dict.fromkeys(("events", "conversations", "notices", "waits", "queues", "dispatcher"), quiet),
            **dict.fromkeys(("_streams", "_room_messages", "room_webhooks", "command_pool", "plugin_pool"), quiet),
            missed=quiet,
            to_owner=None,
            _sharing=quiet,
        )
        self.bot._at_most = partial(Bot._at_most, self.bot)

    def note(self, name: str, *details: float) -> Deferred[None]:
        """Record the name and the seconds that the part gets."""
        self.calls.append((name, *details) if details else name)
        return succeed(None)

    async def deactivate(self, seconds: float) -> None:
        """Wait until the test fires the Deferred."""
        self.calls.append(("plugins", round(seconds, 3)))
        await self.deactivated

    def run_sequence(self, grace: float) -> list[None]:
        """Begin to stop, and return the result when it has ended."""
        results: list[Any] = []
        Deferred.fromCoroutine(Bot.stop(self.bot, grace)).addBoth(results.append)
        return results

    def test_each_step_waits_for_the_one_before(self) -> None:
        """Parts that accept work stop first, and storage closes last."""
        results = self.run_sequence(10)
        self.assertEqual(self.calls, ["intake", "web"])
        self.clock.advance(4)
        self.quiet.callback(None)
        self.assertEqual(self.calls[2:], ["work", ("plugins", 6.0)])
        self.deactivated.callback(None)
        self.assertEqual(
            self.calls[4:],
            [("network", 6.0), "outbox", "node", "services", "http", "downloads", "listeners", "journal", "storage"],
        )
        self.assertEqual(results, [None])

    def test_hanging_handlers_and_plugins_are_not_waited_for(self) -> None:
        """After the grace period, plugins get a short time, and the rest stops."""
        results = self.run_sequence(10)
        self.clock.advance(10)
        self.assertEqual(self.calls[-1], ("plugins", SHORTEST_DEACTIVATION))
        self.clock.advance(SHORTEST_DEACTIVATION)
        self.assertEqual((results, self.calls[-1]), ([None], "storage"))

    def test_failed_deactivation_is_logged(self) -> None:
        """An error of a deactivation is logged, and the rest stops."""
        results = self.run_sequence(10)
        self.quiet.callback(None)
        self.deactivated.errback(RuntimeError("no"))
        self.assertEqual((results, self.calls[-1]), ([None], "storage"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
