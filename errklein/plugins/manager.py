"""The plugins' lives: configured, activated, reloaded, deactivated."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.plugins.botplugin import BotPlugin, handlers, overrides
from errklein.plugins.loading import Loader
from errklein.plugins.plugin import RAISED, Plugin, PluginError, State, as_raised
from errklein.plugins.structure import ValidationException
from errklein.running.one_by_one import OneByOne
from errklein.text import templating
from errklein.webhooks import Hook, HookDeclaration

if TYPE_CHECKING:
    from errklein.bot import Bot

T = TypeVar("T")


class PluginManager:
    """Activates, configures, reloads and deactivates plugins, one change at a time.

    Methods that change something return Deferreds, which fail with PluginError if it can't be done. Plugins' code runs
    in threads unless it says otherwise, and never in two of these methods at once.
    """

    log = Logger()

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._loader = Loader(bot)
        self._plugins = self._loader.plugins
        self._changes = OneByOne(bot.reactor)
        self._waiting: list[Deferred[None]] | None = None
        self._core = bot.storage.open("core")
        self._callbacks: dict[str, list[tuple[str, Callable[..., Any]]]] = {}

    # What can be asked

    @property
    def found(self) -> Sequence[Plugin]:
        """All plugins that were found, by name, those included that can't be loaded."""
        return sorted(self._plugins.values(), key=lambda plugin: plugin.name)

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
        """The methods of active plugins that have a callback of that name of their own, with the plugins' names."""
        found = self._callbacks.get(name)
        if found is None:
            found = self._callbacks[name] = [
                (instance.name, getattr(instance, name)) for instance in self.active() if overrides(instance, name)
            ]
        return found

    def when_settled(self) -> Deferred[None] | None:
        """Fires when a plugin that is between two instances has its commands again; None if there is no such plugin."""
        if self._waiting is None:
            return None
        settled: Deferred[None] = Deferred()
        self._waiting.append(settled)
        return settled

    def plugin(self, name: str) -> Plugin:
        """The plugin of that name; raises PluginError that lists the names there are."""
        if name not in self._plugins:
            names = "\n".join(f"- {plugin.name}" for plugin in self.found)
            raise PluginError(f"{name} isn't a valid plugin name. The current plugins are:\n{names}")
        return self._plugins[name]

    def instance(self, name: str) -> BotPlugin:
        """The instance of that plugin; raises PluginError if there is none."""
        plugin = self.plugin(name)
        if plugin.instance is None:
            raise PluginError(f"{name} could not be loaded: {plugin.problem}")
        return plugin.instance

    def state(self, plugin: Plugin) -> State:
        """How the plugin is."""
        if plugin.active:
            return State.ACTIVE
        if self.is_blacklisted(plugin.name):
            return State.BLACKLISTED
        if plugin.problem:
            return State.BROKEN
        if plugin.instance is not None and self._wants_configuration(plugin.instance):
            return State.UNCONFIGURED
        return State.INACTIVE

    def is_blacklisted(self, name: str) -> bool:
        """Whether the plugin stays inactive when the bot starts."""
        return name in self._read("bl_plugins", [])

    def configuration(self, name: str) -> Any:
        """The configuration that is stored for the plugin; None if there is none."""
        return self._read("configs", {}).get(name)

    # What can be done

    def load(self, roots: Iterable[Path]) -> Deferred[list[str]]:
        """Load all plugins below `roots`, and the core ones, and activate none; fires with what went wrong."""
        return self._alone(partial(self._loader.load_all, list(roots)))

    def start(self, roots: Iterable[Path], classes: Iterable[type[BotPlugin]] = ()) -> Deferred[list[str]]:
        """Load all plugins below `roots`, and the core ones, and activate them; fires with what went wrong.

        `classes` are plugins too, named as themselves and without a .plug file.
        """
        return self._alone(partial(self._start, list(roots), list(classes)))

    def stop(self) -> Deferred[None]:
        """Deactivate all plugins; what they raise is logged."""
        return self._alone(self._stop_all)

    def activate(self, name: str) -> Deferred[None]:
        """Activate the plugin, and those it depends on before it."""
        return self._alone(partial(self._activate_named, name, ()))

    def deactivate(self, name: str) -> Deferred[None]:
        """Deactivate the plugin; its routes and commands are gone when the Deferred fires."""
        return self._alone(partial(self._deactivate_named, name))

    def reload(self, name: str) -> Deferred[None]:
        """Read the plugin's code again and make a new instance; an inactive plugin stays inactive.

        Requests that come meanwhile wait. If the new code can't be loaded the old one goes on.
        """
        return self._alone(partial(self._reload, name))

    def configure(self, name: str, configuration: Any) -> Deferred[None]:
        """Check, store and apply a plugin's configuration; a bad one changes nothing."""
        return self._alone(partial(self._configure, name, configuration))

    def blacklist(self, name: str) -> None:
        """Keep the plugin from being activated at the next start."""
        self.plugin(name)
        self._core.set("bl_plugins", sorted({*self._read("bl_plugins", []), name}))

    def unblacklist(self, name: str) -> None:
        """Let the plugin be activated at the next start again."""
        self.plugin(name)
        self._core.set("bl_plugins", [kept for kept in self._read("bl_plugins", []) if kept != name])

    # How it is done

    def _alone(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        return self._changes.run(lambda: Deferred.fromCoroutine(work()))

    async def _start(self, roots: list[Path], classes: list[type[BotPlugin]]) -> list[str]:
        problems = await self._loader.load_all(roots)
        for cls in classes:
            self._loader.adopt(cls)
        for plugin in list(self._plugins.values()):
            if plugin.instance is None or self.is_blacklisted(plugin.name):
                continue
            try:
                await self._activate(plugin, ())
            except PluginError as error:
                problems.append(str(error))
        return problems

    async def _activate_named(self, name: str, wanted_by: tuple[str, ...]) -> None:
        plugin = self.plugin(name)
        if plugin.active:
            raise PluginError(f"{name} is already activated.")
        if plugin.instance is None:
            await self._loader.load_again(plugin)
        await self._activate(plugin, wanted_by)

    async def _activate(self, plugin: Plugin, wanted_by: tuple[str, ...]) -> None:
        if plugin.active:
            return
        if plugin.name in wanted_by:
            circle = " → ".join((*wanted_by[wanted_by.index(plugin.name) :], plugin.name))
            raise PluginError(f"{plugin.name} depends on itself: {circle}")
        for name in plugin.plug.depends_on:
            if name not in self._plugins:
                plugin.problem = f"{plugin.name} depends on {name}, and there is no such plugin"
                raise PluginError(plugin.problem)
            try:
                await self._activate(self._plugins[name], (*wanted_by, plugin.name))
            except PluginError as error:
                plugin.problem = f"{plugin.name} depends on {name}, which can't be activated: {error}"
                raise PluginError(plugin.problem) from error
        instance = self.instance(plugin.name)
        await self._configure_instance(plugin, instance, self.configuration(plugin.name))
        await self._begin(plugin, instance)

    async def _configure_instance(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        try:
            if configuration is not None and instance.get_configuration_template() is not None:
                await self._call(instance, "check_configuration", configuration)
            await self._call(instance, "configure", configuration)
        except RAISED as error:
            plugin.problem = f"{plugin.name} can't use its configuration: {error}"
            if not isinstance(error, ValidationException):
                self.log.failure("{plugin}: configure failed", plugin=plugin.name)
            raise PluginError(plugin.problem) from error

    async def _reconfigured(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> bool:
        """Whether the active plugin has taken the configuration as it goes."""
        try:
            return await self._call(instance, "reconfigure", configuration) is not NotImplemented
        except RAISED as error:
            if not isinstance(error, ValidationException):
                self.log.failure("{plugin}: reconfigure failed", plugin=plugin.name)
            raise PluginError(f"{plugin.name} can't use this configuration: {error}") from error

    async def _begin(self, plugin: Plugin, instance: BotPlugin) -> None:
        templating.add_templates(plugin.name, plugin.plug.directory)
        try:
            await self._call(instance, "activate")
            self._callbacks.clear()
            if not instance.is_activated:
                # Said by a plugin that returns from activate without calling BotPlugin's: it doesn't want to work yet.
                plugin.problem = ""
                return
            self._bot.web.routes.replace(plugin.name, hooks_of(instance))
            await self._call(instance, "callback_connect")
        except RAISED as error:
            self.log.failure("{plugin} could not be activated", plugin=plugin.name)
            self._bot.web.routes.remove(plugin.name)
            await self._end(plugin, instance)
            plugin.problem = f"{plugin.name} could not be activated: {type(error).__name__}: {error}"
            raise PluginError(plugin.problem) from error
        plugin.problem = ""

    async def _deactivate_named(self, name: str) -> None:
        plugin = self.plugin(name)
        if not plugin.active:
            raise PluginError(f"{name} is already deactivated.")
        self._bot.web.routes.remove(name)
        await self._end(plugin, self.instance(name))

    async def _end(self, plugin: Plugin, instance: BotPlugin) -> None:
        """Deactivate the instance; its storage closes when its last handler has come to its end."""
        try:
            await self._call(instance, "deactivate")
        except RAISED:
            self.log.failure("{plugin} raised while it was deactivated", plugin=plugin.name)
            BotPlugin.deactivate(instance)
        instance.is_activated = False
        self._callbacks.clear()
        if plugin.instance is instance:
            # Of a plugin that is being reloaded, handlers of the old instance may still need them.
            templating.remove_templates(plugin.name)

        def close(_: None) -> None:
            if instance.is_open_storage() and not instance.is_activated:
                instance.close_storage()

        self._bot.runner.when_idle(instance).addCallback(close)

    async def _reload(self, name: str) -> None:
        plugin = self.plugin(name)
        old = plugin.instance
        was_active = plugin.active
        was_broken = bool(plugin.problem)
        await self._loader.load_again(plugin)
        if old is None or not was_active:
            if was_broken:
                await self._activate(plugin, ())
            return
        # Requests wait from the moment that the old instance stops until the new one has its routes.
        with self._between(plugin):
            await self._end(plugin, old)
            await self._activate(plugin, ())

    async def _configure(self, name: str, configuration: Any) -> None:
        plugin = self.plugin(name)
        instance = self.instance(name)
        before = self.configuration(name)
        if configuration is not None and instance.get_configuration_template() is not None:
            try:
                await self._call(instance, "check_configuration", configuration)
            except RAISED as error:
                raise PluginError(f"Incorrect plugin configuration: {error}.") from error
        if plugin.active and await self._reconfigured(plugin, instance, configuration):
            self._store_configuration(name, configuration)
            return
        with self._between(plugin):
            was_active, problem = plugin.active, plugin.problem
            if was_active:
                await self._end(plugin, instance)
            try:
                await self._configure_instance(plugin, instance, configuration)
                await self._begin(plugin, instance)
            except PluginError as error:
                await self._configure_instance(plugin, instance, before)
                if not was_active:
                    plugin.problem = problem
                    raise
                await self._begin(plugin, instance)
                raise PluginError(f"{error} The configuration from before is in use again.") from error
        self._store_configuration(name, configuration)

    @contextmanager
    def _between(self, plugin: Plugin) -> Iterator[None]:
        """Requests for the plugin and unknown commands wait, from its old instance's end until its new one works."""
        self._bot.web.routes.hold(plugin.name)
        self._waiting = []
        try:
            yield
        finally:
            if not plugin.active:
                self._bot.web.routes.remove(plugin.name)
            waiting, self._waiting = self._waiting, None
            for settled in waiting:
                settled.callback(None)

    async def _stop_all(self) -> None:
        for plugin in reversed(self._plugins.values()):
            if plugin.active:
                await self._end(plugin, self.instance(plugin.name))

    async def _call(self, instance: BotPlugin, method: str, *args: Any) -> Any:
        """Call a method of the plugin where it is safe; what BotPlugin itself has is quick and stays here."""
        if not overrides(instance, method):
            return getattr(instance, method)(*args)
        running = self._bot.runner.run(getattr(instance, method), *args, pool=self._bot.plugin_pool)
        return await running.addErrback(as_raised)

    def _wants_configuration(self, instance: BotPlugin) -> bool:
        return instance.get_configuration_template() is not None and self.configuration(instance.name) is None

    def _store_configuration(self, name: str, configuration: Any) -> None:
        self._core.set("configs", {**self._read("configs", {}), name: configuration})

    def _read(self, key: str, default: Any) -> Any:
        try:
            return self._core.get(key)
        except KeyError:
            return default


def hooks_of(instance: BotPlugin) -> list[Hook]:
    """The methods of a plugin that are marked as webhooks."""
    hooks = []
    for name, handler in handlers(instance):
        declaration = HookDeclaration.of(handler)
        if declaration is not None:
            hooks.append(Hook(instance.name, name, declaration, handler))
    return hooks
