"""The plugins there are, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from errklein.config import Config
from errklein.plugins._configuration import Configurator
from errklein.plugins._flows import FlowFiles
from errklein.plugins._lifecycle import Lifecycle
from errklein.plugins._status import PluginStatus
from errklein.plugins.botplugin import BotPlugin, overrides
from errklein.plugins.execution import PluginExecution
from errklein.plugins.loading import Loader
from errklein.plugins.names import plugin_name
from errklein.plugins.plugin import (
    KnownProblem,
    Plugin,
    PluginActivationException,
    PluginError,
    PluginTimeout,
    UnknownPlugin,
)
from errklein.plugins.serial_changes import Changes, change
from errklein.plugins.store_mixin import StoreMixin
from errklein.ports import Storage
from errklein.running import TimedOut, result_within
from errklein.running.context import handled_network
from errklein.text.masking import masker, secrets_in

if TYPE_CHECKING:
    from errklein.web import Routes

CONFIGS = "configs"
BL_PLUGINS = "bl_plugins"


class PluginManager(StoreMixin):
    """Activates, configures, reloads and deactivates plugins, one change at a time.

    Changes are Deferreds, which fail with PluginError. As a mapping it is what the bot itself stores: the plugins'
    configurations under "configs", the names of blacklisted ones under "bl_plugins".
    """

    log = Logger()

    def __init__(
        self,
        storage: Storage,
        config: Config,
        execution: PluginExecution,
        loader: Loader,
        routes: Routes,
        tell_admins: Callable[[str, str], None],
    ) -> None:
        self.open_storage(storage, "core")
        self._config = config
        self._execution = execution
        self._loader = loader
        self._routes = routes
        self._plugins = loader.plugins
        self._callbacks: dict[str, list[tuple[str, Callable[..., Any]]]] = {}
        self._callback_order: tuple[str | None, ...] = ()
        self._configurator = Configurator(execution, self.configuration)
        self._lifecycle = Lifecycle(execution, loader, self._configurator, routes, self._callbacks.clear, tell_admins)
        self._activations = self._lifecycle.activations
        self._changes = Changes(execution.reactor)
        self.status = PluginStatus(execution, self.is_blacklisted, self.configuration)
        self._flow_files = FlowFiles(execution, loader.make)

    @property
    def found(self) -> Sequence[Plugin]:
        """All plugins that were found, by name, those included that can't be loaded."""
        return sorted(self._plugins.values(), key=lambda plugin: plugin.name)

    @property
    def unusable(self) -> Sequence[str]:
        """What was found and belongs to no plugin, such as a .plug file that makes no sense: a line each, with why."""
        return [problem for _, problem in sorted(self._loader.unusable.items())]

    def active(self) -> list[BotPlugin]:
        """The instances of active plugins, in the order of PLUGINS_CALLBACK_ORDER."""
        instances = {name: plugin.instance for name, plugin in self._plugins.items() if plugin.active}
        order = [*self._config.PLUGINS_CALLBACK_ORDER, None]
        rest = [name for name in instances if name not in order]
        names = dict.fromkeys(name for place in order for name in (rest if place is None else [place]))
        return [instance for name in names if (instance := instances.get(name)) is not None]

    def callbacks(self, name: str) -> list[tuple[str, Callable[..., Any]]]:
        """The methods that override the callback, or replace it in a test, with the names of their plugins, which are active."""
        order = tuple(self._config.PLUGINS_CALLBACK_ORDER)
        if order != self._callback_order:
            self._callback_order = order
            self._callbacks.clear()
        found = self._callbacks.get(name)
        if found is None:
            its = [one for one in self.active() if overrides(one, name) or name in vars(one)]
            found = self._callbacks[name] = [(plugin_name(one), getattr(one, name)) for one in its]
        return found

    def callbacks_changed(self) -> None:
        """A callback of an instance was replaced."""
        self._callbacks.clear()

    def place(self) -> int:
        """The number in the order of activation of what a plugin registers now. Used from any thread."""
        return self._activations.place()

    def is_active_or_late(self, plugin: Plugin) -> bool:
        """Whether the plugin is active, or will be when a late method has returned."""
        return plugin.active or self._activations.is_late(plugin)

    def check_wanted(self, instance: BotPlugin) -> None:
        """Raise PluginActivationException if the instance was deactivated while its `activate` hung. For any thread."""
        self._activations.check_wanted(instance)

    def when_settled(self) -> Deferred[None] | None:
        """Fires when a plugin that is between two instances has its commands again; None if there is no such plugin."""
        return self._lifecycle.when_settled()

    def plugin(self, name: str) -> Plugin:
        """The plugin of that name; raises UnknownPlugin, which lists the names there are."""
        if name not in self._plugins:
            names = "\n".join(f"- {plugin.name}" for plugin in self.found)
            raise UnknownPlugin(f"{name} isn't a valid plugin name. The current plugins are:\n{names}")
        return self._plugins[name]

    def instance(self, name: str) -> BotPlugin:
        """The instance of that plugin; raises PluginError if there is none."""
        plugin = self.plugin(name)
        if plugin.instance is None:
            raise KnownProblem(f"{name} could not be loaded: {plugin.problem}")
        return plugin.instance

    def summary(self, problem: str) -> str:
        """A sentence to show instead of a problem that contains the text of a plugin's exception; "" for other problems."""
        for plugin in self._plugins.values():
            if plugin.problem == problem:
                return f"{plugin.name} doesn't work"
        return "The flows in a file don't work" if problem in self._flow_files.faults else ""

    def is_blacklisted(self, name: str) -> bool:
        """Whether the plugin stays inactive when the bot starts."""
        return name in self.get(BL_PLUGINS, [])

    def configuration(self, name: str) -> Any:
        """The configuration that is stored for the plugin; None if there is none."""
        return self.get(CONFIGS, {}).get(name)

    @change
    async def load(self, roots: Iterable[Path]) -> list[str]:
        """Load all plugins and flows, and activate none; fires with what went wrong, or will when they are activated."""
        problems = await self._load_all(roots, ())
        for plugin in self.found:
            problems += await self._lifecycle.check(plugin)
        return problems + list((await self._flow_files.load(self._loader.roots, activate=False)).values())

    @change
    async def start(self, roots: Iterable[Path], classes: Iterable[type[BotPlugin]] = ()) -> list[str]:
        """Load all plugins below `roots`, the core ones and `classes`, and activate them; fires with what went wrong."""
        problems = await self._load_all(roots, classes)
        problems += await self.activate_rest()
        return problems + list((await self._flow_files.load(self._loader.roots)).values())

    @change
    async def add(self, roots: Iterable[Path]) -> dict[Path, str]:
        """Load the plugins below `roots` that aren't there yet, inactive; fires with what went wrong, by file or directory."""
        roots = list(roots)
        return await self._loader.load(roots) | await self._flow_files.load(roots)

    @change
    async def activate_rest(self) -> list[str]:
        """Activate all plugins that aren't active, except blacklisted ones; fires with a line for each problem and notice."""
        found = list(self._plugins.values())
        blacklisted = [plugin for plugin in found if self.is_blacklisted(plugin.name)]
        loaded = [plugin for plugin in found if plugin.instance is not None]
        wanted = [plugin for plugin in loaded if plugin not in blacklisted and not plugin.active]
        errors = await self._activations.activate_all(wanted)
        networks = self._config.networks
        network = networks.get(handled_network.get(), next(iter(networks.values())))
        lines: list[str] = []
        for plugin in found:
            if plugin in blacklisted:
                command = f"{network.BOT_PREFIX}plugin unblacklist {plugin.name}"
                lines.append(f'Notice: {plugin.name} is blacklisted, use "{command}" to unblacklist it.')
            elif plugin.name in errors:
                lines.append(str(errors[plugin.name]))
            elif plugin in wanted:
                lines.extend(plugin.templates)
        return lines

    def stop(self, within: float = 3.0) -> Deferred[None]:
        """Deactivate all plugins, those first that were activated last; what they raise is logged.

        The change under way and each plugin are waited for until one takes longer than a third of `within`, or a second.
        """
        return Deferred.fromCoroutine(self._stop(within))

    @change
    async def activate(self, name: str) -> None:
        """Activate the plugin, and those it depends on before it."""
        plugin = self.plugin(name)
        if plugin.active:
            raise PluginActivationException(f"{name} is already activated.")
        if plugin.instance is None:
            await self._loader.load_again(plugin)
        await self._activations.activate(plugin)

    @change
    async def deactivate(self, name: str) -> None:
        """Deactivate the plugin; its routes and commands are gone when the Deferred fires."""
        try:
            await self._deactivate(name)
        except PluginTimeout as error:
            raise PluginTimeout(f"{error} Reload {name} to activate it again.") from error

    @change
    async def reload(self, name: str) -> None:
        """Make a new instance of the plugin's new code, if it can be loaded, while requests wait; an inactive one stays so."""
        await self._lifecycle.reload(self.plugin(name))

    @change
    async def remove(self, names: Iterable[str]) -> None:
        """Deactivate the plugins and forget them; what they have stored, and their configurations, stay."""
        _raise(await self._forget(list(names)))

    @change
    async def remove_below(self, directory: Path) -> None:
        """Deactivate and forget the plugins and flows below the directory, an absolute path; what they have stored stays."""
        names = [name for name, plugin in self._plugins.items() if plugin.plug.path.is_relative_to(directory)]
        overdue = await self._forget(names)
        await self._flow_files.remove_below(directory)
        self._loader.forget_below(directory)
        _raise(overdue)

    @change
    async def remove_flows(self, directory: Path) -> None:
        """Deactivate and forget the flows whose .flow files are in that directory and below it."""
        await self._flow_files.remove_below(directory)

    @change
    async def configure(self, name: str, configuration: Any) -> None:
        """Check, store and apply a plugin's configuration, which activates it; a bad one changes nothing.

        If a plugin that it depends on can't be activated, the configuration is stored, and the plugin stays inactive.
        """
        plugin = self.plugin(name)
        instance = self.instance(name)
        store = partial(self.store_configuration, name, configuration)
        self._activations.check_settled(plugin)
        await self._configurator.check(plugin, instance, configuration)
        if plugin.active and await self._configurator.reconfigured(plugin, instance, configuration):
            store()
            return
        await self._activate_dependencies(plugin, store)
        await self._lifecycle.use(plugin, instance, configuration, store)

    def configuration_template(self, name: str) -> Deferred[Any]:
        """The example of a configuration that the plugin gives; None if it takes none, or could not be loaded."""
        plugin = self.plugin(name)
        if plugin.instance is None:
            return succeed(None)
        return Deferred.fromCoroutine(self._configurator.template(plugin, plugin.instance))

    def store_configuration(self, name: str, configuration: Any) -> None:
        """Keep a configuration that the plugin of that name gets at its next activation; it isn't checked before."""
        # What runs still may have the old one.
        masker.learn(self, f"{name}: before", secrets_in(self.configuration(name)))
        masker.learn(self, f"{name}: stored", secrets_in(configuration))
        self[CONFIGS] = {**self.get(CONFIGS, {}), name: configuration}

    def blacklist(self, name: str) -> str:
        """Keep the plugin from being activated at the next start; returns a sentence about it."""
        if self.is_blacklisted(name):
            return f"Plugin {name} is already blacklisted."
        self[BL_PLUGINS] = [*self.get(BL_PLUGINS, []), name]
        return f"Plugin {name} is now blacklisted."

    def unblacklist(self, name: str) -> str:
        """Let the plugin be activated at the next start again; returns a sentence about it."""
        if not self.is_blacklisted(name):
            return f"Plugin {name} is not blacklisted."
        self[BL_PLUGINS] = [kept for kept in self.get(BL_PLUGINS, []) if kept != name]
        return f"Plugin {name} removed from blacklist."

    async def _load_all(self, roots: Iterable[Path], classes: Iterable[type[BotPlugin]]) -> list[str]:
        for name, configuration in self.get(CONFIGS, {}).items():
            masker.learn(self, f"{name}: stored", secrets_in(configuration))
        problems = await self._loader.load_all(roots)
        for cls in classes:
            self._loader.add_class(cls)
        return list(problems.values())

    async def _stop(self, within: float) -> None:
        timeout = min(1.0, within / 3)
        end = self._execution.reactor.seconds() + within
        try:
            await result_within(self._execution.reactor, timeout, self._changes.make(_nothing))
        except TimedOut:
            self.log.warn("A plugin is still being changed; the others aren't kept waiting for that")
        await self._flow_files.stop(timeout)
        await self._lifecycle.stop_all(timeout, max(timeout, end - self._execution.reactor.seconds()))

    async def _deactivate(self, name: str) -> None:
        plugin = self.plugin(name)
        self._routes.remove(name)
        if self._lifecycle.give_up(plugin):
            return
        if not plugin.active:
            raise PluginError(f"{name} is already deactivated.")
        await self._lifecycle.end(plugin, self.instance(name))

    async def _forget(self, names: list[str]) -> list[PluginTimeout]:
        """Deactivate the plugins and forget them; returns the errors of those whose `deactivate` hangs."""
        overdue: list[PluginTimeout] = []
        for name in names:
            plugin = self.plugin(name)
            if self.is_active_or_late(plugin):
                try:
                    await self._deactivate(name)
                except PluginTimeout as error:
                    overdue.append(error)
            await self._loader.forget(plugin)
        return overdue

    async def _activate_dependencies(self, plugin: Plugin, store: Callable[[], None]) -> None:
        """Activate what the plugin depends on; if that fails, an inactive plugin's configuration is stored for later."""
        try:
            await self._activations.activate_dependencies(plugin)
        except PluginError as error:
            if plugin.active:
                raise
            store()
            stored = f"{error}. The configuration is stored; {plugin.name} is not activated."
            raise PluginActivationException(stored) from error


def _raise(overdue: list[PluginTimeout]) -> None:
    if overdue:
        raise PluginTimeout("\n".join(map(str, overdue)))


async def _nothing() -> None: ...
