"""Names of plugins and collections of flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from errklein.plugins.botflow import BotFlow
    from errklein.plugins.botplugin import BotPlugin


def plugin_name(plugin: BotPlugin | BotFlow) -> str:
    """The name of the plugin. A command called `name`, which hides the property, is ignored.

    As on errbot, a plugin may override `name` with a string.
    """
    name: object = plugin.name
    return name if isinstance(name, str) else plugin._name
