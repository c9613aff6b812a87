"""Names of plugins and collections of flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from errklein.plugins.botflow import BotFlow
    from errklein.plugins.botplugin import BotPlugin


def plugin_name(plugin: BotPlugin | BotFlow) -> str:
    """The name of the plugin, also if one of its methods is called `name` and hides the property.

    A plugin may override `name` with another string, as on errbot.
    """
    name: object = plugin.name
    return name if isinstance(name, str) else plugin._name
