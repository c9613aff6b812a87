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

    def test_end(self) -> None:
        """Where a flow may end it does as soon as the predicate holds, and only then."""
        self.replies("!flows start ends")
        self.replies("!first go on")
        self.assertEqual([flow.name for flow in self.bot.flow_executor.in_flight], ["ends"])
        self.replies("!flows stop")
        self.replies("!flows start ends")
        self.assertEqual(self.replies("!first end"), ["first done"])
        for _ in range(100):
            if self.bot.flow_executor.in_flight:
                self.until_quiet()
        self.assertEqual(len(self.bot.flow_executor.in_flight), 0)

    @decided("nobody is told how to go on where the flow may end as well")
    def test_hint_beside_an_end(self) -> None:
        """What else may follow is told, the end isn't."""
        self.replies("!flows start ends")
        self.say("!first go on")
        self.assertEqual(self.hear(), "first done")
        hint = self.hear(timeout=1)
        self.assertIn("You are in the flow ends, you can continue with", hint)
        self.assertIn("!third", hint)
        self.assertNotIn("END", hint)

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

    def test_hints(self) -> None:
        """Steps have hints, unless they are made without."""
        child = self.root().connect("first")
        self.assertTrue(child.hints)
        self.assertFalse(child.connect("second", hints=False).hints)

    def test_predicates(self) -> None:
        """By default nothing goes on by itself."""
        root = self.root()
        first = root.connect("first")
        self.assertFalse(root.predicate_for_node(first)({}))
        self.assertIsNone(first.predicate_for_node(first))

    def test_order_of_arguments(self) -> None:
        """By their places: predicate, auto_trigger and room_flow; of later steps predicate and hints."""
        root = self.root()
        first = root.connect("first", lambda ctx: True, True, True)
        second = first.connect("second", lambda ctx: True, False)
        self.assertTrue(root.predicate_for_node(first)({}) and first.predicate_for_node(second)({}))
        self.assertEqual((list(root.auto_triggers), root.room_flow, second.hints), (["first"], True, False))

    def test_room_flow(self) -> None:
        """A flow is one of a room if a first step says so."""
        root = self.root()
        root.connect("first")
        self.assertFalse(root.room_flow)
        root.connect("second", room_flow=True)
        self.assertTrue(root.room_flow)


class InFlightTests(unittest.TestCase):
    """`Flow`: how far somebody has got."""

    def setUp(self) -> None:
        """A flow of two steps, the first of which may go on by itself."""
        from errbot.backends.test import TestPerson
        from errbot.flow import Flow, FlowRoot

        root = FlowRoot("name", "what it is for")
        self.first = root.connect("first", predicate=lambda ctx: "ok" in ctx)
        self.second = self.first.connect("second")
        self.flow: Any = Flow(root, TestPerson("a@b"), {"k": 1})

    def test_fields(self) -> None:
        """Where it began, for whom, with what."""
        self.assertEqual((self.flow.name, self.flow.root.name, self.flow.ctx), ("name", "name", {"k": 1}))
        self.assertEqual(str(self.flow.requestor), "a@b")
        self.assertIs(self.flow.current_step, self.flow.root)

    def test_steps(self) -> None:
        """What may follow, and what follows by itself."""
        self.assertEqual(self.flow.next_steps(), [self.first])
        self.assertEqual(self.flow.next_autosteps(), [])
        self.flow.ctx["ok"] = True
        self.assertEqual(self.flow.next_autosteps(), [self.first])

    def test_invalid_states(self) -> None:
        """A step whose predicate doesn't hold can't be taken, unless that is asked for."""
        from errbot.flow import InvalidState

        with self.assertRaises(InvalidState):
            self.flow.advance(self.first)
        self.flow.advance(self.first, enforce_predicate=False)
        self.assertIs(self.flow.current_step, self.first)

    def test_wrong_steps(self) -> None:
        """What doesn't follow can't be taken at all."""
        with self.assertRaises(ValueError):
            self.flow.advance(self.second)

    def test_whose(self) -> None:
        """It is the requestor's."""
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
        """Have the executor."""
        super().setUp()
        self.executor: Any = self.bot.flow_executor

    def test_collection(self) -> None:
        """A .flow file has a name, as a .plug file has; its class is made with it."""
        from errbot import BotFlow

        flows = self.bot.plugin_manager.flows["MoreFlows"]
        self.assertIsInstance(flows, BotFlow)
        self.assertEqual(flows.name, "MoreFlows")
        self.assertEqual(self.executor.flow_roots["of_one"].description, "Of one person.")

    def test_one_at_a_time(self) -> None:
        """Nobody is in two flows."""
        self.executor.start_flow("of_one", self.bot.sender, {})
        with self.assertRaises(ValueError):
            self.executor.start_flow("silent", self.bot.sender, {})
        self.assertIn("already running a flow", "\n".join(self.replies("!flows start silent")))

    def test_others(self) -> None:
        """But others may be in the same."""
        self.executor.start_flow("of_one", self.bot.sender, {})
        self.executor.start_flow("of_one", self.bot.build_identifier("somebody@host"), {})
        self.assertEqual(len(self.executor.in_flight), 2)

    def test_triggered(self) -> None:
        """`trigger` tells of a command; what doesn't follow changes nothing."""
        flow = self.executor.start_flow("of_one", self.bot.sender, {})
        self.assertIsNone(self.executor.trigger("third", self.bot.sender, {}))
        self.assertIs(self.executor.trigger("first", self.bot.sender, {"given": 1}), flow)
        self.assertEqual((flow.current_step.command, flow.ctx["given"]), ("first", 1))
        while "!second" not in self.hear():
            pass

    def test_triggered_without_a_flow(self) -> None:
        """A command that begins none has to do with none; one that does begins it."""
        self.assertIsNone(self.executor.trigger("first", self.bot.sender, {}))
        flow = self.executor.trigger("third", self.bot.sender, {})
        self.assertEqual(flow.name, "triggered_only")
        self.assertEqual(list(self.executor.in_flight), [flow])

    def test_other_commands(self) -> None:
        """A command that isn't a step doesn't advance a flow."""
        flow = self.executor.start_flow("of_one", self.bot.sender, {})
        self.replies("!third")
        self.assertIs(flow.current_step, flow.root)

    def test_stopped(self) -> None:
        """`stop_flow` returns what it has ended, None if there was nothing."""
        flow = self.executor.start_flow("of_one", self.bot.sender, {})
        self.assertIsNone(self.executor.stop_flow("silent", self.bot.sender))
        self.assertIs(self.executor.stop_flow("of_one", self.bot.sender), flow)
        self.assertIsNone(self.executor.stop_flow("of_one", self.bot.sender))

    def test_rooms(self) -> None:
        """A flow of a room is the room's, and everybody in it takes its steps."""
        from errbot.backends.test import TestOccupant

        room = self.bot.query_room("#flows")
        room.join()
        flow = self.executor.start_flow("of_room", TestOccupant("a@b", room), {})
        self.assertEqual(flow.requestor, room)
        self.assertTrue(flow.check_identifier(TestOccupant("c@d", room)))
        self.assertIs(self.executor.trigger("first", TestOccupant("c@d", room), {}), flow)

    @unittest.skipUnless(IS_ERRKLEIN, "errbot doesn't come to an end there")
    def test_without_hints(self) -> None:
        """Where a step has no hints nothing is told after it."""
        self.executor.start_flow("silent", self.bot.sender, {})
        self.assertIn("!first", self.hear())
        self.executor.trigger("first", self.bot.sender, {})
        self.assertIn("!second", self.hear())
        self.executor.trigger("second", self.bot.sender, {})
        self.assertEqual(self.until_quiet(), [])

    def test_commands(self) -> None:
        """What is missing or makes no sense is told."""
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
            self.assertIn(told, "\n".join(self.replies(command)), command)

    def test_status_of_one(self) -> None:
        """Who is where in a flow, and what may follow."""
        self.replies("!flows start of_one")
        said = "\n".join(self.replies("!flows status of_one"))
        for part in ("of_one", "Start", ADMIN, "first", "second"):
            self.assertIn(part, said)
        said = "\n".join(self.replies("!flows status"))
        for part in (ADMIN, "of_one", "first"):
            self.assertIn(part, said)

    def test_stop_without_a_name(self) -> None:
        """The flow that one is in is ended."""
        self.replies("!flows start of_one")
        self.assertIn("of_one stopped", "\n".join(self.replies("!flows stop")))
        self.assertEqual(len(self.executor.in_flight), 0)

    @decided("anybody may")
    def test_kill_is_for_administrators(self) -> None:
        """Others can't end somebody's flow."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.assertIn("requires bot-admin privileges", self.ask(f"!flows kill {ADMIN} of_one"))


class WhatCountsTests(ContractTest):
    """What a flow goes on with, and what it asks when it goes on by itself."""

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
        """A command that fails neither begins a flow nor goes on with one."""
        self.replies("!fails")
        self.assertEqual(len(self.bot.flow_executor.in_flight), 0)
        self.replies("!flows start failing")
        self.replies("!fails")
        (flow,) = self.bot.flow_executor.in_flight
        self.assertIs(flow.current_step, flow.root)

    def test_automatic_steps(self) -> None:
        """Steps that are done by themselves pass no filter, no access rule and no template."""
        self.assertIn("not allowed", self.ask("!automatic"))
        self.instance().filtered.clear()
        said = self.replies("!works")
        while not any("!fails" in text for text in said):
            said.append(self.hear())
        self.assertIn("automatic", said)
        self.assertFalse([text for text in said if "not allowed" in text or "nooo" in text])
        self.assertNotIn("automatic", self.instance().filtered)

    def test_several_automatic_steps(self) -> None:
        """A flow goes on by itself for as long as predicates hold, from its beginning on, with its context."""
        self.say('!flows start chain {"go": 1}')
        said = [self.hear() for _ in range(4)]
        said.remove("Flow chain started ...")
        self.assertEqual(said, ["None {'go': 1, 'count': 1}", "automatic", "other"])
        self.assertEqual(self.until_quiet(), [])

    def test_no_automatic_step(self) -> None:
        """It waits where none holds."""
        self.replies("!flows start chain")
        (flow,) = self.bot.flow_executor.in_flight
        self.assertIs(flow.current_step, flow.root)
        self.assertEqual(flow.ctx, {})

    def test_failing_automatic_step(self) -> None:
        """Whoever is in the flow is told that a step has failed that was done by itself."""
        self.replies("!flows start breaking")
        said = self.replies("!works")
        while not any("can't be done" in text for text in said):
            said.append(self.hear())

    @decided("flows stay when they are deactivated")
    def test_removed(self) -> None:
        """When flows are deactivated they are gone, and activated again they are there again."""
        self.replies("!flows start failing")
        flows = self.bot.plugin_manager.flows["SomeFlows"]
        flows.deactivate()
        self.assertNotIn("failing", self.bot.flow_executor.flow_roots)
        self.assertEqual(len(self.bot.flow_executor.in_flight), 0)
        flows.activate()
        self.assertIn("failing", self.bot.flow_executor.flow_roots)
