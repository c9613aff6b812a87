"""What collections of flows inherit from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Protocol

from errklein.commands import CommandRegistry, FlowRoot
from errklein.plugins.names import plugin_name


class FlowHost(Protocol):
    """What flows use of the bot, which they know as `self._bot`."""

    registry: CommandRegistry

    def inject_flows_from(self, flows: BotFlow) -> None:
        """Register the flows; raises ValueError if one can't be built, or its name is taken."""

    def remove_flows_from(self, flows: BotFlow) -> None:
        """Unregister the flows, and end them for everybody."""

    def __getattr__(self, name: str) -> Any:
        """Flows may use everything else that the bot has, too."""


class BotFlow:
    """Flows: subclass it, mark methods with `@botflow`, and ship it with a `.flow` file, which is built as a .plug file.

    Each method is called with a FlowRoot when the flows are activated.
    """

    def __init__(self, bot: FlowHost, name: str | None = None) -> None:
        self._bot = bot
        self._name = name or type(self).__name__
        self.is_activated = False

    @property
    def name(self) -> str:
        """The name from the .flow file."""
        return self._name

    def activate(self) -> Any:
        """Let the flows be begun. Overriding methods call this one."""
        self._bot.inject_flows_from(self)
        self.is_activated = True

    def deactivate(self) -> Any:
        """Let the flows not be begun any more, and end them for everybody. Overriding methods call this one."""
        self._bot.remove_flows_from(self)
        self.is_activated = False

    def get_command(self, command_name: str) -> Callable[..., Any] | None:
        """The method that answers the command of that name; None if there is none."""
        command = self._bot.registry.get(command_name.replace(" ", "_"))
        return None if command is None else command.handler


def build_flows(flows: BotFlow) -> list[FlowRoot]:
    """The flows of the methods marked with `@botflow`, by name; raises ValueError that names the method that fails."""
    roots = []
    for name in sorted(dir(type(flows))):
        if getattr(inspect.getattr_static(flows, name), "_err_flow", False):
            build = getattr(flows, name)
            root = FlowRoot(name, inspect.getdoc(build))
            try:
                build(root)
            except Exception as error:
                problem = f"{plugin_name(flows)}.{name} can't be built: {type(error).__name__}: {error}"
                raise ValueError(problem) from error
            roots.append(root)
    return roots
