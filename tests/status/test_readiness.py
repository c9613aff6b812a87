"""Tests for `/ready`: networks, journal, outbox, listeners, and the phase of the bot."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from errklein import BotPlugin, webhook
from errklein.ports.journal import JournalError
from errklein.ports.outbox import OutboxStatus
from errklein.status import StatusServer
from errklein.verify import addresses
from tests.status.kit import StatusCase


class Slow(BotPlugin):
    """A plugin whose webhook responds when the test wants it."""

    gate: Deferred[str]

    @webhook
    async def slow(self, payload: object) -> str:
        self.gate = Deferred()
        return await self.gate


class Waiting:
    """The part of a network that has an outbox, with messages of which the oldest was accepted at a time."""

    def __init__(self, oldest_at: float, parts: int = 2, size: int = 20) -> None:
        self.outbox = SimpleNamespace(status=OutboxStatus(2, parts, size, oldest_at, 5))


class ReadinessTests(StatusCase):
    """A bot that is ready, until something is wrong."""

    plugins = (Slow,)

    def test_ready(self) -> None:
        """A running bot is ready."""
        self.assertEqual(self.ready(), (200, {}))

    def test_starting(self) -> None:
        """A bot that hasn't been created, or whose plugins aren't active, is not ready."""
        self.server.close()
        self.server = StatusServer(self.bot.bot.reactor, "tcp:1")
        self.assertEqual(self.server.problems(), {"phase": "the bot is starting"})
        self.bot.bot.phase = "starting"
        self.server.watch(self.bot.bot)
        self.assertEqual(self.server.problems()["phase"], "the bot is starting")

    def test_stopping(self) -> None:
        """A bot that is stopping is not ready while its handlers end."""
        request = self.bot.post("/slow")
        stopping = Deferred.fromCoroutine(self.bot.bot.stop(5))
        self.assertNoResult(stopping)
        self.assertEqual(self.ready(), (503, {"phase": "the bot is stopping"}))
        self.assertEqual(self.get("/health"), (200, b"ok\n"))
        self.bot.plugin("Slow").gate.callback("done")
        self.bot.advance(0)
        self.successResultOf(stopping)
        self.successResultOf(request)

    def test_absent_network_is_not_ready(self) -> None:
        """A network without a connection is named; one that has ended isn't missed."""
        backend = self.bot.bot.backend
        events = self.bot.bot.events
        events.backend_disconnected(backend, "no route to host")
        self.assertEqual(self.ready(), (503, {"networks": "not connected: test"}))
        events.backend_connected(backend)
        self.assertEqual(self.ready(), (200, {}))
        events.backend_ended(backend)
        self.assertEqual(self.ready(), (200, {}))

    def test_journal_on_a_full_disk(self) -> None:
        """If the journal can't be written, /ready shows the reason 2 seconds later, until it can be written again."""
        self.patch(self.bot.bot.journal, "check", lambda: fail(JournalError("journal.sqlite: the disk is full")))
        self.bot.advance(2)
        self.assertEqual(self.ready(), (503, {"journal": "journal.sqlite: the disk is full"}))
        self.patch(self.bot.bot.journal, "check", lambda: succeed(None))
        self.bot.advance(2)
        self.assertEqual(self.ready(), (200, {}))

    def test_hanging_disk_is_not_ready(self) -> None:
        """If the disk hangs, /ready shows it less than 5 seconds later, and no further write is tried."""
        checks: list[Deferred[None]] = []

        def check() -> Deferred[None]:
            checks.append(Deferred())
            return checks[-1]

        self.patch(self.bot.bot.journal, "check", check)
        self.bot.advance(4.9)
        self.assertEqual(self.ready(), (503, {"journal": "the disk has not responded for 3 s"}))
        self.assertEqual(len(checks), 1)
        checks[0].callback(None)
        self.assertEqual(self.ready(), (200, {}))

    def test_old_message(self) -> None:
        """A network is named whose oldest message has been waiting for more than five minutes."""
        self.patch(self.bot.bot, "backends", {"test": Waiting(self.bot.bot.now() - 300)})
        self.assertEqual(self.ready(), (200, {}))
        self.patch(self.bot.bot, "backends", {"test": Waiting(self.bot.bot.now() - 301)})
        self.assertEqual(self.ready(), (503, {"outbox": "test: a message has been waiting for 301 s"}))

    def test_full_outbox(self) -> None:
        """A network is named whose outbox has nearly the largest number of parts or characters."""
        for parts, size, problem in (
            (19_000, 20, "test: full, with 2 messages"),
            (20_001, 20, "test: full, with 2 messages"),
            (2, 19_000_000, "test: full, with 2 messages"),
            (2, 20_000_001, "test: full, with 2 messages"),
            (18_999, 18_999_999, ""),
        ):
            self.patch(self.bot.bot, "backends", {"test": Waiting(self.bot.bot.now(), parts, size)})
            self.assertEqual(self.server.problems()["outbox"], problem)

    def test_intake_without_networks(self) -> None:
        """Webhooks are accepted while a network is absent and its outbox full, so a proxy must not leave the bot out."""
        self.bot.bot.events.backend_disconnected(self.bot.bot.backend, "netsplit")
        self.patch(self.bot.bot, "backends", {"test": Waiting(self.bot.bot.now(), 19_000)})
        self.assertEqual(self.ready()[0], 503)
        self.assertEqual(self.ready("/ready/intake"), (200, {}))

    def test_intake(self) -> None:
        """Webhooks aren't accepted while the journal can't be written, an endpoint is closed, or the bot stops."""
        self.patch(self.bot.bot.journal, "check", lambda: fail(JournalError("the disk is full")))
        self.patch(self.server, "_public", ["tcp:2"])
        self.bot.bot.phase = "stopping"
        self.bot.advance(2)
        problems = {"phase": "the bot is stopping", "journal": "the disk is full", "listeners": "closed: tcp:2"}
        self.assertEqual(self.ready("/ready/intake"), (503, problems))

    def test_storage(self) -> None:
        """Neither is the bot ready, nor accepts it webhooks, while the database of its values is deleted."""
        self.patch(self.bot.bot.health, "_file_problems", {"journal": "", "storage": "core.sqlite was deleted"})
        for path in ("/ready", "/ready/intake"):
            self.assertEqual(self.ready(path), (503, {"storage": "core.sqlite was deleted"}))

    def test_closed_listener(self) -> None:
        """An endpoint of --web that isn't open is named."""
        self.server.close()
        self.server = StatusServer(self.bot.bot.reactor, "tcp:1", ["tcp:2"])
        self.server.watch(self.bot.bot)
        self.assertEqual(self.server.problems()["listeners"], "closed: tcp:2")


class Fragile(BotPlugin):
    """A plugin that can't be activated again."""

    def deactivate(self) -> None:
        super().deactivate()
        self.is_broken = True

    def activate(self) -> None:
        if getattr(self, "is_broken", False):
            raise RuntimeError("s3cret")
        super().activate()

    @webhook(verify=addresses(allowed="127.0.0.1"))
    def event(self, payload: object) -> None: ...


class BrokenPluginCase(StatusCase):
    """A test with a plugin that breaks."""

    plugins = (Fragile,)

    def break_plugin(self) -> None:
        """Let the plugin fail."""
        self.bot.command("!plugin deactivate Fragile")
        self.assertEqual(self.ready(), (200, {}))
        self.bot.command("!plugin activate Fragile")
        self.flushLoggedErrors(RuntimeError)


class NamedPluginTests(BrokenPluginCase):
    """A bot with a plugin that WEBHOOKS names."""

    config: dict[str, Any] = {"WEBHOOKS": {"Fragile:event": {"rate": "1/s"}}}

    def test_named_in_webhooks(self) -> None:
        """A bot with a broken plugin that WEBHOOKS names isn't ready, but accepts the webhooks of others; a deactivated one is no problem."""
        self.break_plugin()
        self.assertEqual(self.ready("/ready"), (503, {"plugins": "broken, but named in WEBHOOKS: Fragile"}))
        self.assertEqual(self.ready("/ready/intake"), (200, {}))


class OtherPluginTests(BrokenPluginCase):
    """A bot with a plugin that WEBHOOKS doesn't name."""

    def test_not_named_in_webhooks(self) -> None:
        """Another broken plugin doesn't change whether the bot is ready."""
        self.break_plugin()
        self.assertEqual(self.ready(), (200, {}))
