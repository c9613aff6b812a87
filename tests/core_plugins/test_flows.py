"""Tests for `!flows …`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import FLOW_END, BotFlow, BotPlugin, FlowRoot, arg_botcmd, botcmd, botflow
from errklein.commands.flows import FlowNode
from errklein.core_plugins.flows import tree
from errklein.testing import TestBot


class Steps(BotPlugin):
    """A plugin with commands for flows."""

    @botcmd
    def build(self, msg: Any, args: Any) -> str:
        """Build it.

        From its sources.
        """
        return f"built {dict(msg.ctx)}"

    @arg_botcmd("--where", default="home")
    def ship(self, msg: Any, where: str) -> str:
        """Ship it."""
        return f"shipped {where}"


class Deploying(BotFlow):
    """A collection of two flows."""

    @botflow
    def deploy(self, flow: FlowRoot) -> None:
        """Deploys what was
        built.

        In two steps.
        """
        build = flow.connect("build")
        ship = build.connect("ship")
        build.connect(build)
        ship.connect("build").connect(ship)
        ship.connect(FLOW_END)

    @botflow
    def other(self, flow: FlowRoot) -> None:
        flow.connect("ship", room_flow=True).connect("build")


class FlowsCase(SynchronousTestCase):
    """A bot with two flows."""

    config: dict[str, Any] = {}

    def setUp(self) -> None:
        self.bot = TestBot([Steps], config=self.config)
        self.bot.start()
        self.addCleanup(self.bot.stop)
        Deploying(self.bot.bot, "Deploying").activate()


class CommandTests(FlowsCase):
    """Replies of each command."""

    def test_list_without_flows(self) -> None:
        """Without flows, each command replies with a sentence."""
        bot = TestBot()
        bot.start()
        self.addCleanup(bot.stop)
        self.assertEqual(bot.command("!flows list"), "There are no flows.")

    def test_show(self) -> None:
        """The steps are shown as a tree; steps that lead back are marked and don't repeat."""
        self.assertEqual(
            self.bot.command("!flows show deploy").splitlines(),
            [
                "Flow [deploy]",
                "↪ build",
                "  ↪ ship",
                "    ↪ build",
                "      ↺ ship",
                "    ↪ END",
                "  ↺ build",
            ],
        )

    def test_contexts_that_are_none(self) -> None:
        """A context that isn't a JSON object gets a reply in one line, and no flow is started."""
        self.assertIn("Cannot parse the context {bad as JSON: Expecting", self.bot.command("!flows start deploy {bad"))
        self.assertIn("The context must be a JSON object", self.bot.command("!flows start deploy [1]"))
        deep = self.bot.command("!flows start deploy " + "[" * 100_000)
        self.assertEqual(deep, "The context is nested too deeply.")
        self.assertEqual(self.bot.command("!flows status"), "No Flow started.")

    def test_status_of_somebody_whose_name_is_no_markdown(self) -> None:
        """A name that begins like a heading, such as that of an IRC occupant, is shown as text."""
        self.bot.say("!flows start deploy", frm="#ops/alice")
        self.assertIn("#ops/alice is using flow deploy on step", self.bot.command("!flows status"))

    def test_kill(self) -> None:
        """An administrator stops the flow of another person or of a room."""
        self.bot.say("!flows start deploy", frm="alice")
        self.assertEqual(self.bot.command("!flows kill alice other"), "Flow not found.")
        self.assertEqual(self.bot.command("!flows kill bob deploy"), "Flow not found.")
        self.assertEqual(self.bot.command("!flows kill alice deploy"), "deploy killed.")
        self.bot.say("!flows start other", frm="alice", room="#testroom")
        self.assertEqual(self.bot.command("!flows kill #testroom other"), "other killed.")


class TreeTests(SynchronousTestCase):
    """Drawings of flows."""

    def test_shared_steps(self) -> None:
        """The steps after a step that several edges lead to are drawn once."""
        root = FlowRoot("f", None)
        nodes: list[FlowNode] = [root]
        for level in range(30):
            join = FlowNode(f"join{level}")
            for side in "ab":
                nodes[-1].connect(f"{side}{level}").connect(join)
            nodes.append(join)
        lines = tree(root, str)
        self.assertEqual(len(lines), 4 * 30)
        self.assertEqual(sum(line.endswith("…") for line in lines), 29)
