"""What administrators do with plugins, in a chat, on the command line and on a web page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from errklein.commands.operations import Actor, Guard, operation
from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.changed_files import FileChanges
from errklein.plugins.plugin import Plugin, PluginError, State
from errklein.text.masking import mask_values, masker

if TYPE_CHECKING:
    from errklein.plugins.manager import PluginManager

_MOST_STORED = 50


@dataclass(frozen=True)
class PluginSummary:
    """A plugin in a list.

    :param letters: The letter of its state, after "B," if it is blacklisted; see `State`.
    :param remark: Its problems in one line; "" if there are none.
    :param changes: Its files that differ from the running code.
    """

    name: str
    letters: str
    is_core: bool
    is_active: bool
    remark: str
    changes: FileChanges


@dataclass(frozen=True)
class PluginList:
    """All plugins, and files without one.

    :param unusable: Errors about files, each in one line; none for people who may not read details.
    :param are_compared: Whether the files could be compared with the running code: False if the disk does not respond.
    """

    plugins: Sequence[PluginSummary]
    unusable: Sequence[str]
    are_compared: bool


@dataclass(frozen=True)
class PluginDetails:
    """All that is known of a plugin.

    :param plugin: Its files and its instance.
    :param changes: Its files that differ from the running code; None if the disk does not respond.
    :param configuration: The stored configuration, with secrets masked unless the actor reads details; None without one.
    :param stored: The representations of stored keys and values, or why a value can't be shown.
    :param more: The number of further values.
    """

    plugin: Plugin
    state: State
    remark: str
    changes: FileChanges | None
    configuration: Any
    stored: Sequence[tuple[str, str]]
    more: int


class PluginOperations:
    """Lists, shows, activates, configures and reloads plugins. All raise PluginError."""

    log = Logger()

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager

    @operation("status_plugins")
    async def plugins(self, by: Actor) -> PluginList:
        """Return all plugins."""
        manager = self._manager
        changes = await manager.changed_files.find([plugin.plug for plugin in manager.found])
        summaries = [
            PluginSummary(
                plugin.name,
                manager.status.letters(plugin),
                plugin.plug.core,
                plugin.active,
                manager.status.remark(plugin, details=by.reads_details),
                (changes or {}).get(plugin.name, FileChanges()),
            )
            for plugin in manager.found
        ]
        # These texts contain those of exceptions, and paths.
        return PluginList(summaries, manager.unusable if by.reads_details else (), changes is not None)

    @operation("plugin_info", "name")
    async def plugin(self, by: Actor, name: str) -> PluginDetails:
        """Return all that is known of a plugin. Secrets and stored values are masked unless the actor reads details."""
        plugin = self._manager.plugin(name)
        found = await self._manager.changed_files.find([plugin.plug])
        instance = plugin.instance
        keys = list(instance) if instance is not None and BotPlugin.is_open_storage(instance) else []
        return PluginDetails(
            plugin,
            self._manager.status.state(plugin),
            self._manager.status.remark(plugin, details=by.reads_details),
            None if found is None else found.get(name, FileChanges()),
            visible(self._manager.configuration(name), by),
            list(_represented(instance, keys[:_MOST_STORED], by)),
            len(keys[_MOST_STORED:]),
        )

    @operation("plugin_config", "name")
    async def configuration(self, by: Actor, name: str) -> tuple[Any, Any]:
        """Return the template of a plugin's configuration, and the stored one, with secrets masked; None if there is none."""
        template = await self._manager.configuration_template(name)
        return template, visible(self._manager.configuration(name), by)

    @operation("plugin_config", "name", "configuration")
    async def configure(self, by: Actor, name: str, configuration: object) -> None:
        """Check, store and apply a plugin's configuration, which activates the plugin."""
        self.log.info("{by} configures the plugin {name}", by=by.name, name=name)
        await self._manager.configure(name, configuration)

    @operation("plugin_activate", "name")
    async def activate(self, by: Actor, name: str) -> None:
        """Activate a plugin after its dependencies."""
        self.log.info("{by} activates the plugin {name}", by=by.name, name=name)
        await self._manager.activate(name)

    @operation("plugin_deactivate", "name")
    async def deactivate(self, by: Actor, name: str) -> None:
        """Deactivate a plugin, its commands and its webhooks."""
        self.log.info("{by} deactivates the plugin {name}", by=by.name, name=name)
        await self._manager.deactivate(name)

    @operation("plugin_reload", "name")
    async def reload(self, by: Actor, name: str) -> bool:
        """Reload the code of a plugin. Return whether it is active."""
        self.log.info("{by} reloads the plugin {name}", by=by.name, name=name)
        await self._manager.reload(name)
        return self._manager.plugin(name).active

    @operation("plugin_blacklist", "name")
    async def blacklist(self, by: Actor, name: str) -> bool:
        """Deactivate a plugin now and at every start. Return False if it was blacklisted already."""
        plugin, guard = self._manager.plugin(name), Guard.of(PluginOperations.unblacklist)
        if guard is not None and hasattr(plugin.instance, guard.command):
            raise PluginError(f"The plugin {name} can't be blacklisted: it provides the command to undo that.")
        self.log.info("{by} blacklists the plugin {name}", by=by.name, name=name)
        is_new = self._manager.set_blacklisted(name, True)
        if self._manager.is_active_or_late(plugin):
            await self._manager.deactivate(name)
        return is_new

    @operation("plugin_unblacklist", "name")
    async def unblacklist(self, by: Actor, name: str) -> bool:
        """Allow a plugin to be active. Return False if it wasn't blacklisted. It may be one that was removed meanwhile."""
        if not self._manager.is_blacklisted(name):
            self._manager.plugin(name)
        self.log.info("{by} unblacklists the plugin {name}", by=by.name, name=name)
        return self._manager.set_blacklisted(name, False)


def visible(value: Any, by: Actor, secret: bool = False) -> Any:
    """Return the value, with its secrets masked unless the actor reads details."""
    return value if by.reads_details else mask_values(value, secret)


def not_shown(error: Exception, by: Actor) -> str:
    """Return why a value can't be shown: the exception's type and, if the actor may read it, its text."""
    kind = f"can't be shown: {type(error).__name__}"
    return f"{kind}: {masker(str(error))}" if by.reads_details else kind


def _represented(instance: Any, keys: Sequence[str], by: Actor) -> Iterator[tuple[str, str]]:
    for key in keys:
        try:
            yield repr(key), repr(visible(instance[key], by, secret=True))
        except Exception as error:
            # The key may have been removed meanwhile, the value may be unreadable, or its repr may raise.
            yield repr(key), not_shown(error, by)
