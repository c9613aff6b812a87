"""Tests for flows: their graphs, and the position of a person or room in one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Identifier
from errklein.commands.flows import FLOW_END, Flow, FlowNode, FlowRoot
from errklein.networks.irc.identifiers import IRCPerson, IRCRoom, IRCRoomOccupant
from errklein.networks.test import TestOccupant, TestPerson, TestRoom


class GraphTests(SynchronousTestCase):
    """Nodes and edges of a flow's graph."""

    def test_spaces_are_underscores(self) -> None:
        """A command's name may contain spaces or underscores."""
        self.assertEqual(FlowRoot("f", "").connect("run tests").command, "run_tests")

    def test_what_is_no_step(self) -> None:
        """A step that is neither a node nor a name raises ValueError when the flow is built."""
        for nonsense in (None, 5, "", " "):
            with self.assertRaises(ValueError):
                FlowRoot("f", "").connect(nonsense)  # type: ignore[arg-type]

    def test_names(self) -> None:
        """The text of a node is its command, and that of a root its name."""
        root = FlowRoot("deploy", "")
        self.assertEqual([str(root), str(root.connect("a")), str(FLOW_END)], ["deploy", "a", "END"])


class FlowTests(SynchronousTestCase):
    """A flow in progress."""

    def setUp(self) -> None:
        self.root = FlowRoot("f", "")
        self.a = self.root.connect("a", predicate=lambda ctx: bool(ctx.get("a")))
        self.b = self.a.connect("b", predicate=lambda ctx: bool(ctx.get("b")))
        self.c = self.a.connect("c")
        self.c.connect(FLOW_END, predicate=lambda ctx: True)
        self.context = {"b": 1}
        self.flow = Flow(self.root, TestPerson("alice"), self.context)

    def test_end_is_no_step(self) -> None:
        """FLOW_END isn't a next step, but it is among the automatic steps if its predicate is true."""
        self.flow.advance(self.a, False)
        self.flow.advance(self.c, False)
        self.assertEqual((self.flow.next_steps(), self.flow.next_autosteps()), ([], [FLOW_END]))

    def test_whose_flow_it_is(self) -> None:
        """A person's flow belongs to that person, and a room's flow to everyone in the room."""
        self.assertTrue(self.flow.check_identifier(TestPerson("alice")))
        self.assertFalse(self.flow.check_identifier(TestPerson("bob")))
        room = Flow(self.root, TestRoom("#ops"), {})
        self.assertTrue(room.check_identifier(TestOccupant("bob", "#ops")))
        self.assertTrue(room.check_identifier(TestRoom("#ops")))
        self.assertFalse(room.check_identifier(TestOccupant("bob", "#dev")))
        self.assertFalse(room.check_identifier(TestPerson("bob")))

    def test_names_that_others_take(self) -> None:
        """A person with the requestor's name and another name in access rules isn't the requestor, in rooms as well."""
        alice, mallory, home = "alice!a@admin.host", "alice!m@evil.example", IRCRoom("#ops")
        for whose, takes in (
            (IRCPerson(alice), IRCPerson(mallory)),
            (IRCRoomOccupant(alice, home), IRCRoomOccupant(mallory, home)),
        ):
            self.assertEqual(whose, takes)
            self.assertTrue(Flow(self.root, whose, {}).check_identifier(whose))
            self.assertFalse(Flow(self.root, whose, {}).check_identifier(takes))

    def test_name_alone(self) -> None:
        """An identifier created from a name alone stands for the current holder of the name."""
        alice = IRCPerson("alice!a@admin.host")
        self.assertTrue(Flow(self.root, IRCPerson("alice"), {}).check_identifier(alice))
        self.assertTrue(Flow(self.root, alice, {}).check_identifier(IRCPerson("alice")))
        self.assertFalse(Flow(self.root, alice, {}).check_identifier(IRCPerson("bob")))

    def test_spellings_of_rooms(self) -> None:
        """Differently spelt names of a room are the same room."""
        flow = Flow(self.root, IRCRoom("#Ops"), {})
        self.assertTrue(flow.check_identifier(IRCRoomOccupant("bob!b@example.net", IRCRoom("#ops"))))

    def test_networks(self) -> None:
        """The same name on another network is a different person, even if the identifiers themselves compare equal."""

        def on(network: str, identifier: Identifier) -> Identifier:
            identifier.network = network
            return identifier

        whose = Flow(self.root, on("work", _Number(7)), {})
        self.assertTrue(whose.check_identifier(on("work", _Number(7))))
        self.assertTrue(whose.check_identifier(_Number(7)))
        self.assertFalse(whose.check_identifier(on("home", _Number(7))))


class _Number(Identifier):
    """A person identified by a number, as on some of errbot's networks."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Number) and other.number == self.number

    def __hash__(self) -> int:
        return hash(self.number)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[FlowRoot, list[FlowNode]]:
    """Random flows with cycles, shared steps and unreachable steps."""
    root = FlowRoot("any", None)
    nodes: list[FlowNode] = [root] + [FlowNode(f"c{number}") for number in range(draw(st.integers(1, 6)))]
    places = st.integers(0, len(nodes) - 1)
    for origin, target, holds in draw(st.lists(st.tuples(places, places, st.booleans()), max_size=15)):
        nodes[origin].connect(nodes[target] if target else FLOW_END, predicate=lambda _, holds=holds: holds)
    return root, nodes


class AnyFlowTests(SynchronousTestCase):
    """Properties of every flow."""

    @given(graphs(), st.lists(st.integers(0, 20), max_size=20))
    def test_walks(self, graph: tuple[FlowRoot, list[FlowNode]], choices: list[int]) -> None:
        """Every next step can be taken, and automatic steps need no `enforce_predicate=False`."""
        root, nodes = graph
        flow = Flow(root, TestPerson("alice"), {})
        for choice in choices:
            steps = flow.next_steps()
            for step in flow.next_autosteps():
                predicate = flow.current_step.predicate_for_node(step)
                self.assertIsNotNone(predicate)
            if not steps:
                break
            step = steps[choice % len(steps)]
            flow.advance(step, enforce_predicate=False)
            self.assertIs(flow.current_step, step)
            self.assertIn(step, nodes)
