"""Registration of the commands, command filters and flows of active plugins."""

from __future__ import annotations

from collections.abc import Callable

from errklein.commands import CommandRegistry, FilterRegistry, FlowRoot
from errklein.dispatch import FlowExecutor
from errklein.plugins import BotPlugin
from errklein.plugins.botflow import build_flows
from errklein.plugins.method_sources import handlers
from errklein.plugins.names import Named, plugin_name
from errklein.plugins.running_activations import Activations


class Registration:
    """Registers and unregisters handlers. The methods may be called from any thread.

    :param notify: Called with a sentence for each command that is renamed because its name is taken.
    """

    def __init__(
        self,
        registry: CommandRegistry,
        filters: FilterRegistry,
        flows: FlowExecutor,
        activations: Activations,
        notify: Callable[[str], None],
    ) -> None:
        self._registry = registry
        self._filters = filters
        self._flows = flows
        self._activations = activations
        self._notify = notify
        self._roots: dict[Named, list[FlowRoot]] = {}

    def inject_commands_from(self, plugin: BotPlugin) -> None:
        """Register the plugin's commands. Administrators are notified of commands that are renamed.

        :raises PluginActivationException: The plugin was deactivated while its `activate` was still running.
        """
        self._activations.check_wanted(plugin)
        rank, methods = self._activations.rank(), [handler for _, handler in handlers(plugin)]
        for clash in self._registry.add(plugin_name(plugin), methods, plugin, rank):
            self._notify(clash)

    def remove_commands_from(self, plugin: BotPlugin) -> None:
        """Unregister the plugin's commands."""
        self._registry.remove(plugin_name(plugin), plugin)

    def inject_command_filters_from(self, plugin: BotPlugin) -> None:
        """Register the plugin's command filters."""
        methods = [handler for _, handler in handlers(plugin)]
        self._filters.add(plugin_name(plugin), methods, self._activations.rank())

    def remove_command_filters_from(self, plugin: BotPlugin) -> None:
        """Unregister the plugin's command filters."""
        self._filters.remove(plugin_name(plugin), plugin)

    def inject_flows_from(self, flows: Named) -> None:
        """Register the flows of a plugin or a BotFlow.

        :raises ValueError: A flow can't be built, or its name is taken. The text names the flow.
        """
        self.remove_flows_from(flows)
        self._roots[flows] = []
        for root in build_flows(flows):
            try:
                self._flows.add_flow(root)
            except ValueError as error:
                self.remove_flows_from(flows)
                raise ValueError(f"{plugin_name(flows)}: {error}") from error
            self._roots[flows].append(root)

    def remove_flows_from(self, flows: Named) -> None:
        """Unregister the flows, and end their running instances."""
        for root in self._roots.pop(flows, ()):
            self._flows.remove_flow(root)
