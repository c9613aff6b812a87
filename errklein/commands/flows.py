"""Flows: what commands may follow each other, as a graph, and how far somebody has got in it. No network here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from errklein.chat import Identifier, Room, RoomOccupant, read_only, rules_of, same_network

F = TypeVar("F", bound=Callable[..., Any])

Predicate = Callable[[Mapping[str, Any]], bool]
"""Given a flow's context, says whether the flow goes on by itself."""


def never(_: Mapping[str, Any]) -> bool:
    """The predicate of a step that only somebody's command takes."""
    return False


class InvalidState(Exception):
    """A flow can't take this step now."""


class FlowNode:
    """A step: a `command`, the steps that may follow with their predicates, and whether `hints` tell of them."""

    def __init__(self, command: str | None = None, hints: bool = True) -> None:
        self.command = command.replace(" ", "_") if isinstance(command, str) else command
        self.children: list[tuple[Predicate, FlowNode]] = []
        self.hints = hints

    def connect(self, node_or_command: FlowNode | str, predicate: Predicate = never, hints: bool = True) -> FlowNode:
        """Let a step follow this one, and return it: a node, or a new one for the command of that name."""
        node = _node(node_or_command, hints)
        self.children.append((predicate, node))
        return node

    def predicate_for_node(self, node: FlowNode) -> Predicate | None:
        """By what predicate `node` follows this one; None if it doesn't."""
        return next((predicate for predicate, child in self.children if child is node), None)

    def __str__(self) -> str:
        return self.command or ""


class FlowRoot(FlowNode):
    """Where a flow begins, with its `name` and `description`.

    `auto_triggers` are the commands that begin the flow for whoever gives them. A `room_flow` belongs to a room, and goes
    on with everybody's commands there.
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
        """Let a step be a first one, and return it; with `auto_trigger` its command begins the flow."""
        node = super().connect(node_or_command, predicate)
        if auto_trigger and node.command is not None:
            self.auto_triggers.add(node.command)
        self.room_flow = self.room_flow or room_flow
        return node

    def first_step(self, command: str) -> FlowNode | None:
        """The step that the command begins the flow with; None if it doesn't begin it."""
        if command not in self.auto_triggers:
            return None
        return next((node for _, node in self.children if node.command == command), None)

    def __str__(self) -> str:
        return self.name


class _FlowEnd(FlowNode):
    def __str__(self) -> str:
        return "END"


FLOW_END = _FlowEnd()
"""What a step is connected to where a flow may end although other steps could follow."""


class Flow:
    """How far `requestor`, a person or for a room flow the room, has got in the flow `root`.

    `ctx` is what the steps share, beginning with a copy of `initial_context`. `moved_by` is who took the last step that the
    flow didn't take by itself, or began the flow; what it does by itself is done for them.
    """

    name: str = read_only("_root.name", "The flow's name.")
    root: FlowRoot = read_only("_root", "Where it began.")
    current_step: FlowNode = read_only("_current_step", "The step taken last; the root before the first one.")

    def __init__(self, root: FlowRoot, requestor: Identifier, initial_context: Mapping[str, Any]) -> None:
        self._root = root
        self._current_step: FlowNode = root
        self.ctx: dict[str, Any] = dict(initial_context)
        self.requestor = requestor
        self.moved_by = requestor

    def next_steps(self) -> list[FlowNode]:
        """The steps that may be taken now, FLOW_END left out."""
        return [node for _, node in self._current_step.children if node is not FLOW_END]

    def next_autosteps(self) -> list[FlowNode]:
        """The steps that the flow takes by itself now, FLOW_END among them; raises whatever a predicate raises."""
        return [node for predicate, node in self._current_step.children if predicate(self.ctx)]

    def next_step(self, command: str) -> FlowNode | None:
        """The step that the command is now; None if it is none."""
        return next((node for node in self.next_steps() if node.command == command), None)

    def advance(self, next_step: FlowNode, enforce_predicate: bool = True) -> None:
        """Take a step. Raises ValueError if it doesn't follow, InvalidState if its enforced predicate is False."""
        predicate = self._current_step.predicate_for_node(next_step)
        if predicate is None:
            raise ValueError(f"{self.name}: {next_step} doesn't follow {self._current_step}")
        if enforce_predicate and not predicate(self.ctx):
            raise InvalidState(f"{self.name}: the predicate of {next_step} doesn't hold")
        self._current_step = next_step

    def check_identifier(self, identifier: Identifier) -> bool:
        """Whether what `identifier` does is part of this flow: it is the requestor, or somebody in that room.

        Who has taken over the requestor's name, or has it on another network, isn't the requestor.
        """
        if not same_network(identifier, self.requestor):
            return False
        if isinstance(self.requestor, Room):
            return self.requestor == (identifier.room if isinstance(identifier, RoomOccupant) else identifier)
        return identifier == self.requestor and _same_person(identifier, self.requestor)

    def __str__(self) -> str:
        return f"{self.name} ({self.requestor})"


def botflow(*functions: Any) -> Any:
    """Mark a method of a BotFlow, called with its FlowRoot, as a flow with the method's name and docstring."""

    def declare(function: F) -> F:
        function._err_flow = True  # type: ignore[attr-defined]
        return function

    return declare(functions[0]) if functions else declare


def _same_person(one: Identifier, other: Identifier) -> bool:
    """Whether two of the same name may be one person to access rules; a name alone means whoever has it."""
    by_name_alone = bool(getattr(one, "client", None)) != bool(getattr(other, "client", None))
    names = [str(getattr(who, "aclattr", "")) for who in (one, other)]
    return by_name_alone or all(len({rules_of(who).fold(name) for name in names}) == 1 for who in (one, other))


def _node(node_or_command: FlowNode | str, hints: bool) -> FlowNode:
    if isinstance(node_or_command, FlowNode):
        return node_or_command
    if not isinstance(node_or_command, str) or not node_or_command.strip():
        raise ValueError(f"a flow's step is a node or a command's name, not {node_or_command!r}")
    return FlowNode(node_or_command.strip(), hints)
