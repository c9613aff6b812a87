"""BotFlow, the base class of collections of flows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from errklein.commands import FlowRoot, RegisteredCommand
from errklein.plugins._base import PluginHost
from errklein.plugins.plug_file import plugin_name


class BotFlow:
    """The base class of collections of flows that aren't in a plugin, as on errbot.

    A flow guides a person or a room through a sequence of commands. Methods of a plugin with `@botflow` need no class of their
    own; see `botflow`. Methods of a subclass each build one flow, too::

        from errklein import BotFlow, FlowRoot, botflow


        class Polls(BotFlow):
            @botflow
            def poll(self, flow: FlowRoot):
                "Create a poll, and vote."
                new = flow.connect("poll new", auto_trigger=True)
                option = new.connect("poll option")
                option.connect(option)
                option.connect("poll start")

    Put the module beside a `.flow` file, which has the format of a `.plug` file. The methods are called when the flows
    are activated. A flow has its method's name, and the docstring is its description.

    :param bot: The bot, available as `self._bot`.
    :param name: The name from the `.flow` file; by default the name of the class.
    """

    def __init__(self, bot: PluginHost, name: str | None = None) -> None:
        self._bot = bot
        self._name = name or type(self).__name__
        self.is_activated = False

    @property
    def name(self) -> str:
        """The name, as in the `.flow` file."""
        return self._name

    def activate(self) -> Any:
        """Build and register the flows. An override must call the inherited method.

        :raises ValueError: If a flow can't be built, or if its name is taken.
        """
        self._bot.inject_flows_from(self)
        self.is_activated = True

    def deactivate(self) -> Any:
        """Unregister the flows, and end them for everybody. An override must call the inherited method."""
        self._bot.remove_flows_from(self)
        self.is_activated = False

    def get_command(self, command_name: str) -> Callable[..., Any] | None:
        """Return the method that handles a command; None if there is no such command.

        :param command_name: The name, with spaces or underscores.
        """
        command: RegisteredCommand | None = self._bot.registry.get(command_name.replace(" ", "_"))
        return None if command is None else command.handler


def build_flows(flows: Any) -> list[FlowRoot]:
    """Build the flows of all methods of a plugin or a BotFlow that are marked with `@botflow`, in alphabetical order.

    Raises ValueError, with the name of the method, if a method raises an exception.
    """
    roots = []
    static = {name: value for cls in reversed(type(flows).__mro__) for name, value in vars(cls).items()}
    for name, value in sorted(static.items(), key=itemgetter(0)):
        if getattr(value, "_err_flow", False):
            build = getattr(flows, name)
            root = FlowRoot(name, inspect.getdoc(build))
            try:
                build(root)
            except Exception as error:
                problem = f"{plugin_name(flows)}.{name} can't be built: {type(error).__name__}: {error}"
                raise ValueError(problem) from error
            roots.append(root)
    return roots
