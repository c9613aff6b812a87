"""The commands `!flows …`, which list, start and stop flows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from errklein.chat import Identifier, Message
from errklein.commands import CommandError, FlowNode, FlowRoot, botcmd, documentation
from errklein.core_plugins import CorePlugin, admin_command
from errklein.text import code, plain

_KILL_USAGE = "usage: flows_kill user flow_name"


class Flows(CorePlugin):
    """List, start and stop flows, which guide people through several commands."""

    @botcmd
    async def flows_list(self, msg: Message, args: str) -> str:
        """List the flows."""
        roots = self.host.dispatcher.flow_executor.flow_roots
        return "\n".join(f"- **{name}** {_summary(roots[name])}" for name in sorted(roots)) or "There are no flows."

    @botcmd(syntax="FLOW")
    async def flows_show(self, msg: Message, args: str) -> str:
        """Show the steps of a flow."""
        root = self._root(args)
        return _drawing(f"Flow [{root.name}]", tree(root, str))

    @botcmd(historize=False, syntax="FLOW [CONTEXT]")
    async def flows_start(self, msg: Message, args: str) -> AsyncIterator[str]:
        """Start a flow.

        CONTEXT is a JSON object with the initial values that the steps share."""
        name, _, given = args.strip().partition(" ")
        root = self._root(name)
        context = _context(given.strip())
        requestor = _sender(msg)
        if refusal := self.host.dispatcher.flow_executor.refusal(root, requestor):
            raise CommandError(refusal)
        yield f"Flow **{root.name}** started ..."
        try:
            self.host.dispatcher.flow_executor.start_flow(root.name, requestor, context)
        except ValueError as error:
            raise CommandError(plain(str(error))) from error

    @botcmd(syntax="[FLOW]")
    def flows_status(self, msg: Message, args: str) -> str:
        """List the flows in progress, or show the people in one."""
        name = args.strip()
        in_flight = self.host.dispatcher.flow_executor.in_flight
        if not name:
            return self.render("flows_status", {"in_flight": in_flight})
        root = self._root(name)

        def described(node: FlowNode) -> str:
            people = [str(flow.requestor) for flow in in_flight if flow.root is root and flow.current_step is node]
            here = f" ({', '.join(people)})" if people else ""
            return f"{'Start' if node is root else node}{here} {self._first_line(node)}".rstrip()

        steps = ["↪ " + described(root), *tree(root, described, depth=1)]
        return _drawing(f"Flow [{root.name}] {_summary(root)}", steps)

    @botcmd(syntax="[FLOW]")
    async def flows_stop(self, msg: Message, args: str) -> str:
        """Stop your flow."""
        executor = self.host.dispatcher.flow_executor
        name = args.strip()
        requestor = _sender(msg)
        if not name:
            if (mine := executor.flow_of(requestor)) is None:
                return "No Flow found."
            name = mine.name
        return "Flow not found." if executor.stop_flow(name, requestor) is None else f"{name} stopped."

    @admin_command(syntax="PERSON FLOW")
    def flows_kill(self, msg: Message, args: str) -> str:
        """Stop the flow of a person or room."""
        user, _, name = args.strip().rpartition(" ")
        if not user.strip() or not name:
            missing = "flow_name" if name else "user, flow_name"
            required = f"the following arguments are required: {missing}"
            raise CommandError(f"I couldn't parse the arguments; {required}\n{_KILL_USAGE}")
        self.note(msg, "flows_kill", args.strip())
        killed = self.host.dispatcher.flow_executor.stop_flow(name, self.identifier_of(user.strip()))
        return "Flow not found." if killed is None else f"{name} killed."

    def _root(self, name: str) -> FlowRoot:
        name = name.strip()
        if not name:
            raise CommandError(f"You need to specify a flow name; `{self.host.prefix}flows list` lists the flows.")
        if (root := self.host.dispatcher.flow_executor.flow_roots.get(name)) is None:
            raise CommandError(f"Flow {name} doesn't exist; `{self.host.prefix}flows list` lists the flows.")
        return root

    def _first_line(self, node: FlowNode) -> str:
        if (command := self.host.dispatcher.registry.get(node.command or "")) is None:
            return ""
        # The docstring of a command with declared arguments begins with its usage.
        parser = getattr(command.handler, "_err_command_parser", None)
        text = documentation(command.handler) if parser is None else parser.description or ""
        return str(text).strip().partition("\n")[0]


def tree(root: FlowNode, described: Callable[[FlowNode], str], depth: int = 0) -> list[str]:
    """Return an indented line for each step. `↺` marks one that leads back, and … stands for steps that were shown above."""
    lines: list[str] = []
    drawn = {id(root)}
    todo: list[tuple[FlowNode, int, tuple[FlowNode, ...]]] = [
        (child, depth, (root,)) for _, child in reversed(root.children)
    ]
    while todo:
        node, level, path = todo.pop()
        back = any(node is earlier for earlier in path)
        again = id(node) in drawn and bool(node.children) and not back
        lines.append(f"{'  ' * level}{'↺' if back else '↪'} {described(node)}{' …' if again else ''}")
        if id(node) not in drawn:
            drawn.add(id(node))
            todo += [(child, level + 1, (*path, node)) for _, child in reversed(node.children)]
    return lines


def _drawing(title: str, lines: list[str]) -> str:
    return "\n".join(["```", title, *lines, "```"])


def _summary(root: FlowRoot) -> str:
    return " ".join((root.description or "No description").partition("\n\n")[0].split())


def _context(given: str) -> dict[str, Any]:
    if not given:
        return {}
    try:
        context = json.loads(given)
    except ValueError as error:
        raise CommandError(f"Cannot parse the context {code(given)} as JSON: {plain(str(error))}.") from error
    except RecursionError:
        raise CommandError("The context is nested too deeply.") from None
    if not isinstance(context, dict):
        example = code('{"key": 1}')
        raise CommandError(f"The context must be a JSON object such as {example}, not {code(given)}.")
    return context


def _sender(msg: Message) -> Identifier:
    if msg.frm is None:
        raise CommandError("The message has no sender.")
    return msg.frm
