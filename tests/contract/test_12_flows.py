"""Chapter 12: flows."""

from __future__ import annotations

import unittest
from typing import Any

from tests.contract.kit import ADMIN, ContractTest

COMMANDS = """
    from errbot import BotPlugin, botcmd

    class Tried(BotPlugin):
        @botcmd
        def first(self, msg, args):
            msg.ctx["seen"] = args
            return "first done"

        @botcmd(syntax="<what>")
        def second(self, msg, args):
            return f"second after {msg.ctx.get('seen')}"

        @botcmd
        def third(self, msg, args):
            return "third done"

        @botcmd(flow_only=True)
        def only_in_flows(self, msg, args):
            return "only in flows"

        @botcmd
        def automatic(self, msg, args):
            msg.ctx["automatic"] = True
            self.send(msg.frm, f"automatic with {args!r}")
            return "thrown away"
    """

FLOWS = """
    from errbot import BotFlow, FLOW_END, FlowRoot, botflow

    class TriedFlows(BotFlow):
        @botflow
        def by_hand(self, flow: FlowRoot):
            '''A flow that is started by hand.'''
            step = flow.connect("first")
            step.connect("second")
            step.connect("third")

        @botflow
        def triggered(self, flow: FlowRoot):
            '''A flow that begins with a command.'''
            step = flow.connect("third", auto_trigger=True)
            step = step.connect("automatic", predicate=lambda ctx: True)
            step.connect("only_in_flows")

        @botflow
        def ends(self, flow: FlowRoot):
            '''A flow with an end.'''
            flow.connect("first").connect(FLOW_END, predicate=lambda ctx: ctx.get("seen") == "end")
    """


class FlowTests(ContractTest):
    """Flows of plugins."""

    plugin = COMMANDS
    files = {"flows.flow": "[Core]\nName = TriedFlows\nModule = tried_flows\n", "tried_flows.py": FLOWS}

    def test_list(self) -> None:
        """All flows, with what they are for."""
        listed = self.ask("!flows list")
        for part in ("by_hand", "A flow that is started by hand.", "triggered"):
            self.assertIn(part, listed)

    def test_show(self) -> None:
        """The steps of a flow."""
        shown = self.ask("!flows show by_hand")
        for part in ("first", "second", "third"):
            self.assertIn(part, shown)

    def test_by_hand(self) -> None:
        """A flow that is started waits for its first command; each command is told what may follow."""
        started = "\n".join(self.replies("!flows start by_hand"))
        self.assertIn("by_hand", started)
        said = self.replies("!first here")
        self.assertIn("first done", said)
        hint = "\n".join(said)
        self.assertIn("You are in the flow by_hand, you can continue with", hint)
        self.assertRegex(hint, "!second ?<what>")
        self.assertIn("!third", hint)
        self.assertIn("second after here", self.replies("!second"))

    def test_ends_at_a_leaf(self) -> None:
        """After the last command there is no flow."""
        self.replies("!flows start by_hand")
        self.replies("!first here")
        self.assertEqual(len(self.bot.flow_executor.in_flight), 1)
        self.replies("!second")
        self.assertEqual(len(self.bot.flow_executor.in_flight), 0)

    def test_triggered(self) -> None:
        """A command may begin a flow; a step whose predicate holds is done at once, with no arguments."""
        said = self.replies("!third")
        while not any("only in flows" in text for text in said):
            said.append(self.hear())
        self.assertIn("third done", said)
        self.assertIn("automatic with None", said)
        self.assertNotIn("thrown away", said)

    def test_flow_only(self) -> None:
        """Such a command works in its flow, and nowhere else."""
        self.assert_silent("!only in flows")
        said = self.replies("!third")
        while not any("only in flows" in text for text in said):
            said.append(self.hear())
        self.assertIn("only in flows", self.replies("!only in flows"))

    def test_stop(self) -> None:
        """A flow may be left."""
        self.replies("!flows start by_hand")
        self.assertEqual(len(self.bot.flow_executor.in_flight), 1)
        self.assertIn("by_hand", "\n".join(self.replies("!flows stop by_hand")))
        self.assertEqual(len(self.bot.flow_executor.in_flight), 0)

    def test_status(self) -> None:
        """Flows that go on."""
        self.replies("!flows start by_hand")
        self.assertIn("by_hand", self.ask("!flows status"))

    def test_kill(self) -> None:
        """Somebody's flow is ended."""
        self.replies("!flows start by_hand")
        self.replies(f"!flows kill {ADMIN} by_hand")
        self.assertEqual(len(self.bot.flow_executor.in_flight), 0)

    def test_context(self) -> None:
        """A flow may be started with values."""
        self.replies('!flows start by_hand {"given": 1}')
        (flow,) = self.bot.flow_executor.in_flight
        self.assertEqual(flow.ctx, {"given": 1})

    def test_executor(self) -> None:
        """Plugins start and stop flows."""
        executor = self.bot.flow_executor
        self.assertIn("by_hand", executor.flow_roots)
        flow = executor.start_flow("by_hand", self.bot.sender, {"a": 1})
        self.assertEqual((flow.name, flow.ctx), ("by_hand", {"a": 1}))
        executor.stop_flow("by_hand", self.bot.sender)
        self.assertEqual(len(executor.in_flight), 0)

    def test_start_of_nothing(self) -> None:
        """An unknown flow is an error."""
        with self.assertRaises(ValueError):
            self.bot.flow_executor.start_flow("nothing", self.bot.sender, {})


class GraphTests(unittest.TestCase):
    """The graph that a flow is."""

    def root(self) -> Any:
        """A root."""
        from errbot.flow import FlowRoot

        return FlowRoot("name", "what it is for")

    def test_connected(self) -> None:
        """`connect` returns the child, which has its command."""
        root = self.root()
        child = root.connect("first")
        grandchild = child.connect("second")
        self.assertEqual((child.command, grandchild.command), ("first", "second"))
        self.assertEqual((root.name, root.description), ("name", "what it is for"))
        self.assertEqual([node for _, node in root.children], [child])
        self.assertEqual([node for _, node in child.children], [grandchild])

    def test_loops(self) -> None:
        """A node may lead back to an earlier one."""
        root = self.root()
        child = root.connect("first")
        grandchild = child.connect("second")
        self.assertIs(grandchild.connect(child), child)

    def test_auto_trigger(self) -> None:
        """Commands that begin the flow."""
        root = self.root()
        root.connect("first", auto_trigger=True)
        root.connect("second")
        self.assertEqual(list(root.auto_triggers), ["first"])

    def test_end(self) -> None:
        """FLOW_END ends a flow."""
        from errbot import FLOW_END

        child = self.root().connect("first")
        child.connect(FLOW_END, predicate=lambda ctx: True)
        self.assertEqual([node for _, node in child.children], [FLOW_END])
