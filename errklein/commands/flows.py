"""Flows: graphs of commands, and the position of a person or room in one. A flow guides people through several
commands. Its graph consists of nodes, one for each step; an edge has a predicate. If the predicate of an edge is true,
the flow runs the next step's command by itself, else it waits for somebody to use the command.
`errklein.dispatch.flow_executor` runs flows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from errklein.chat import Identifier, Room, RoomOccupant, read_only, rules_of, same_network
from errklein.chat.operations import labels_of
from errklein.commands._declaration import applied

F = TypeVar("F", bound=Callable[..., Any])

Predicate = Callable[[Mapping[str, Any]], bool]
"""A function of a flow's context that returns whether the flow takes a step by itself."""


def never(_: Mapping[str, Any]) -> bool:
    """Return False: the predicate of a step that the flow never takes by itself."""
    return False


class InvalidState(Exception):
    """The predicate of a step is false, so the flow can't take it."""


class FlowNode:
    """A step of a flow: a command, and in `children` the next steps with their predicates.

    :param command: the name of the command, written with spaces or underscores. Only the root and FLOW_END have none.
    :param hints: whether the bot lists the next steps when the flow waits after this one.
    """

    def __init__(self, command: str | None = None, hints: bool = True) -> None:
        self.command = command.replace(" ", "_") if isinstance(command, str) else command
        self.children: list[tuple[Predicate, FlowNode]] = []
        self.hints = hints
        self.question: str | Callable[[Mapping[str, Any]], str] = ""
        self.choices: dict[str, FlowNode] = {}

    def connect(self, node_or_command: FlowNode | str, predicate: Predicate = never, hints: bool = True) -> FlowNode:
        """Add a next step, and return its node.

        :param node_or_command: the name of a command, or an existing node such as FLOW_END.
        :param predicate: a function that gets the flow's context, a dict. If it returns True, the flow runs the step's
            command by itself. By default it waits until a person uses the command.
        :param hints: whether the bot lists the next steps when the flow waits after the new step. Ignored for an
            existing node.
        :returns: the node of the next step, whose `connect` adds the step after it.
        :raises ValueError: if `node_or_command` is neither a node nor a name.
        """
        node = _node(node_or_command, hints)
        self.children.append((predicate, node))
        return node

    def choose(
        self, question: str | Callable[[Mapping[str, Any]], str], choices: Mapping[str, FlowNode | str]
    ) -> tuple[FlowNode, ...]:
        """Ask with buttons, or numbers, how to go on when the flow waits after this step; a choice runs the next step's command::

            published, _ = tested.choose("Publish it?", {"yes": "publish", "no": FLOW_END})

        The question stays open over a restart of the bot, if the context has only values of JSON.

        :param question: the question in Markdown, or a function that gets the flow's context and returns it.
        :param choices: the names of commands, or existing nodes, by the labels of their buttons.
        :returns: the nodes of the next steps.
        :raises ValueError: if a step is neither a node nor a name, or a label isn't suitable.
        """
        self.question = question
        steps = dict(zip(labels_of(choices), choices.values(), strict=True))
        self.choices = {label: FlowNode.connect(self, step) for label, step in steps.items()}
        return tuple(self.choices.values())

    def predicate_for_node(self, node: FlowNode) -> Predicate | None:
        """Return the predicate of the edge to `node`, or None if there is no such edge."""
        return next((predicate for predicate, child in self.children if child is node), None)

    def __str__(self) -> str:
        return self.command or ""


class FlowRoot(FlowNode):
    """The root of a flow's graph, which methods marked with `@botflow` get as their argument.

    Each call of `connect` adds a step, whose own `connect` adds the next one::

        class Releases(BotFlow):
            @botflow
            def release(self, flow: FlowRoot):
                "Build, test and publish a release."
                built = flow.connect("build", auto_trigger=True)
                tested = built.connect("run tests", predicate=lambda ctx: "version" in ctx)
                tested.connect("publish")
                tested.connect(FLOW_END, predicate=lambda ctx: ctx.get("failures", 0) > 0)

    `!build` starts this flow. If the command has stored a version with `msg.ctx["version"] = …`, the flow runs `!run tests`
    by itself. Then it ends if there were failures, and else waits for `!publish`.

    `auto_triggers` is the set of commands that start the flow. `room_flow` is whether the flow belongs to a room, so that
    commands of all its occupants advance it.

    :param name: the name of the flow, for `!flows start NAME`.
    :param description: the text that `!flows list` shows.
    """

    def __init__(self, name: str, description: str | None) -> None:
        super().__init__()
        self.name = name
        self.description = description
        self.auto_triggers: set[str] = set()
        self.room_flow = False

    def connect(
        self,
        node_or_command: FlowNode | str,
        predicate: Predicate = never,
        auto_trigger: bool = False,
        room_flow: bool = False,
    ) -> FlowNode:
        """Add a first step, and return its node, as `FlowNode.connect` does.

        :param auto_trigger: whether the command starts the flow. Otherwise only `!flows start NAME` does.
        :param room_flow: whether the flow belongs to the room in which it was started, and not to a person. It applies to
            the whole flow.
        """
        node = super().connect(node_or_command, predicate)
        if auto_trigger and node.command is not None:
            self.auto_triggers.add(node.command)
        self.room_flow = self.room_flow or room_flow
        return node

    def steps(self) -> list[FlowNode]:
        """Return the root and all steps, each once, those that are nearer first."""
        found: list[FlowNode] = [self]
        for node in found:
            found += dict.fromkeys(child for _, child in node.children if child not in found)
        return found

    def first_step(self, command: str) -> FlowNode | None:
        """Return the first step with that command, or None if the command doesn't start the flow."""
        if command not in self.auto_triggers:
            return None
        return next((node for _, node in self.children if node.command == command), None)

    def __str__(self) -> str:
        return self.name


class _FlowEnd(FlowNode):
    def __str__(self) -> str:
        return "END"


FLOW_END = _FlowEnd()
"""The node that ends a flow.

A flow also ends after a step without next steps. Connect a step to FLOW_END, with a predicate, if other steps may follow::

    step.connect("deploy")
    step.connect(FLOW_END, predicate=lambda ctx: ctx.get("failures", 0) > 0)
"""


class Flow:
    """A flow in progress: its graph, its current step and its context.

    A command that runs in a flow finds it in `msg.flow`, and the context in `msg.ctx`::

        class Builder(BotPlugin):
            @botcmd
            def build(self, msg, args):
                "Build a release."
                msg.ctx["version"] = args
                if msg.flow is not None:
                    return f"Built {args} in the flow {msg.flow.name}."
                return f"Built {args}."

    `ctx` is a dict that all steps share. `requestor` is the person in the flow, or the room for a room flow. `moved_by` is the
    person who started the flow or took the last step; the flow runs commands on behalf of that person.

    :param root: the root of the graph.
    :param requestor: the person or room.
    :param initial_context: values that are copied to `ctx`.
    :param step: the current step; by default the root.
    """

    name: str = read_only("_root.name", "The name of the flow.")
    root: FlowRoot = read_only("_root", "The root of the graph.")
    current_step: FlowNode = read_only("_current_step", "The step taken last, or the root before the first step.")

    def __init__(
        self, root: FlowRoot, requestor: Identifier, initial_context: Mapping[str, Any], step: FlowNode | None = None
    ) -> None:
        self._root = root
        self._current_step: FlowNode = step or root
        self.ctx: dict[str, Any] = dict(initial_context)
        self.requestor = requestor
        self.moved_by = requestor

    def next_steps(self) -> list[FlowNode]:
        """Return the possible next steps, without FLOW_END."""
        return [node for _, node in self._current_step.children if node is not FLOW_END]

    def next_autosteps(self) -> list[FlowNode]:
        """Return the next steps with a true predicate, FLOW_END included. An exception of a predicate is raised as it is."""
        return [node for predicate, node in self._current_step.children if predicate(self.ctx)]

    def next_step(self, command: str) -> FlowNode | None:
        """Return the next step with that command, or None."""
        return next((node for node in self.next_steps() if node.command == command), None)

    def advance(self, next_step: FlowNode, enforce_predicate: bool = True) -> None:
        """Make a next step the current one, without running its command. Raises ValueError if the step doesn't follow the
        current one, and InvalidState if its predicate is enforced and false."""
        predicate = self._current_step.predicate_for_node(next_step)
        if predicate is None:
            raise ValueError(f"flow {self.name}: {next_step} doesn't follow {self._current_step}")
        if enforce_predicate and not predicate(self.ctx):
            raise InvalidState(f"flow {self.name}: the predicate of {next_step} is false")
        self._current_step = next_step

    def check_identifier(self, identifier: Identifier) -> bool:
        """Return whether a command of `identifier` can advance this flow: it is the requestor, or in the requestor's room. A person
        on another network, or who took over the nick of the requestor, is a different person."""
        if not same_network(identifier, self.requestor):
            return False
        if isinstance(self.requestor, Room):
            return self.requestor == (identifier.room if isinstance(identifier, RoomOccupant) else identifier)
        return identifier == self.requestor and same_person(identifier, self.requestor)

    def __str__(self) -> str:
        return f"{self.name} ({self.requestor})"


def botflow(*functions: Any) -> Any:
    """Turn a method of a plugin or a `BotFlow` into a flow, with the method's name and docstring.

    For example, this flow lists `!print badge` as the next step after `!register`::

        class Visits(BotPlugin):
            # … the commands `register` and `print_badge`

            @botflow
            def visit(self, flow):
                "Register a visitor, then print a badge."
                registered = flow.connect("register", auto_trigger=True)
                registered.connect("print badge")

    The method is called when the plugin is activated. Its argument is a `FlowRoot`, to which it connects the steps.
    """

    def declare(function: F) -> F:
        function._err_flow = True  # type: ignore[attr-defined]
        return function

    return applied("botflow", functions, declare)


def same_person(one: Identifier, other: Identifier) -> bool:
    """Return whether two identifiers with the same name are the same person in access rules. One without a client, such as
    one built from a nick alone, stands for the nick's current holder."""
    by_name_alone = bool(getattr(one, "client", None)) != bool(getattr(other, "client", None))
    names = [str(getattr(who, "aclattr", "")) for who in (one, other)]
    return by_name_alone or all(len({rules_of(who).fold(name) for name in names}) == 1 for who in (one, other))


def _node(node_or_command: FlowNode | str, hints: bool) -> FlowNode:
    if isinstance(node_or_command, FlowNode):
        return node_or_command
    if not isinstance(node_or_command, str) or not node_or_command.strip():
        raise ValueError(f"a step must be a node or the name of a command, not {node_or_command!r}")
    return FlowNode(node_or_command.strip(), hints)
