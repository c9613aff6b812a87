"""The plugins there are, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.plugins.botplugin import BotPlugin, overrides
from errklein.plugins.flows import FlowFiles
from errklein.plugins.lifecycle import Lifecycle
from errklein.plugins.loading import Loader
from errklein.plugins.plugin import (
    IncompatiblePluginException,
    KnownProblem,
    Plugin,
    PluginActivationException,
    PluginConfigurationException,
    PluginError,
    PluginTimeout,
    UnknownPlugin,
)
from errklein.plugins.plugin_names import plugin_name
from errklein.plugins.serial_changes import Changes
from errklein.plugins.status import PluginStatus
from errklein.plugins.store_mixin import StoreMixin
from errklein.running.timeouts import TimedOut, result_within
from errklein.text.masking import masker, secrets_in

if TYPE_CHECKING:
    from errklein.bot import Bot

__all__ = [
    "IncompatiblePluginException",
    "PluginActivationException",
    "PluginConfigurationException",
    "PluginError",
    "PluginManager",
]

CONFIGS = "configs"
BL_PLUGINS = "bl_plugins"


class PluginManager(StoreMixin):
    """Activates, configures, reloads and deactivates plugins, one change at a time.

    Methods that change something return Deferreds, which fail with PluginError if it can't be done. Plugins' code runs
    in threads unless it says otherwise, and never in two of these methods at once. As a mapping it is what the bot itself
    stores: the plugins' configurations under "configs", the names of blacklisted ones under "bl_plugins".
    """

    log = Logger()

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self.open_storage(bot.storage, "core")
        self._loader = Loader(bot)
        self._plugins = self._loader.plugins
        self._callbacks: dict[str, list[tuple[str, Callable[..., Any]]]] = {}
        self._callback_order: tuple[str | None, ...] = ()
        self._lives = Lifecycle(bot, self._loader, self.configuration, self._callbacks.clear)
        self._activations = self._lives.activations
        self._configuring = self._lives.configuring
        self._changes = Changes(bot.reactor)
        self.status = PluginStatus(bot, self.is_blacklisted, self.configuration)
        self._flow_files = FlowFiles(bot)

    # What can be asked

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
        order: list[str | None] = list(self._bot.bot_config.PLUGINS_CALLBACK_ORDER)
        if None not in order:
            order.append(None)
        rest = [name for name in instances if name not in order]
        names = [name for place in order for name in (rest if place is None else [place])]
        return [instance for name in names if (instance := instances.get(name)) is not None]

    def callbacks(self, name: str) -> list[tuple[str, Callable[..., Any]]]:
        """The methods of active plugins that have a callback of that name of their own, with the plugins' names.

        Tests replace one of an instance by a mock.
        """
        order = tuple(self._bot.bot_config.PLUGINS_CALLBACK_ORDER)
        if order != self._callback_order:
            self._callback_order = order
            self._callbacks.clear()
        found = self._callbacks.get(name)
        if found is None:
            found = self._callbacks[name] = [
                (plugin_name(instance), getattr(instance, name))
                for instance in self.active()
                if overrides(instance, name) or name in vars(instance)
            ]
        return found

    def callbacks_changed(self) -> None:
        """A callback of an instance was replaced."""
        self._callbacks.clear()

    def place(self) -> int:
        """The number in the order of activation of what a plugin registers now. Used from any thread."""
        return self._activations.place()

    def is_at_work(self, plugin: Plugin) -> bool:
        """Whether the plugin is active, or will be when a late method has returned."""
        return plugin.active or self._activations.is_late(plugin)

    def check_wanted(self, instance: BotPlugin) -> None:
        """Raise PluginActivationException if the instance was deactivated while its `activate` hung. For any thread."""
        self._activations.check_wanted(instance)

    def when_settled(self) -> Deferred[None] | None:
        """Fires when a plugin that is between two instances has its commands again; None if there is no such plugin."""
        return self._lives.handovers.when_settled()

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

    # What can be done

    def load(self, roots: Iterable[Path]) -> Deferred[list[str]]:
        """Load all plugins and flows below `roots`, and the core plugins, and activate none.

        Fires with what went wrong, and with what can be foreseen to go wrong when they are activated.
        """
        return self._changes.make(partial(self._load_and_foresee, list(roots)))

    def start(self, roots: Iterable[Path], classes: Iterable[type[BotPlugin]] = ()) -> Deferred[list[str]]:
        """Load all plugins below `roots`, and the core ones, and activate them; fires with what went wrong.

        `classes` are plugins too, named as themselves and without a .plug file.
        """
        return self._changes.make(partial(self._start, list(roots), list(classes)))

    def add(self, roots: Iterable[Path]) -> Deferred[dict[Path, str]]:
        """Load the plugins below `roots` that aren't there yet, and activate none.

        Fires with what went wrong, by the file or directory that it is about.
        """
        return self._changes.make(partial(self._add, list(roots)))

    def activate_rest(self) -> Deferred[list[str]]:
        """Activate all plugins that aren't active, except blacklisted ones; fires with what is to be said of it."""
        return self._changes.make(self._activate_rest)

    def stop(self, within: float = 3.0) -> Deferred[None]:
        """Deactivate all plugins, those first that were activated last; what they raise is logged.

        A change that is under way may end first, and each plugin is waited for, until one of these takes longer than a
        third of `within` seconds, or a second.
        """
        return Deferred.fromCoroutine(self._stop(within))

    def activate(self, name: str) -> Deferred[None]:
        """Activate the plugin, and those it depends on before it."""
        return self._changes.make(partial(self._activate, name))

    def deactivate(self, name: str) -> Deferred[None]:
        """Deactivate the plugin; its routes and commands are gone when the Deferred fires."""
        return self._changes.make(partial(self._deactivate, name))

    def reload(self, name: str) -> Deferred[None]:
        """Read the plugin's code again and make a new instance; an inactive plugin stays inactive.

        Requests that come meanwhile wait. If the new code can't be loaded the old one goes on.
        """
        return self._changes.make(partial(self._reload, name))

    def remove(self, names: Iterable[str]) -> Deferred[None]:
        """Deactivate the plugins and forget them; what they have stored, and their configurations, stay."""
        return self._changes.make(partial(self._remove, list(names)))

    def remove_below(self, directory: Path) -> Deferred[None]:
        """Deactivate and forget the plugins and flows in that directory and below it; what they have stored stays."""
        return self._changes.make(partial(self._remove_below, directory.absolute()))

    def remove_flows(self, directory: Path) -> Deferred[None]:
        """Deactivate and forget the flows whose .flow files are in that directory and below it."""
        return self._changes.make(partial(self._flow_files.remove_below, directory))

    def configure(self, name: str, configuration: Any) -> Deferred[None]:
        """Check, store and apply a plugin's configuration, which activates it; a bad one changes nothing.

        If a plugin that it depends on can't be activated, the configuration is stored, and the plugin stays inactive.
        """
        return self._changes.make(partial(self._configure, name, configuration))

    def configuration_template(self, name: str) -> Deferred[Any]:
        """The example of a configuration that the plugin gives; None if it takes none, or could not be loaded."""
        return Deferred.fromCoroutine(self._template(self.plugin(name)))

    def store_configuration(self, name: str, configuration: Any) -> None:
        """Keep a configuration that the plugin of that name gets at its next activation; it isn't checked before."""
        # What runs still may have the old one.
        masker.learn(self._bot, f"{name}: before", secrets_in(self.configuration(name)))
        masker.learn(self._bot, f"{name}: stored", secrets_in(configuration))
        self[CONFIGS] = {**self.get(CONFIGS, {}), name: configuration}

    def blacklist(self, name: str) -> None:
        """Keep the plugin from being activated at the next start."""
        self.plugin(name)
        self[BL_PLUGINS] = sorted({*self.get(BL_PLUGINS, []), name})

    def unblacklist(self, name: str) -> None:
        """Let the plugin be activated at the next start again."""
        self[BL_PLUGINS] = [kept for kept in self.get(BL_PLUGINS, []) if kept != name]

    # How it is done

    async def _load_all(self, roots: list[Path], classes: Iterable[type[BotPlugin]]) -> list[str]:
        for name, configuration in self.get(CONFIGS, {}).items():
            masker.learn(self._bot, f"{name}: stored", secrets_in(configuration))
        problems = await self._loader.load_all(roots)
        for cls in classes:
            self._loader.adopt(cls)
        return list(problems.values())

    async def _load_and_foresee(self, roots: list[Path]) -> list[str]:
        problems = await self._load_all(roots, ())
        for plugin in self.found:
            problems += await self._lives.foresee(plugin)
        return problems + list((await self._flow_files.load(self._loader.roots, activate=False)).values())

    async def _start(self, roots: list[Path], classes: list[type[BotPlugin]]) -> list[str]:
        problems = await self._load_all(roots, classes)
        problems += await self._activate_rest()
        return problems + list((await self._flow_files.load(self._loader.roots)).values())

    async def _add(self, roots: list[Path]) -> dict[Path, str]:
        return await self._loader.load(roots) | await self._flow_files.load(roots)

    async def _stop(self, within: float) -> None:
        patience = min(1.0, within / 3)
        end = self._bot.reactor.seconds() + within
        try:
            await result_within(self._bot.reactor, patience, self._changes.make(_nothing))
        except TimedOut:
            self.log.warn("A plugin is still being changed; the others aren't kept waiting for that")
        await self._flow_files.stop(patience)
        await self._lives.stop_all(patience, max(patience, end - self._bot.reactor.seconds()))

    async def _activate_rest(self) -> list[str]:
        found = list(self._plugins.values())
        blacklisted = [plugin for plugin in found if self.is_blacklisted(plugin.name)]
        wanted = [
            plugin
            for plugin in found
            if plugin not in blacklisted and plugin.instance is not None and not plugin.active
        ]
        errors = await self._activations.activate_all(wanted)
        said: list[str] = []
        for plugin in found:
            if plugin in blacklisted:
                command = f"{self._bot.prefix}plugin unblacklist {plugin.name}"
                said.append(f'Notice: {plugin.name} is blacklisted, use "{command}" to unblacklist it.')
            elif plugin.name in errors:
                said.append(str(errors[plugin.name]))
            elif plugin in wanted:
                said.extend(plugin.templates)
        return said

    async def _activate(self, name: str) -> None:
        plugin = self.plugin(name)
        if plugin.active:
            raise PluginActivationException(f"{name} is already activated.")
        if plugin.instance is None:
            await self._loader.load_again(plugin)
        await self._activations.activate(plugin)

    async def _deactivate(self, name: str) -> None:
        try:
            await self._make_inactive(name)
        except PluginTimeout as error:
            raise PluginTimeout(f"{error} Reload {name} to activate it again.") from error

    async def _make_inactive(self, name: str) -> None:
        plugin = self.plugin(name)
        self._bot.web.routes.remove(name)
        if self._lives.give_up(plugin):
            return
        if not plugin.active:
            raise PluginError(f"{name} is already deactivated.")
        await self._lives.end(plugin, self.instance(name))

    async def _reload(self, name: str) -> None:
        await self._lives.reload(self.plugin(name))

    async def _remove(self, names: list[str]) -> None:
        _raise(await self._forget(names))

    async def _remove_below(self, directory: Path) -> None:
        names = [name for name, plugin in self._plugins.items() if plugin.plug.path.is_relative_to(directory)]
        overdue = await self._forget(names)
        await self._flow_files.remove_below(directory)
        self._loader.forget_below(directory)
        _raise(overdue)

    async def _forget(self, names: list[str]) -> list[PluginTimeout]:
        """Deactivate the plugins and forget them; returns the errors of those whose `deactivate` hangs."""
        overdue: list[PluginTimeout] = []
        for name in names:
            plugin = self.plugin(name)
            if self.is_at_work(plugin):
                try:
                    await self._make_inactive(name)
                except PluginTimeout as error:
                    overdue.append(error)
            await self._loader.forget(plugin)
        return overdue

    async def _configure(self, name: str, configuration: Any) -> None:
        plugin = self.plugin(name)
        instance = self.instance(name)
        store = partial(self.store_configuration, name, configuration)
        self._activations.check_settled(plugin)
        await self._configuring.check(plugin, instance, configuration)
        if plugin.active and await self._configuring.reconfigured(plugin, instance, configuration):
            store()
            return
        await self._activate_dependencies(plugin, store)
        await self._lives.use(plugin, instance, configuration, store)

    async def _activate_dependencies(self, plugin: Plugin, store: Callable[[], None]) -> None:
        """Activate what the plugin depends on; if that fails, an inactive plugin's configuration is stored for later."""
        try:
            await self._activations.activate_dependencies(plugin)
        except PluginError as error:
            if plugin.active:
                raise
            store()
            raise PluginActivationException(
                f"{error}. The configuration is stored; {plugin.name} is not activated."
            ) from error

    async def _template(self, plugin: Plugin) -> Any:
        return None if plugin.instance is None else await self._configuring.template(plugin, plugin.instance)


def _raise(overdue: list[PluginTimeout]) -> None:
    if overdue:
        raise PluginTimeout("\n".join(map(str, overdue)))


async def _nothing() -> None:
    """A change that only waits for its turn."""
