"""A bot of several processes, of which one owns plugins and networks."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd
from errklein.bot import SingleNode
from errklein.testing import TestBot
from tests.bot.several import SeveralTestCase

CALLS: list[str] = []
"""What the plugin was called for."""


class Steps(BotPlugin):
    """A plugin that records its steps."""

    def activate(self) -> None:
        """Activate."""
        super().activate()
        CALLS.append("activate")

    def deactivate(self) -> None:
        """Deactivate."""
        super().deactivate()
        CALLS.append("deactivate")

    @botcmd
    def ping(self, message: Any, args: str) -> str:
        """Reply."""
        return "pong"


class SingleNodeTests(SynchronousTestCase):
    """A bot that is one process."""

    def test_owns_from_the_start(self) -> None:
        """It activates its plugins while it starts, and is a node that owns."""
        CALLS.clear()
        bot = TestBot([Steps])
        self.addCleanup(bot.stop)
        bot.start()
        self.assertEqual((CALLS, bot.command("!ping")), (["activate"], "pong"))
        node = bot.bot.nodes
        self.assertEqual((node.owner, self.successResultOf(node.all())), (node.me, [node.me]))

    def test_needs_nobody(self) -> None:
        """Nobody gets its news, and it can't be drained."""
        node = SingleNode()
        node.changed("plugins")
        self.assertFalse(self.successResultOf(node.drain(7)))
        self.assertIsNone(self.successResultOf(node.stop()))


class OwnershipTests(SeveralTestCase):
    """Two processes of a bot."""

    plugins = (Steps,)

    def setUp(self) -> None:
        """Start both. The first one owns plugins and networks."""
        super().setUp()
        CALLS.clear()
        self.owner = self.process(owns=True)
        self.other = self.process()

    def test_one_owner(self) -> None:
        """Only the owner activates plugins and connects. The other one loads them, and is ready."""
        self.assertEqual((CALLS, self.owner.command("!ping")), (["activate"], "pong"))
        self.assertEqual((self.other.bot.phase, self.other.bot.owns), ("running", False))
        self.assertFalse(self.other.plugin("Steps").is_activated)
        self.assertIsNone(self.other.bot.events.states["test"].connected_at)

    def test_takeover_after_a_stop(self) -> None:
        """The owner stops, and releases its ownership after plugins and networks; the other one takes over."""
        released: list[list[str]] = []
        stop = self.nodes[0].stop
        self.nodes[0].stop = lambda: (released.append([*CALLS]), stop())[1]  # type: ignore[method-assign]
        self.stop(self.owner)
        self.assertEqual(released, [["activate", "deactivate"]])
        self.nodes[1].own()
        self.assertEqual((self.other.command("!ping"), CALLS[2:]), ("pong", ["activate"]))

    def test_lost(self) -> None:
        """A process that isn't the owner any more restarts at once."""
        self.nodes[0].lose()
        self.assertEqual(self.restarts, [self.nodes[0]])

    def test_owned_while_it_stops(self) -> None:
        """A process that becomes the owner while it stops activates nothing."""
        self.stop(self.owner)
        self.other.bot.phase = "stopping"
        self.nodes[1].own()
        self.assertEqual(CALLS, ["activate", "deactivate"])
        self.other.bot.phase = "running"

    def test_drained(self) -> None:
        """A process that is drained stops in order."""
        self.nodes[0].drain(2)
        self.reactor.advance(0)
        self.assertTrue(self.reactor.hasStopped)
