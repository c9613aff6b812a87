"""The state of plugins, as `!status plugins` and `errklein check` show it, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.execution import PluginExecution
from errklein.plugins.names import plugin_name
from errklein.plugins.plugin import Plugin, State

_LONG = 60.0
"""Seconds after which a handler that still runs is shown."""


@dataclass(frozen=True)
class PluginStatus:
    """The states of plugins; `is_blacklisted` and `configuration` return what is stored for a plugin's name."""

    execution: PluginExecution
    is_blacklisted: Callable[[str], bool]
    configuration: Callable[[str], Any]

    def state(self, plugin: Plugin) -> State:
        """The plugin's state."""
        if not plugin.active and self.is_blacklisted(plugin.name):
            return State.BLACKLISTED
        return self._state_if_not_blacklisted(plugin)

    def letters(self, plugin: Plugin) -> str:
        """The letter of the plugin's state; if it is blacklisted, after the letter for that."""
        letter = self._state_if_not_blacklisted(plugin).value
        return f"{State.BLACKLISTED.value},{letter}" if self.is_blacklisted(plugin.name) else letter

    def _state_if_not_blacklisted(self, plugin: Plugin) -> State:
        if plugin.active:
            return State.ACTIVE
        # What is wrong with a plugin that has no configuration is most likely that.
        if plugin.instance is not None and self._wants_configuration(plugin.instance):
            return State.UNCONFIGURED
        return State.BROKEN if plugin.problem else State.INACTIVE

    def remark(self, plugin: Plugin, *, details: bool = True) -> str:
        """All problems of the plugin, in one line; "" if there are none. Without `details`, only that there are some."""
        now = self.execution.reactor.seconds()
        running = [
            f"{plugin.name}.{going.name} has been running for {_spoken(now - going.since)}"
            for going in self.execution.runner.running_methods()
            if isinstance(going.subject, BotPlugin) and plugin_name(going.subject) == plugin.name
            if now - going.since >= _LONG
        ]
        duplicates = [f"{path} is left out: its Name is that of this plugin" for path in plugin.duplicates]
        problems = [problem for problem in (plugin.problem, *plugin.notes, *plugin.templates, *duplicates) if problem]
        if problems and not details:
            problems = ["details are shown to administrators in private"]
        return "; ".join(" ".join(problem.split()) for problem in [*problems, *running])

    def _wants_configuration(self, instance: BotPlugin) -> bool:
        try:
            configurable = instance.get_configuration_template() is not None
            return configurable and self.configuration(plugin_name(instance)) is None
        except Exception:
            # It is reported when somebody configures or activates the plugin.
            return False


def _spoken(seconds: float) -> str:
    """A time span in the largest unit of which it has one."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"
