"""Chapter 12: flows."""

from __future__ import annotations

import unittest
from typing import Any

from tests.contract import IS_ERRKLEIN
from tests.contract.kit import ADMIN, ContractTest, decided

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
            step = flow.connect("first")
            step.connect("third")
            step.connect(FLOW_END, predicate=lambda ctx: ctx.get("seen") == "end")
    """


class FlowTests(ContractTest):
    """Flows, started by users."""

    plugin = COMMANDS
    files = {"flows.flow": "[Core]\nName = TriedFlows\nModule = tried_flows\n", "tried_flows.py": FLOWS}

    def begin(self, flow: str, context: str = "") -> None:
        """Start the flow, and wait until it is in progress: the reply comes before it."""
        self.replies(f"!flows start {flow} {context}")
        while flow not in self.ask("!flows status"):
            pass

    def test_list(self) -> None:
        """`!flows list` displays all flows with their descriptions."""
        listed = self.ask("!flows list")
        for part in ("by_hand", "A flow that is started by hand.", "triggered"):
            self.assertIn(part, listed)

    def test_show(self) -> None:
        """`!flows show` displays the steps of a flow."""
        shown = self.ask("!flows show by_hand")
        for part in ("first", "second", "third"):
            self.assertIn(part, shown)

    def test_by_hand(self) -> None:
        """A started flow waits for its first command; after each command, a hint lists the next ones."""
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
        """The flow ends after a command without successors."""
        self.replies("!flows start by_hand")
        self.replies("!first here")
        self.assertEqual(len(self.bot.flow_executor.in_flight), 1)
        self.replies("!second")
        self.assertEqual(len(self.bot.flow_executor.in_flight), 0)

    def test_end(self) -> None:
        """The flow ends at FLOW_END as soon as its predicate is true."""
        self.replies("!flows start ends")
        self.replies("!first go on")
        self.assertEqual([flow.name for flow in self.bot.flow_executor.in_flight], ["ends"])
        self.replies("!flows stop")
        self.replies("!flows start ends")
        # The list of possible commands may follow the replies to the next commands.
        self.until_quiet()
        self.assertEqual(self.replies("!first end"), ["first done"])
        for _ in range(100):
            if self.bot.flow_executor.in_flight:
                self.until_quiet()
        self.assertEqual(len(self.bot.flow_executor.in_flight), 0)

    @decided("there is no hint at a step where the flow may end")
    def test_hint_beside_an_end(self) -> None:
        """A hint lists the other commands at a step with FLOW_END, but not the end."""
        self.replies("!flows start ends")
        self.until_quiet()
        self.say("!first go on")
        self.assertEqual(self.hear(), "first done")
        hint = self.hear()
        self.assertIn("You are in the flow ends, you can continue with", hint)
        self.assertIn("!third", hint)
        self.assertNotIn("END", hint)

    def test_triggered(self) -> None:
        """A command may start a flow, and a step with a true predicate is executed automatically."""
        said = self.replies("!third")
        while not any("only in flows" in text for text in said):
            said.append(self.hear())
        self.assertIn("third done", said)
        self.assertIn("automatic with None", said)
        self.assertNotIn("thrown away", said)

    def test_flow_only(self) -> None:
        """A command with `flow_only=True` works only in its flow."""
        self.assert_silent("!only in flows")
        said = self.replies("!third")
        while not any("only in flows" in text for text in said):
            said.append(self.hear())
        self.assertIn("only in flows", self.replies("!only in flows"))

    def test_stop(self) -> None:
        """`!flows stop` ends a flow."""
        self.begin("by_hand")
        self.assertEqual(len(self.bot.flow_executor.in_flight), 1)
        self.assertIn("by_hand", "\n".join(self.replies("!flows stop by_hand")))
        self.assertEqual(len(self.bot.flow_executor.in_flight), 0)

    def test_status(self) -> None:
        """`!flows status` displays the flows in progress."""
        self.begin("by_hand")
        self.assertIn("by_hand", self.ask("!flows status"))

    def test_kill(self) -> None:
        """`!flows kill` ends the flow of another person."""
        self.begin("by_hand")
        self.say(f"!flows kill {ADMIN} by_hand")
        # Commands of core plugins and of others are handled side by side.
        while self.hear() != "by_hand killed.":
            pass
        self.assertEqual(len(self.bot.flow_executor.in_flight), 0)

    def test_context(self) -> None:
        """`!flows start` takes the initial context as JSON."""
        self.begin("by_hand", '{"given": 1}')
        (flow,) = self.bot.flow_executor.in_flight
        self.assertEqual(flow.ctx, {"given": 1})

    def test_executor(self) -> None:
        """Plugins can start and stop flows with `flow_executor`."""
        executor = self.bot.flow_executor
        self.assertIn("by_hand", executor.flow_roots)
        flow = executor.start_flow("by_hand", self.bot.sender, {"a": 1})
        self.assertEqual((flow.name, flow.ctx), ("by_hand", {"a": 1}))
        executor.stop_flow("by_hand", self.bot.sender)
        self.assertEqual(len(executor.in_flight), 0)

    def test_start_of_nothing(self) -> None:
        """Starting an unknown flow raises ValueError."""
        with self.assertRaises(ValueError):
            self.bot.flow_executor.start_flow("nothing", self.bot.sender, {})


class GraphTests(unittest.TestCase):
    """The graph of a flow: FlowRoot and FlowNode."""

    def root(self) -> Any:
        """Return a root."""
        from errbot.flow import FlowRoot

        return FlowRoot("name", "what it is for")

    def test_connected(self) -> None:
        """`connect` adds a child with a command and returns it."""
        root = self.root()
        child = root.connect("first")
        grandchild = child.connect("second")
        self.assertEqual((child.command, grandchild.command), ("first", "second"))
        self.assertEqual((root.name, root.description), ("name", "what it is for"))
        self.assertEqual([node for _, node in root.children], [child])
        self.assertEqual([node for _, node in child.children], [grandchild])

    def test_loops(self) -> None:
        """A node may be connected to an earlier one."""
        root = self.root()
        child = root.connect("first")
        grandchild = child.connect("second")
        self.assertIs(grandchild.connect(child), child)

    def test_auto_trigger(self) -> None:
        """`auto_triggers` has the commands that start the flow."""
        root = self.root()
        root.connect("first", auto_trigger=True)
        root.connect("second")
        self.assertEqual(list(root.auto_triggers), ["first"])

    def test_end(self) -> None:
        """FLOW_END can be connected as a child."""
        from errbot import FLOW_END

        child = self.root().connect("first")
        child.connect(FLOW_END, predicate=lambda ctx: True)
        self.assertEqual([node for _, node in child.children], [FLOW_END])

    def test_hints(self) -> None:
        """`hints` is true unless it is given."""
        child = self.root().connect("first")
        self.assertTrue(child.hints)
        self.assertFalse(child.connect("second", hints=False).hints)

    def test_predicates(self) -> None:
        """By default the predicate is false."""
        root = self.root()
        first = root.connect("first")
        self.assertFalse(root.predicate_for_node(first)({}))
        self.assertIsNone(first.predicate_for_node(first))

    def test_order_of_arguments(self) -> None:
        """`connect` takes `predicate`, `auto_trigger` and `room_flow` in this order; for a node, `predicate` and
        `hints`.
        """
        root = self.root()
        first = root.connect("first", lambda ctx: True, True, True)
        second = first.connect("second", lambda ctx: True, False)
        self.assertTrue(root.predicate_for_node(first)({}) and first.predicate_for_node(second)({}))
        self.assertEqual((list(root.auto_triggers), root.room_flow, second.hints), (["first"], True, False))

    def test_room_flow(self) -> None:
        """A flow belongs to a room if one of its first steps has `room_flow=True`."""
        root = self.root()
        root.connect("first")
        self.assertFalse(root.room_flow)
        root.connect("second", room_flow=True)
        self.assertTrue(root.room_flow)


class InFlightTests(unittest.TestCase):
    """`Flow`: a flow in progress."""

    def setUp(self) -> None:
        """Create a flow of two steps, the first of which has a predicate."""
        from errbot.backends.test import TestPerson
        from errbot.flow import Flow, FlowRoot

        root = FlowRoot("name", "what it is for")
        self.first = root.connect("first", predicate=lambda ctx: "ok" in ctx)
        self.second = self.first.connect("second")
        self.flow: Any = Flow(root, TestPerson("a@b"), {"k": 1})

    def test_fields(self) -> None:
        """A flow has its name, root, context, requestor and current step."""
        self.assertEqual((self.flow.name, self.flow.root.name, self.flow.ctx), ("name", "name", {"k": 1}))
        self.assertEqual(str(self.flow.requestor), "a@b")
        self.assertIs(self.flow.current_step, self.flow.root)

    def test_steps(self) -> None:
        """`next_steps` has all next steps, `next_autosteps` those with a true predicate."""
        self.assertEqual(self.flow.next_steps(), [self.first])
        self.assertEqual(self.flow.next_autosteps(), [])
        self.flow.ctx["ok"] = True
        self.assertEqual(self.flow.next_autosteps(), [self.first])

    def test_invalid_states(self) -> None:
        """`advance` to a step with a false predicate raises InvalidState, unless `enforce_predicate=False`."""
        from errbot.flow import InvalidState

        with self.assertRaises(InvalidState):
            self.flow.advance(self.first)
        self.flow.advance(self.first, enforce_predicate=False)
        self.assertIs(self.flow.current_step, self.first)

    def test_wrong_steps(self) -> None:
        """`advance` to a step that isn't next raises ValueError."""
        with self.assertRaises(ValueError):
            self.flow.advance(self.second)

    def test_whose(self) -> None:
        """`check_identifier` is true only for the requestor."""
        from errbot.backends.test import TestPerson

        self.assertTrue(self.flow.check_identifier(TestPerson("a@b")))
        self.assertFalse(self.flow.check_identifier(TestPerson("c@d")))


MORE_FLOWS = """
    from errbot import BotFlow, botflow

    class MoreFlows(BotFlow):
        @botflow
        def of_room(self, flow):
            '''Of a room.'''
            flow.connect("first", room_flow=True).connect("second").connect("third")

        @botflow
        def silent(self, flow):
            '''Without hints.'''
            flow.connect("first").connect("second", hints=False).connect("third")

        @botflow
        def of_one(self, flow):
            '''Of one person.'''
            flow.connect("first").connect("second").connect("third")

        @botflow
        def triggered_only(self, flow):
            '''Begun by a command.'''
            flow.connect("third", auto_trigger=True).connect("second").connect("first")
    """


class ExecutorTests(ContractTest):
    """`_bot.flow_executor`."""

    plugin = COMMANDS
    files = {
        "more_flows.flow": (
            "[Core]\nName = MoreFlows\nModule = more_flows\n\n[Documentation]\nDescription = Some flows.\n"
        ),
        "more_flows.py": MORE_FLOWS,
    }

    def setUp(self) -> None:
        """Get the executor."""
        super().setUp()
        self.executor: Any = self.bot.flow_executor

    def test_collection(self) -> None:
        """A BotFlow has the Name of its `.flow` file."""
        from errbot import BotFlow

        flows = self.bot.plugin_manager.flows["MoreFlows"]
        self.assertIsInstance(flows, BotFlow)
        self.assertEqual(flows.name, "MoreFlows")
        self.assertEqual(self.executor.flow_roots["of_one"].description, "Of one person.")

    def test_one_at_a_time(self) -> None:
        """A person can be in one flow at a time."""
        self.executor.start_flow("of_one", self.bot.sender, {})
        with self.assertRaises(ValueError):
            self.executor.start_flow("silent", self.bot.sender, {})
        self.assertIn("already running a flow", "\n".join(self.replies("!flows start silent")))

    def test_others(self) -> None:
        """Several persons can be in the same flow."""
        self.executor.start_flow("of_one", self.bot.sender, {})
        self.executor.start_flow("of_one", self.bot.build_identifier("somebody@host"), {})
        self.assertEqual(len(self.executor.in_flight), 2)

    def test_triggered(self) -> None:
        """`trigger` advances the flow and updates its context; a command that isn't next has no effect."""
        flow = self.executor.start_flow("of_one", self.bot.sender, {})
        self.assertIsNone(self.executor.trigger("third", self.bot.sender, {}))
        self.assertIs(self.executor.trigger("first", self.bot.sender, {"given": 1}), flow)
        self.assertEqual((flow.current_step.command, flow.ctx["given"]), ("first", 1))
        while "!second" not in self.hear():
            pass

    def test_triggered_without_a_flow(self) -> None:
        """Without a flow in progress, `trigger` starts the flow that the command triggers, if there is one."""
        self.assertIsNone(self.executor.trigger("first", self.bot.sender, {}))
        flow = self.executor.trigger("third", self.bot.sender, {})
        self.assertEqual(flow.name, "triggered_only")
        self.assertEqual(list(self.executor.in_flight), [flow])

    def test_other_commands(self) -> None:
        """Other commands don't advance a flow."""
        flow = self.executor.start_flow("of_one", self.bot.sender, {})
        self.replies("!third")
        self.assertIs(flow.current_step, flow.root)

    def test_stopped(self) -> None:
        """`stop_flow` returns the ended flow; None if there is none."""
        flow = self.executor.start_flow("of_one", self.bot.sender, {})
        self.assertIsNone(self.executor.stop_flow("silent", self.bot.sender))
        self.assertIs(self.executor.stop_flow("of_one", self.bot.sender), flow)
        self.assertIsNone(self.executor.stop_flow("of_one", self.bot.sender))

    def test_rooms(self) -> None:
        """The requestor of a room flow is the room, and all its occupants can advance it."""
        from errbot.backends.test import TestOccupant

        room = self.bot.query_room("#flows")
        room.join()
        flow = self.executor.start_flow("of_room", TestOccupant("a@b", room), {})
        self.assertEqual(flow.requestor, room)
        self.assertTrue(flow.check_identifier(TestOccupant("c@d", room)))
        self.assertIs(self.executor.trigger("first", TestOccupant("c@d", room), {}), flow)

    @unittest.skipUnless(IS_ERRKLEIN, "errbot doesn't come to an end there")
    def test_without_hints(self) -> None:
        """After a step with `hints=False` there is no hint."""
        self.executor.start_flow("silent", self.bot.sender, {})
        self.assertIn("!first", self.hear())
        self.executor.trigger("first", self.bot.sender, {})
        self.assertIn("!second", self.hear())
        self.executor.trigger("second", self.bot.sender, {})
        self.assertEqual(self.until_quiet(), [])

    def test_commands(self) -> None:
        """The replies to missing or invalid arguments name the problem."""
        for command, told in (
            ("!flows show", "flow name"),
            ("!flows show nothing", "nothing doesn't exist"),
            ("!flows start nothing", "nothing doesn't exist"),
            ("!flows start of_one {bad", "parse"),
            ("!flows stop nothing", "not found"),
            ("!flows stop", "No Flow found"),
            (f"!flows kill {ADMIN} of_one", "not found"),
            ("!flows kill", "arguments are required"),
        ):
            self.assertIn(told, self.ask(command), command)

    def test_status_of_one(self) -> None:
        """`!flows status` displays the persons in a flow, their steps and the next ones."""
        self.replies("!flows start of_one")
        said = self.ask("!flows status of_one")
        for part in ("of_one", "Start", ADMIN, "first", "second"):
            self.assertIn(part, said)
        said = self.ask("!flows status")
        for part in (ADMIN, "of_one", "first"):
            self.assertIn(part, said)

    def test_stop_without_a_name(self) -> None:
        """`!flows stop` without a name ends the sender's flow."""
        self.replies("!flows start of_one")
        self.assertIn("of_one stopped", "\n".join(self.replies("!flows stop")))
        self.assertEqual(len(self.executor.in_flight), 0)

    @decided("everybody may use it")
    def test_kill_is_for_administrators(self) -> None:
        """Only administrators can use `!flows kill`."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("requires bot-admin privileges", self.ask(f"!flows kill {ADMIN} of_one"))


class WhatCountsTests(ContractTest):
    """Failed commands and automatic steps."""

    plugin = """
        from errbot import BotPlugin, botcmd, cmdfilter

        class Tried(BotPlugin):
            def activate(self):
                super().activate()
                self.filtered = []

            @cmdfilter
            def see(self, msg, cmd, args, dry_run):
                self.filtered.append(cmd)
                return msg, cmd, args

            @botcmd
            def works(self, msg, args):
                return "works"

            @botcmd
            def fails(self, msg, args):
                raise RuntimeError("doesn't work")

            @botcmd
            def errs(self, msg, args):
                raise ValueError("can't be done")

            @botcmd
            def counts(self, msg, args):
                msg.ctx["count"] = msg.ctx["go"]
                self.send(msg.frm, f"{args} {msg.ctx}")

            @botcmd
            def other(self, msg, args):
                self.send(msg.frm, "other")

            @botcmd(template="there_is_none")
            def automatic(self, msg, args):
                self.send(msg.frm, "automatic")
                return {}
        """
    files = {
        "some_flows.flow": "[Core]\nName = SomeFlows\nModule = some_flows\n",
        "some_flows.py": """
            from errbot import BotFlow, botflow

            class SomeFlows(BotFlow):
                @botflow
                def failing(self, flow):
                    flow.connect("fails", auto_trigger=True).connect("works")

                @botflow
                def automatic(self, flow):
                    step = flow.connect("works", auto_trigger=True)
                    step.connect("automatic", predicate=lambda ctx: True).connect("fails")

                @botflow
                def chain(self, flow):
                    step = flow.connect("counts", predicate=lambda ctx: "go" in ctx)
                    step = step.connect("automatic", predicate=lambda ctx: "count" in ctx)
                    step.connect("other", predicate=lambda ctx: "count" in ctx)
                    step.connect("fails", predicate=lambda ctx: "nothing" in ctx)

                @botflow
                def breaking(self, flow):
                    flow.connect("works").connect("errs", predicate=lambda ctx: True).connect("fails")
            """,
    }
    config = {"ACCESS_CONTROLS": {"automatic": {"denyusers": ("*",)}}}

    def test_success(self) -> None:
        """A command that fails neither starts nor advances a flow."""
        self.replies("!fails")
        self.assertEqual(len(self.bot.flow_executor.in_flight), 0)
        self.replies("!flows start failing")
        self.replies("!fails")
        (flow,) = self.bot.flow_executor.in_flight
        self.assertIs(flow.current_step, flow.root)

    def test_automatic_steps(self) -> None:
        """Automatic steps bypass filters, access rules and templates."""
        self.assertIn("not allowed", self.ask("!automatic"))
        self.instance().filtered.clear()
        said = self.replies("!works")
        while not any("!fails" in text for text in said):
            said.append(self.hear())
        self.assertIn("automatic", said)
        self.assertFalse([text for text in said if "not allowed" in text or "nooo" in text])
        self.assertNotIn("automatic", self.instance().filtered)

    def test_several_automatic_steps(self) -> None:
        """Automatic steps are executed as long as predicates are true, also at the start of the flow."""
        self.say('!flows start chain {"go": 1}')
        said = [self.hear() for _ in range(4)]
        said.remove("Flow chain started ...")
        self.assertEqual(said, ["None {'go': 1, 'count': 1}", "automatic", "other"])
        self.assertEqual(self.until_quiet(), [])

    def test_no_automatic_step(self) -> None:
        """If no predicate is true, the flow waits."""
        self.replies("!flows start chain")
        (flow,) = self.bot.flow_executor.in_flight
        self.assertIs(flow.current_step, flow.root)
        self.assertEqual(flow.ctx, {})

    def test_failing_automatic_step(self) -> None:
        """The reply to a failed automatic step has the exception's text."""
        self.replies("!flows start breaking")
        said = self.replies("!works")
        while not any("can't be done" in text for text in said):
            said.append(self.hear())

    @decided("flows stay after deactivation")
    def test_removed(self) -> None:
        """Deactivated flows are removed and ended; activated flows are available again."""
        self.replies("!flows start failing")
        flows = self.bot.plugin_manager.flows["SomeFlows"]
        flows.deactivate()
        self.assertNotIn("failing", self.bot.flow_executor.flow_roots)
        self.assertEqual(len(self.bot.flow_executor.in_flight), 0)
        flows.activate()
        self.assertIn("failing", self.bot.flow_executor.flow_roots)
