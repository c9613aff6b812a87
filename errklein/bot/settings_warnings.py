"""Warnings about settings that can't be right."""

from __future__ import annotations

from collections.abc import Iterator

from errklein.commands import CommandRegistry
from errklein.config import Config, configuration_warnings
from errklein.plugins.manager import PluginManager
from errklein.plugins.unknown_names import unknown_names


def settings_warnings(config: Config, plugins: PluginManager, registry: CommandRegistry) -> Iterator[str]:
    """A sentence for each setting that contradicts others, or that names a plugin or command that doesn't exist."""
    yield from configuration_warnings(config)
    yield from unknown_names(config, [(plugin.name, plugin.instance) for plugin in plugins.found], registry)
