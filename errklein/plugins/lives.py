"""How a plugin is configured, activated, reloaded and deactivated: the steps, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from errklein.commands import CommandDeclaration
from errklein.plugins.botplugin import BotPlugin, handlers, overrides
from errklein.plugins.load_errors import told_of
from errklein.plugins.loading import Loader
from errklein.plugins.names import plugin_name
from errklein.plugins.plugin import (
    RAISED,
    CircularDependency,
    KnownProblem,
    Plugin,
    PluginActivationException,
    PluginConfigurationException,
    PluginError,
    as_raised,
)
from errklein.plugins.structure import ValidationException
from errklein.running.patience import NotYet, result_within
from errklein.text.masking import masker, secrets_in
from errklein.webhooks import Hook, HookDeclaration

if TYPE_CHECKING:
    from errklein.bot import Bot


_PATIENCE = 60.0


class Lives:
    """Leads plugins through their lives. Of these steps, only those of one change may go on at a time.

    `stored_configuration` tells the configuration that is stored for a plugin's name; `changed` is called whenever
    another plugin is active than before.
    """

    log = Logger()

    def __init__(
        self, bot: Bot, loader: Loader, stored_configuration: Callable[[str], Any], changed: Callable[[], None]
    ) -> None:
        self._bot = bot
        self._loader = loader
        self._plugins = loader.plugins
        self._configuration = stored_configuration
        self._changed = changed
        self._order: dict[str, None] = {}
        self._under_way: set[str] = set()
        self._ended: WeakSet[BotPlugin] = WeakSet()
        self._waiting: list[Deferred[None]] | None = None

    @property
    def order(self) -> list[str]:
        """The names of active plugins, in the order in which they were activated.

        Those that another plugin's code has activated, by their own method, come last.
        """
        names = dict.fromkeys((*self._order, *self._plugins))
        return [name for name in names if name in self._plugins and self._plugins[name].active]

    def when_settled(self) -> Deferred[None] | None:
        """Fires when a plugin that is between two instances has its commands again; None if there is no such plugin."""
        if self._waiting is None:
            return None
        settled: Deferred[None] = Deferred()
        self._waiting.append(settled)
        return settled

    async def activate(self, plugin: Plugin, failed: set[str] | None = None, wanted_by: tuple[str, ...] = ()) -> None:
        """Activate the plugin, and those it depends on before it; raises PluginActivationException.

        `failed` are the names of plugins that were tried before and aren't tried again; those that fail are added.
        """
        failed = set() if failed is None else failed
        if plugin.active:
            return
        if plugin.name in wanted_by:
            raise _circular(plugin, wanted_by[wanted_by.index(plugin.name) :])
        if plugin.name in failed or plugin.instance is None:
            raise KnownProblem(plugin.problem or f"{plugin.name} could not be loaded")
        self.check_settled(plugin)
        self._under_way.add(plugin.name)
        try:
            await self.activate_dependencies(plugin, failed, wanted_by)
            await self.configure(plugin, plugin.instance, self._configuration(plugin.name))
            await self.begin(plugin, plugin.instance)
        except PluginError as error:
            failed.add(plugin.name)
            plugin.problem = str(error)
            raise
        finally:
            self._under_way.discard(plugin.name)

    def check_settled(self, plugin: Plugin) -> None:
        """Raise PluginActivationException if the plugin is still being activated."""
        if plugin.name in self._under_way:
            raise PluginActivationException(f"{plugin.name} is still being activated.")

    async def activate_patiently(self, plugin: Plugin, failed: set[str]) -> None:
        """As `activate`, but what takes longer than a minute goes on by itself, and PluginActivationException says so.

        A plugin that waits for a server that doesn't answer keeps no other plugin from being activated.
        """
        activation = Deferred.fromCoroutine(self.activate(plugin, failed))
        try:
            await result_within(self._bot.reactor, _PATIENCE, activation)
            return
        except NotYet:
            summary = f"{plugin.name} could not be activated"
            activation.addErrback(lambda failure: self._bot.tell_admins(failure.getErrorMessage(), summary))
        stuck = ", ".join(sorted(self._under_way))
        failed.update(self._under_way)
        raise PluginActivationException(
            f"{plugin.name} is still being activated after {_PATIENCE:g} s, and goes on without being waited for ({stuck})"
        )

    async def activate_dependencies(
        self, plugin: Plugin, failed: set[str] | None = None, wanted_by: tuple[str, ...] = ()
    ) -> None:
        """Activate the plugins that this one depends on; raises PluginActivationException. Arguments are as for `activate`."""
        failed = set() if failed is None else failed
        for name in plugin.plug.depends_on:
            await self._activate_dependency(plugin, name, failed, (*wanted_by, plugin.name))

    async def _activate_dependency(
        self, plugin: Plugin, name: str, failed: set[str], wanted_by: tuple[str, ...]
    ) -> None:
        if name not in self._plugins:
            raise PluginActivationException(_missing(plugin, name))
        try:
            await self.activate(self._plugins[name], failed, wanted_by)
        except PluginError as error:
            if isinstance(error, CircularDependency) and plugin.name in error.circle:
                raise _circular(plugin, error.circle) from error
            raise PluginActivationException(
                f"{plugin.name} depends on {name}, which can't be activated: {error}"
            ) from error

    async def foresee(self, plugin: Plugin) -> list[str]:
        """What can be known to be wrong with the plugin before it is activated, beside what kept it from being loaded."""
        missing = [_missing(plugin, name) for name in plugin.plug.depends_on if name not in self._plugins]
        circle = self._circle(plugin)
        circular = [str(_circular(plugin, circle))] if circle else []
        foreseen = missing + circular
        if plugin.instance is not None:
            foreseen += self._bot.web.routes.refused(hooks_of(plugin.instance))
        if _has_templates(plugin):
            foreseen += await self._broken_templates(plugin)
        return foreseen

    def _circle(self, plugin: Plugin) -> tuple[str, ...]:
        """The names of the plugins by which this one depends on itself, beginning with its own; none if it doesn't."""
        wanted_by: dict[str, str] = {}
        waiting = [plugin.name]
        while waiting:
            name = waiting.pop()
            for needed in self._plugins[name].plug.depends_on:
                if needed == plugin.name:
                    circle = [name]
                    while circle[0] != plugin.name:
                        circle.insert(0, wanted_by[circle[0]])
                    return tuple(circle)
                if needed in self._plugins and needed not in wanted_by:
                    wanted_by[needed] = name
                    waiting.append(needed)
        return ()

    async def configure(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        """Have the instance check and take the configuration; raises PluginConfigurationException."""
        masker.learn(self._bot, f"{plugin.name}: in use", secrets_in(configuration))
        try:
            if configuration is not None and await self._call(instance, "get_configuration_template") is not None:
                await self._call(instance, "check_configuration", configuration)
            await self._call(instance, "configure", configuration)
            # The plugin may have added secrets, such as defaults or values of environment variables.
            masker.learn(self._bot, f"{plugin.name}: in use", secrets_in([configuration, vars(instance).get("config")]))
        except RAISED as error:
            plugin.problem = f"{plugin.name} can't use its configuration: {self._refusal(plugin, error)}"
            # Plugins may have a property of that name.
            with suppress(AttributeError):
                instance.config = None
            raise PluginConfigurationException(plugin.problem) from error

    async def template(self, plugin: Plugin, instance: BotPlugin) -> Any:
        """The example of a configuration that the plugin gives; raises PluginConfigurationException."""
        try:
            return await self._call(instance, "get_configuration_template")
        except RAISED as error:
            raise PluginConfigurationException(
                f"{plugin.name} can't tell how it is configured: {told_of(plugin.plug, error)}"
            ) from error

    async def check(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        """Have the instance say whether it could take the configuration; raises PluginConfigurationException."""
        if configuration is None or await self.template(plugin, instance) is None:
            return
        masker.learn(self._bot, f"{plugin.name}: given", secrets_in(configuration))
        try:
            await self._call(instance, "check_configuration", configuration)
        except RAISED as error:
            raise PluginConfigurationException(self._refusal(plugin, error)) from error

    async def reconfigured(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> bool:
        """Whether the active plugin has taken the configuration as it goes."""
        # errbot has no such method, so a plugin written for it may have a command of that name.
        if CommandDeclaration.of(instance.reconfigure) or HookDeclaration.of(instance.reconfigure):
            return False
        try:
            return await self._call(instance, "reconfigure", configuration) is not NotImplemented
        except RAISED as error:
            raise PluginConfigurationException(self._refusal(plugin, error)) from error

    def _refusal(self, plugin: Plugin, error: BaseException) -> str:
        """Why the plugin doesn't take a configuration: its own words, or what went wrong in it, and where."""
        if isinstance(error, ValidationException):
            return " ".join(masker(str(error)).split())
        self.log.failure("{plugin}: configuring it failed", plugin=plugin.name)
        return told_of(plugin.plug, error)

    async def begin(self, plugin: Plugin, instance: BotPlugin) -> None:
        """Activate the configured instance; raises PluginActivationException."""
        cls: Any = type(instance)
        cls.__errdoc__ = cls.__doc__ or plugin.plug.description
        await self._add_templates(plugin)
        method = "activate"
        self._ended.discard(instance)
        try:
            await self._call(instance, method)
            if instance in self._ended:
                # It took so long that nobody waited, and somebody has deactivated or removed the plugin meanwhile.
                return
            if self._plugins.get(plugin.name) is not plugin:
                await self.end(plugin, instance)
                return
            self._changed()
            # One that returns from activate without calling BotPlugin's doesn't want to work yet, or has forgotten it: it
            # counts as inactive and has no commands, but on errbot, too, its webhooks are answered.
            if instance.is_activated:
                self._order[plugin.name] = None
            self._bot.web.routes.replace(plugin.name, hooks_of(instance))
            method = "callback_connect"
            await self._call(instance, method)
        except RAISED as error:
            self.log.failure("{plugin} could not be activated: {method}", plugin=plugin.name, method=method)
            self._bot.web.routes.remove(plugin.name)
            await self.end(plugin, instance)
            plugin.problem = f"{plugin.name} could not be activated: {method}: {told_of(plugin.plug, error)}"
            raise PluginActivationException(plugin.problem) from error
        plugin.problem = ""

    async def _add_templates(self, plugin: Plugin) -> None:
        self._remove_templates(plugin)
        if _has_templates(plugin):
            # Jinja2 takes its time to import, and few plugins have templates.
            from errklein.text import templating

            templating.add_templates(plugin.name, plugin.plug.directory)
            plugin.has_templates = True
            plugin.templates = await self._broken_templates(plugin)

    def _remove_templates(self, plugin: Plugin) -> None:
        if plugin.has_templates:
            from errklein.text import templating

            templating.remove_templates(plugin.name)
            plugin.has_templates = False
        plugin.templates = []

    async def _broken_templates(self, plugin: Plugin) -> list[str]:
        from errklein.plugins.template_checks import broken_templates

        work = partial(broken_templates, plugin.plug.directory)
        return await self._bot.plugin_pool.run(lambda: work)

    async def end(self, plugin: Plugin, instance: BotPlugin) -> None:
        """Deactivate the instance; its storage closes when its last handler has come to its end."""
        self._ended.add(instance)
        try:
            await self._call(instance, "deactivate")
        except RAISED:
            self.log.failure("{plugin} raised while it was deactivated", plugin=plugin.name)
            BotPlugin.deactivate(instance)
        instance.is_activated = False
        self._changed()
        if plugin.instance is instance:
            self._order.pop(plugin.name, None)
            # Of a plugin that is being reloaded, handlers of the old instance may still need them.
            self._remove_templates(plugin)

        def close(_: None) -> None:
            if BotPlugin.is_open_storage(instance) and not instance.is_activated:
                BotPlugin.close_storage(instance)

        self._bot.runner.when_idle(instance).addCallback(close)

    async def reload(self, plugin: Plugin) -> None:
        """Make a new instance of the plugin's code as it is now; one that was inactive stays so, unless it was broken."""
        self.check_settled(plugin)
        old, was_at_work, was_broken = plugin.instance, self._at_work(plugin), bool(plugin.problem)
        await self._loader.load_again(plugin)
        if old is None or not was_at_work:
            if was_broken:
                await self.activate(plugin)
            return
        # Requests wait from the moment that the old instance stops until the new one has its routes.
        with self._between(plugin):
            await self.end(plugin, old)
            await self.activate(plugin)

    async def use(self, plugin: Plugin, instance: BotPlugin, configuration: Any) -> None:
        """Activate the plugin with another configuration; if it can't be, it is as before, with the stored one."""
        before = self._configuration(plugin.name)
        with self._between(plugin):
            was_active, problem = plugin.active, plugin.problem
            if was_active:
                await self.end(plugin, instance)
            try:
                await self.configure(plugin, instance, configuration)
                await self.begin(plugin, instance)
            except PluginError as error:
                await self.configure(plugin, instance, before)
                if not was_active:
                    plugin.problem = problem
                    raise
                await self.begin(plugin, instance)
                raise type(error)(
                    f"{str(error).rstrip('.')}. The configuration from before is in use again."
                ) from error

    async def stop_all(self, patience: float) -> None:
        """Deactivate all plugins, those first that were activated last; fires when all are.

        They are deactivated one after the other until one takes longer than `patience` seconds. The rest doesn't wait
        any more: what it has to store would be lost.
        """
        slow: list[Deferred[None]] = []
        for name in reversed(self.order):
            plugin = self._plugins[name]
            if plugin.instance is not None:
                self._bot.web.routes.remove(name)
                ending = Deferred.fromCoroutine(self.end(plugin, plugin.instance))
                if slow:
                    slow.append(ending)
                    continue
                try:
                    await result_within(self._bot.reactor, patience, ending)
                except NotYet:
                    self.log.warn("{plugin} takes long to be deactivated; the others aren't kept waiting", plugin=name)
                    slow.append(ending)
        await DeferredList(slow)

    def _at_work(self, plugin: Plugin) -> bool:
        """Whether the plugin is active, or at least has webhooks that are answered."""
        return plugin.active or any(route.hook.owner == plugin.name for route in self._bot.web.routes.hooks())

    @contextmanager
    def _between(self, plugin: Plugin) -> Iterator[None]:
        """Requests for the plugin and unknown commands wait, from its old instance's end until its new one works."""
        self._bot.web.routes.hold(plugin.name)
        self._waiting = []
        try:
            yield
        except BaseException:
            if not plugin.active:
                self._bot.web.routes.remove(plugin.name)
            raise
        finally:
            self._bot.web.routes.release(plugin.name)
            waiting, self._waiting = self._waiting, None
            for settled in waiting:
                settled.callback(None)

    async def _call(self, instance: BotPlugin, method: str, *args: Any) -> Any:
        """Call a method of the plugin where it is safe; what BotPlugin itself has is quick and stays here."""
        if not overrides(instance, method):
            return getattr(instance, method)(*args)
        running = self._bot.runner.run(getattr(instance, method), *args, pool=self._bot.plugin_pool)
        return await running.addErrback(as_raised)


def _missing(plugin: Plugin, name: str) -> str:
    return f"{plugin.name} depends on {name}, and there is no such plugin (DependsOn in {plugin.plug.path})"


def _circular(plugin: Plugin, circle: tuple[str, ...]) -> CircularDependency:
    """The error that tells how the plugin, which is one of the circle, depends on itself."""
    start = circle.index(plugin.name)
    circle = (*circle[start:], *circle[:start])
    shown = " → ".join((*circle, plugin.name))
    return CircularDependency(f"{plugin.name} depends on itself: {shown} (DependsOn in {plugin.plug.path})", circle)


def hooks_of(instance: BotPlugin) -> list[Hook]:
    """The methods of a plugin that are marked as webhooks."""
    hooks = []
    for name, handler in handlers(instance):
        declaration = HookDeclaration.of(handler)
        if declaration is not None:
            hooks.append(Hook(plugin_name(instance), name, declaration, handler))
    return hooks


def _has_templates(plugin: Plugin) -> bool:
    return (plugin.plug.directory / "templates").is_dir()
