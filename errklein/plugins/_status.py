"""The states of plugins and remarks about them, for `!status plugins` and `errklein check`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.execution import PluginExecution
from errklein.plugins.names import plugin_name
from errklein.plugins.plugin import Plugin, State

_LONG = 60.0
"""Seconds after which a running handler is shown."""


@dataclass(frozen=True)
class PluginStatus:
    """The states of plugins. `is_blacklisted` and `configuration` return the stored values for a plugin's name."""

    execution: PluginExecution
    is_blacklisted: Callable[[str], bool]
    configuration: Callable[[str], Any]

    def state(self, plugin: Plugin) -> State:
        """Return the plugin's state."""
        if not plugin.active and self.is_blacklisted(plugin.name):
            return State.BLACKLISTED
        return self._state_if_not_blacklisted(plugin)

    def letters(self, plugin: Plugin) -> str:
        """Return the letter of the plugin's state, after "B," if the plugin is blacklisted."""
        letter = self._state_if_not_blacklisted(plugin).value
        return f"{State.BLACKLISTED.value},{letter}" if self.is_blacklisted(plugin.name) else letter

    def _state_if_not_blacklisted(self, plugin: Plugin) -> State:
        if plugin.active:
            return State.ACTIVE
        # The most likely problem of a plugin without a configuration is that it has none.
        if plugin.instance is not None and self._wants_configuration(plugin.instance):
            return State.UNCONFIGURED
        return State.BROKEN if plugin.problem else State.INACTIVE

    def remark(self, plugin: Plugin, *, details: bool = True) -> str:
        """Return all problems of the plugin in one line; "" if there are none.

        Without `details`, the line only states that there are problems.
        """
        now = self.execution.reactor.seconds()
        running = [
            f"{plugin.name}.{going.name} has been running for {_spoken(now - going.since)}"
            for going in self.execution.runner.running_methods()
            if isinstance(going.subject, BotPlugin) and plugin_name(going.subject) == plugin.name
            if now - going.since >= _LONG
        ]
        duplicates = [f"{path} is ignored, since it has the same Name" for path in plugin.duplicates]
        problems = [problem for problem in (plugin.problem, *plugin.notes, *plugin.templates, *duplicates) if problem]
        if problems and not details:
            problems = ["details are shown to administrators in private"]
        return "; ".join(" ".join(problem.split()) for problem in [*problems, *running])

    def _wants_configuration(self, instance: BotPlugin) -> bool:
        try:
            configurable = instance.get_configuration_template() is not None
            return configurable and self.configuration(plugin_name(instance)) is None
        except Exception:
            # The error is reported when the plugin is configured or activated.
            return False


def _spoken(seconds: float) -> str:
    """Return a time span as a whole number of its largest unit: d, h, min or s."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"
